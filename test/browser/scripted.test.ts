import type { Locator } from 'playwright-core'
import { expect, it } from 'vitest'
import { httpServer, json } from '../http-server.ts'
import { describeInChromium } from './chromium.ts'
import { type Console, documents, openConsole, status } from './console.ts'
import { type Call, type ScriptedServer, startScriptedServer } from './scripted-server.ts'

const text = { type: 'string', maxLength: 100 }

/** A tool that takes an object of these members. */
function toolOf(properties: object, required: readonly string[] = []): object {
  const inputSchema = { type: 'object', properties, required }
  return { name: 'tool', title: 'Tool', inputSchema }
}

/** The next call of the tool. */
function nextCall(server: ScriptedServer): Promise<Call> {
  const { promise, resolve } = Promise.withResolvers<Call>()
  server.call = resolve
  return promise
}

/** The fields of a list. */
function list({ page }: Console, name: string): Locator {
  return page.getByRole('group', { name })
}

describeInChromium('contract: forms are made from the schemas of tools', (chromium) => {
  it('sends what was filled in, typed as the schema says, and leaves out the rest', async () => {
    const properties = {
      line: text,
      long: { type: 'string', maxLength: 5000, description: 'May have lines' },
      count: { type: 'integer', minimum: 1, maximum: 9 },
      ratio: { type: 'number' },
      sure: { type: 'boolean' },
      colour: { type: 'string', enum: ['red', 'green'] },
      size: { enum: [10, 20] },
      place: { type: 'object', properties: { street: text }, required: ['street'] },
      people: {
        type: 'array',
        items: { type: 'object', properties: { age: { type: 'integer' } }, required: ['age'] },
      },
      other: { anyOf: [{ type: 'string' }, { type: 'null' }] },
      left: text,
      unsure: { type: 'boolean' },
    }
    await using server = await startScriptedServer([toolOf(properties, ['line', 'sure', 'colour'])])
    await using at = await openConsole(chromium, server.url)
    await at.connect('any')
    const { field } = at
    await field('line').fill('one')
    await field('long').fill('two\nlines')
    await field('count').fill('3')
    await field('ratio').fill('0.5')
    await field('colour').selectOption('green')
    await field('size').selectOption('20')
    await field('street').fill('Main Street')
    await list(at, 'people').getByRole('button', { name: 'Add' }).click()
    await field('age').fill('44')
    await field('other (JSON)').fill('null')

    const called = nextCall(server)
    await at.run()
    const { params, answer } = await called
    answer({ content: [{ type: 'text', text: 'thanks' }] })
    expect(params.arguments).toEqual({
      line: 'one',
      long: 'two\nlines',
      count: 3,
      ratio: 0.5,
      sure: false,
      colour: 'green',
      size: 20,
      place: { street: 'Main Street' },
      people: [{ age: 44 }],
      other: null,
    })
    await at.call.getByText('thanks', { exact: true }).waitFor()
    expect(at.errors).toEqual([])
  })

  it('adds and removes entries of a list, and the focus stays in it', async () => {
    await using server = await startScriptedServer([
      toolOf({ tags: { type: 'array', items: text } }),
    ])
    await using at = await openConsole(chromium, server.url)
    await at.connect('any')
    const tags = list(at, 'tags')
    for (const tag of ['first', 'second', 'third']) {
      await tags.getByRole('button', { name: 'Add' }).click()
      await at.page.keyboard.type(tag)
    }
    await tags.getByRole('button', { name: 'Remove entry 2' }).click()
    const focused = await at.page.evaluate('document.activeElement.ariaLabel')
    expect(focused).toBe('Remove entry 3')
    const called = nextCall(server)
    await at.run()
    expect((await called).params.arguments).toEqual({ tags: ['first', 'third'] })
  })

  it.each<[string, object, (at: Console) => Promise<void>, (at: Console) => Promise<void>]>([
    [
      'a field that is needed',
      toolOf({ id: { ...text, minLength: 2 } }, ['id']),
      async () => {},
      ({ field }) => field('id').fill('42'),
    ],
    [
      'a text of another form',
      toolOf({ id: { ...text, pattern: '^[0-9]+$' } }),
      ({ field }) => field('id').fill('x'),
      ({ field }) => field('id').fill('42'),
    ],
    [
      'a number out of range',
      toolOf({ id: { type: 'integer', maximum: 42 } }),
      ({ field }) => field('id').fill('43'),
      ({ field }) => field('id').fill('42'),
    ],
    [
      'text that is no JSON',
      toolOf({ id: {} }),
      ({ field }) => field('id (JSON)').fill('{'),
      ({ field }) => field('id (JSON)').fill('42'),
    ],
    [
      'a list that is too short',
      toolOf({
        id: {
          type: 'array',
          minItems: 1,
          items: { type: 'object', properties: { name: text, text } },
        },
      }),
      async () => {},
      ({ page }) => page.locator('input[type=file]').setInputFiles(documents(1)),
    ],
  ])('does not send %s, and sends it put right', async (_name, tool, wrong, right) => {
    await using server = await startScriptedServer([tool])
    await using at = await openConsole(chromium, server.url)
    await at.connect('any')
    let calls = 0
    server.call = ({ answer }) => {
      calls += 1
      answer({ content: [] })
    }
    await wrong(at)
    await at.run()
    expect(await at.page.locator('article').count()).toBe(0)
    await right(at)
    await at.run()
    await at.call.getByText('Done', { exact: true }).waitFor()
    expect(calls).toBe(1)
  })

  it.each([
    ['plain text', 'eu-west', 'eu-west'],
    ['text that no header can hold', 'Zürich', `=?base64?${btoa('Z\u00c3\u00bcrich')}?=`],
    ['text that looks encoded', '=?base64?eA==?=', `=?base64?${btoa('=?base64?eA==?=')}?=`],
  ])('repeats a marked argument in its header: %s', async (_name, value, header) => {
    const region = { ...text, 'x-mcp-header': 'Region' }
    await using server = await startScriptedServer([toolOf({ region })])
    await using at = await openConsole(chromium, server.url)
    await at.connect('any')
    await at.field('region').fill(value)
    const called = nextCall(server)
    await at.run()
    const { headers, params } = await called
    expect(headers['mcp-param-region']).toBe(header)
    expect(params.arguments).toEqual({ region: value })
  })
})

describeInChromium('contract: the page shows what the server tells it', (chromium) => {
  it('shows log messages by severity, texts and objects', async () => {
    await using server = await startScriptedServer([toolOf({})])
    await using at = await openConsole(chromium, server.url)
    await at.connect('any')
    const called = nextCall(server)
    await at.run()
    const { notify, answer } = await called
    const levels = ['debug', 'notice', 'warning', 'error', 'emergency']
    for (const level of levels) notify('notifications/message', { level, data: `A ${level}` })
    notify('notifications/message', { level: 'info', data: { at: 1 } })
    await at.call.getByText('{"at":1}').waitFor()
    expect(await at.notifications()).toEqual([
      ...levels.map((level) => `${level}: A ${level}`),
      'info: {"at":1}',
    ])
    answer({ isError: true, content: [{ type: 'text', text: 'It went wrong' }] })
    await at.call.getByText('The tool failed').waitFor()
    await at.call.getByText('It went wrong', { exact: true }).waitFor()
  })

  it('shows a tool that comes, and keeps the form that is open', async () => {
    const open = toolOf({ id: text })
    await using server = await startScriptedServer([open])
    await using at = await openConsole(chromium, server.url)
    await at.connect('any')
    await at.field('id').fill('half filled')
    server.offer([{ ...open, name: 'other', title: 'Another' }, open])
    await at.page.getByRole('button', { name: 'Another' }).waitFor()
    expect(await at.field('id').inputValue()).toBe('half filled')
  })

  it('works with a server that has no stream to tell of changes', async () => {
    await using server = await startScriptedServer([toolOf({})])
    server.tells = false
    await using at = await openConsole(chromium, server.url)
    await at.connect('any')
    await at.run()
    await at.call.getByText('Done', { exact: true }).waitFor()
    await status(at.page, /^Connected to .*(?<!again)$/)
  })

  it('says that the network is lost, tries again, and offers to run the call again', async () => {
    await using server = await startScriptedServer([toolOf({})])
    await using at = await openConsole(chromium, server.url)
    await at.connect('any')
    const called = nextCall(server)
    await at.run()
    await called
    await server.down()
    await status(at.page, /^Connection lost\. Trying again in \d+ s$/)
    await at.call.getByText('Whether the tool has finished is not known.').waitFor()
    await server.up()
    await status(at.page, /^Connected to .* again$/)
    server.call = ({ answer }) => answer({ content: [] })
    await at.call.getByRole('button', { name: 'Run again' }).click()
    await at.call.getByText('Done', { exact: true }).waitFor()
  })
})

describeInChromium(
  'threat: two questions at once, the answer to one goes to the other',
  (chromium) => {
    it('answers each with what the person has said to it', async () => {
      await using server = await startScriptedServer([toolOf({})])
      await using at = await openConsole(chromium, server.url)
      await at.connect('any')
      const calls: Call[] = []
      for (let index = 0; index < 2; index += 1) {
        const called = nextCall(server)
        await at.run()
        calls.push(await called)
      }
      const answers: unknown[] = []
      server.call = ({ params, answer }) => {
        answers.push([params['requestState'], params['inputResponses']])
        answer({ content: [] })
      }
      const requestedSchema = {
        type: 'object',
        properties: { sure: { type: 'boolean' } },
        required: ['sure'],
      }
      for (const [index, { answer }] of calls.entries()) {
        const message = `Question ${index}`
        const question = { method: 'elicitation/create', params: { message, requestedSchema } }
        const requestState = `state ${index}`
        answer({ resultType: 'input_required', inputRequests: { question }, requestState })
        await at.page.getByText(message).waitFor()
      }
      const last = at.page.getByRole('dialog').filter({ hasText: 'Question 1' })
      await last.getByRole('checkbox', { name: 'sure' }).check()
      await last.getByRole('button', { name: 'Send the answer' }).click()
      await at.page.keyboard.press('Escape')
      await expect
        .poll(() => answers)
        .toEqual([
          ['state 1', { question: { action: 'accept', content: { sure: true } } }],
          ['state 0', { question: { action: 'decline' } }],
        ])
      expect(await at.page.getByRole('dialog').count()).toBe(0)
    })
  },
)

describeInChromium('threat: a hostile server, its text runs as script of the page', (chromium) => {
  const MARKUP = '<img src="/x" onerror="document.title = 1"><b class="hostile">bold</b>'

  it('shows markup as text, wherever it comes from', async () => {
    const named = { ...toolOf({ [MARKUP]: { ...text, description: MARKUP } }), title: MARKUP }
    await using server = await startScriptedServer([{ ...named, description: MARKUP }])
    await using at = await openConsole(chromium, server.url)
    await at.connect('any')
    const called = nextCall(server)
    await at.run()
    const { notify, answer } = await called
    notify('notifications/message', { level: MARKUP, data: MARKUP })
    notify('notifications/progress', { progress: 1, message: MARKUP })
    answer({ content: [], structuredContent: { [MARKUP]: [{ [MARKUP]: MARKUP }] } })
    await at.call.getByText('Done', { exact: true }).waitFor()
    expect(await at.page.locator('.hostile, img:not([src="/icon.svg"])').count()).toBe(0)
    expect(await at.call.textContent()).toContain(MARKUP)
    expect(at.errors).toEqual([])
  })

  it('keeps a flood of notifications bounded', async () => {
    await using server = await startScriptedServer([toolOf({})])
    await using at = await openConsole(chromium, server.url)
    await at.connect('any')
    const called = nextCall(server)
    await at.run()
    const { notify, answer } = await called
    for (let index = 0; index < 600; index += 1) {
      notify('notifications/message', { level: 'info', data: `line ${index}` })
    }
    answer({ content: [] })
    await at.call.getByText('Done', { exact: true }).waitFor()
    expect(await at.call.locator('.log li').count()).toBe(500)
    expect(await at.call.locator('.log li').last().textContent()).toContain('line 599')
  })

  it('could not make markup of text, nor take a key elsewhere', async () => {
    await using server = await startScriptedServer([])
    const thief = await httpServer((request, response) => {
      response.setHeader('access-control-allow-origin', '*')
      json({})(request, response)
    })
    await using at = await openConsole(chromium, server.url)
    const tried = async (script: string): Promise<unknown> =>
      at.page.evaluate(`(async () => { ${script} })().then(() => 'done', (error) => error.name)`)
    expect(await tried("document.body.innerHTML = '<b></b>'")).toBe('TypeError')
    expect(await tried(`await fetch('${thief.origin}')`)).toBe('TypeError')
    expect(await tried(`await fetch('${server.url}')`)).toBe('done')
    expect(thief.requests).toEqual([])
    await thief.down()
  })
})
