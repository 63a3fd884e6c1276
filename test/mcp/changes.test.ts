import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { defineResource, defineTool, type Tool, type ToolContext } from '../../src/define.ts'
import { type Endpoint, startEndpoint } from './endpoint.ts'
import { call, open, request, send } from './wire.ts'

const NOTE = 'note://{id}'

/** A resource of each caller, and one that is the same for all. */
const resources = [
  defineResource({
    uriTemplate: NOTE,
    name: 'note',
    title: 'Note',
    description: 'A note of the caller.',
    mimeType: 'text/plain',
    params: z.strictObject({ id: z.string().max(8) }),
    read: async ({ id }) => id,
    list: async () => [],
  }),
  defineResource({
    uriTemplate: 'news://today',
    name: 'news',
    title: 'News',
    description: 'The news.',
    mimeType: 'text/plain',
    params: z.strictObject({}),
    shared: true,
    read: async () => 'nothing new',
    list: async () => [{ uri: 'news://today', title: 'Today' }],
  }),
]

/** A tool that says what has changed. */
function telling(name: string, tell: (context: ToolContext) => void): Tool {
  return defineTool({
    name,
    title: name,
    description: `Tells ${name}.`,
    annotations: {},
    input: z.strictObject({}),
    output: z.strictObject({}),
    longRunning: false,
    async run(_input, context) {
      tell(context)
      return {}
    },
  })
}

const FLOOD = 1000
const tools = [
  telling('change_note', ({ resourceUpdated }) => resourceUpdated('note://1')),
  telling('change_news', ({ resourceUpdated }) => resourceUpdated('news://today')),
  telling('change_list', ({ resourceListChanged }) => resourceListChanged()),
  telling('flood', ({ resourceUpdated, resourceListChanged }) => {
    for (let times = 0; times < FLOOD; times++) {
      resourceUpdated('note://1')
      resourceListChanged()
    }
  }),
  telling('flood_of_many', ({ resourceUpdated }) => {
    for (let id = 0; id < FLOOD; id++) resourceUpdated(`note://${id}`)
  }),
  telling('change_nothing', ({ resourceUpdated }) => resourceUpdated('other://1')),
  telling('change_impossible', ({ resourceUpdated }) => resourceUpdated('note://123456789')),
  telling('change_and_fail', ({ resourceUpdated }) => {
    resourceUpdated('note://1')
    throw new Error('later')
  }),
]

const start = (access = {}) => startEndpoint({ catalog: { tools, resources }, access })

const FOLLOWED = ['note://1', 'news://today']

/** A stream that has been acknowledged. Its text is there when the server has ended it. */
async function listen(at: Endpoint, subject: string, uris = FOLLOWED): Promise<Response> {
  const notifications = { resourceSubscriptions: uris, resourcesListChanged: true }
  const message = request('modern', 'subscriptions/listen', { notifications })
  return open(at, message, { subject })
}

/** What streams have heard, in order, when the server has ended them. */
async function heard(at: Endpoint, streams: readonly Response[]): Promise<string[][]> {
  await at.drain(1)
  const texts = await Promise.all(streams.map((stream) => stream.text()))
  return texts.map((text) =>
    [...text.matchAll(/^data: (.*)$/gm)]
      .map(([, json = '']) => JSON.parse(json))
      .filter(({ method }) => method?.startsWith('notifications/resources/'))
      .map(({ method, params }) => (params.uri as string | undefined) ?? method),
  )
}

const LIST = 'notifications/resources/list_changed'

describe('threat: changes of others, a stream tells who works on what', () => {
  it('tells the owner alone, and of what is shared everybody', async () => {
    await using endpoint = await start()
    const streams = [await listen(endpoint, 'ann'), await listen(endpoint, 'bob')]
    for (const name of ['change_note', 'change_news', 'change_list']) {
      expect((await send(endpoint, call('modern', name))).json.result.isError).toBe(undefined)
    }
    expect(await heard(endpoint, streams)).toEqual([
      ['note://1', 'news://today', LIST],
      ['news://today'],
    ])
  })

  it('tells nobody who did not ask', async () => {
    await using endpoint = await start()
    const streams = [
      await listen(endpoint, 'ann', ['note://2']),
      await listen(endpoint, 'ann', ['note://1/']),
      await listen(endpoint, 'ann', []),
    ]
    await send(endpoint, call('modern', 'change_note'))
    expect(await heard(endpoint, streams)).toEqual([[], [], []])
  })

  it('tells of a report that was made and deleted, its owner alone', async () => {
    await using endpoint = await start()
    const streams = [await listen(endpoint, 'ann'), await listen(endpoint, 'bob')]
    const documents = [{ name: 'a', text: 'b' }]
    const made = await send(endpoint, call('modern', 'process_documents', { documents }))
    expect(made.json.result.structuredContent.reportId).toHaveLength(22)
    expect(await heard(endpoint, streams)).toEqual([[LIST], []])
  })
})

describe('threat: following what one may not read', () => {
  const SECRET = 'reports:secret'

  it('refuses the stream as it would refuse to read, and puts each decision on record', async () => {
    await using endpoint = await start({ scopes: [SECRET] })
    const response = await listen(endpoint, 'ann')
    const read = await send(endpoint, request('modern', 'resources/read', { uri: 'note://1' }))
    expect(response.status).toBe(403)
    expect(response.headers.get('www-authenticate')).toBe(read.headers.get('www-authenticate'))
    expect(response.headers.get('www-authenticate')).toContain(`scope="mcp:use ${SECRET}"`)
    expect(await response.json()).toEqual(read.json)
    const decisions = endpoint.audited.filter(({ event }) => event === 'decision')
    expect(decisions).toMatchObject([
      { method: 'subscriptions/listen', name: NOTE, allowed: false },
      { method: 'subscriptions/listen', name: 'news://today', allowed: false },
      { method: 'resources/read', name: NOTE, allowed: false },
    ])
  })

  it.each([
    ['a condition on the variable that holds', "args.id == '1'", 200],
    ['a condition on the variable that does not', "args.id == '2'", 403],
  ])('decides on the variables of the URI: %s', async (_name, when, status) => {
    await using endpoint = await startEndpoint({
      catalog: { tools, resources },
      policies: (policies) => {
        const { [NOTE]: note, ...others } = policies.access.resources
        if (note === undefined) throw new Error('no entry')
        const access = { ...policies.access, resources: { ...others, [NOTE]: { ...note, when } } }
        return { ...policies, access }
      },
    })
    const response = await listen(endpoint, 'ann', ['note://1'])
    expect(response.status).toBe(status)
    await response.body?.cancel()
  })

  it('ends a stream that follows resources when the policies have changed, and no other', async () => {
    await using endpoint = await start()
    const following = await listen(endpoint, 'ann')
    const other = await listen(endpoint, 'ann', [])
    endpoint.lasting.changes.policiesChanged()
    expect(await following.text()).toContain(LIST)
    await send(endpoint, call('modern', 'change_list'))
    expect(await heard(endpoint, [other])).toEqual([[LIST, LIST]])
  })
})

describe('threat: a flood of changes, memory of the server and of clients', () => {
  it('tells once of each when the call has ended', async () => {
    await using endpoint = await start()
    const stream = await listen(endpoint, 'ann')
    await send(endpoint, call('modern', 'flood'))
    expect(await heard(endpoint, [stream])).toEqual([['note://1', LIST]])
  })

  it.each(['flood_of_many', 'change_nothing', 'change_impossible'])(
    'fails the call of %s',
    async (name) => {
      await using endpoint = await start()
      const { json } = await send(endpoint, call('modern', name))
      expect(json.result.content[0].text).toMatch(/^The tool failed/)
    },
  )

  it('tells also when the call has failed: it may have changed it', async () => {
    await using endpoint = await start()
    const stream = await listen(endpoint, 'ann')
    await send(endpoint, call('modern', 'change_and_fail'))
    expect(await heard(endpoint, [stream])).toEqual([['note://1']])
  })
})
