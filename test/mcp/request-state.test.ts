import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import type { ServerContext } from '@modelcontextprotocol/server'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { z } from 'zod'
import { defineTool } from '../../src/define.ts'
import { questionDigest, requestStates, type StateBinding } from '../../src/mcp/request-state.ts'
import { secretRing } from '../../src/secrets.ts'
import { memoryStore } from '../../src/stores/memory.ts'
import { META } from '../app.ts'
import { type Endpoint, startEndpoint } from './endpoint.ts'
import { type Answer, call, send } from './wire.ts'

const CAPABILITIES = 'io.modelcontextprotocol/clientCapabilities'
const CAN_ASK = { [CAPABILITIES]: { elicitation: { form: {} } } }
const YES = { confirm: { action: 'accept', content: { confirm: true } } }

const deleted: string[] = []
const question = { question: '' }
const shred = defineTool({
  name: 'shred',
  title: 'Shred',
  description: 'Asks, then notes what it would destroy.',
  annotations: {},
  input: z.strictObject({ what: z.string().max(64) }),
  output: z.strictObject({ shredded: z.boolean() }),
  longRunning: false,
  async run({ what }, { confirm }) {
    if (!(await confirm(question.question || `Shred ${what}?`))) return { shredded: false }
    deleted.push(what)
    return { shredded: true }
  },
})
/** Asks the same question, for the same arguments, under another name. */
const burn = { ...shred, name: 'burn', title: 'Burn' }
const asksNonsense = {
  ...shred,
  name: 'asks_nonsense',
  run: (_input: unknown, { confirm }: Parameters<typeof shred.run>[1]) =>
    confirm(undefined as unknown as string).then((shredded) => ({ shredded })),
}
const CATALOG = { tools: [shred, burn, asksNonsense] }

let endpoint: Endpoint
beforeAll(async () => {
  endpoint = await startEndpoint({ catalog: CATALOG })
})
afterAll(async () => {
  await endpoint[Symbol.asyncDispose]()
})
afterEach(() => {
  vi.useRealTimers()
  deleted.length = 0
  question.question = ''
})

interface Reply {
  readonly name?: string
  readonly args?: unknown
  readonly subject?: string
  readonly requestState?: unknown
  readonly inputResponses?: unknown
}

/** Calls a tool as a client that can ask its user. */
function reply(at: Endpoint, options: Reply = {}): Promise<Answer> {
  const { name = 'shred', args = { what: 'papers' }, subject, ...more } = options
  const message = call('modern', name, args, CAN_ASK)
  return send(
    at,
    { ...message, params: { ...message.params, ...more } },
    subject === undefined ? {} : { subject },
  )
}

/** The state of a question that was just asked. */
async function stateOf(at: Endpoint, options: Reply = {}): Promise<string> {
  const { json } = await reply(at, options)
  expect(json.result).toMatchObject({
    resultType: 'input_required',
    inputRequests: { confirm: { method: 'elicitation/create' } },
  })
  return json.result.requestState
}

const REFUSED = {
  code: -32602,
  message: 'Invalid params',
  data: { reason: 'invalid_request_state' },
}

async function expectRefused(answer: Promise<Answer>): Promise<void> {
  const { json, text } = await answer
  expect(json.error).toEqual(REFUSED)
  expect(text).not.toContain('papers')
  expect(deleted).toEqual([])
}

describe('contract: a tool that asks', () => {
  it('runs once the person has agreed', async () => {
    const before = endpoint.outcomes().length
    const requestState = await stateOf(endpoint)
    expect(deleted).toEqual([])
    const { json } = await reply(endpoint, { requestState, inputResponses: YES })
    expect(json.result.structuredContent).toEqual({ shredded: true })
    expect(deleted).toEqual(['papers'])
    const outcomes = endpoint.outcomes().slice(before)
    expect(outcomes.map(({ outcome }) => outcome)).toEqual(['asked', 'ok'])
  })

  it.each([
    ['declines', { confirm: { action: 'decline' } }],
    ['cancels', { confirm: { action: 'cancel' } }],
    ['accepts without saying yes', { confirm: { action: 'accept', content: {} } }],
    ['accepts and says no', { confirm: { action: 'accept', content: { confirm: false } } }],
    ['says yes as a text', { confirm: { action: 'accept', content: { confirm: 'true' } } }],
    ['declines and says yes', { confirm: { action: 'decline', content: { confirm: true } } }],
  ])('does nothing when the person %s', async (_name, inputResponses) => {
    const requestState = await stateOf(endpoint)
    const { json } = await reply(endpoint, { requestState, inputResponses })
    expect(json.result.structuredContent).toEqual({ shredded: false })
    expect(deleted).toEqual([])
  })

  it('tells a client that cannot ask which capability it lacks', async () => {
    const message = call('modern', 'shred', { what: 'papers' }, META)
    const { status, json } = await send(endpoint, message)
    expect(status).toBe(400)
    expect(json.error).toEqual({
      code: -32021,
      message: 'A required client capability is missing',
      data: { requiredCapabilities: { elicitation: { form: {} } } },
    })
    expect(deleted).toEqual([])
  })

  it('tells a 2025 client that it cannot', async () => {
    const message = call('legacy', 'shred', { what: 'papers' })
    const { json } = await send(endpoint, message, { era: 'legacy' })
    expect(json.result).toMatchObject({
      isError: true,
      content: [
        {
          text: 'This tool asks for confirmation, which needs a client of MCP 2026-07-28 or later.',
        },
      ],
    })
    expect(deleted).toEqual([])
  })

  it('that asks no text fails', async () => {
    const { json } = await reply(endpoint, { name: 'asks_nonsense' })
    expect(json.result.content[0].text).toMatch(/^The tool failed \(reference /)
  })

  it.each([
    ['yes', 'accept', true, true],
    ['no', 'decline', false, false],
    ['nothing', 'cancel', false, false],
  ] as const)(
    'delete_report, when the person at a client says %s',
    async (_name, action, confirm, expected) => {
      const client = new Client(
        { name: 'test', version: '1.0.0' },
        { capabilities: { elicitation: { form: {} } }, versionNegotiation: { mode: 'auto' } },
      )
      const asked: string[] = []
      client.setRequestHandler('elicitation/create', async ({ params }) => {
        asked.push(params.message)
        return action === 'accept' ? { action, content: { confirm } } : { action }
      })
      const headers = { authorization: `Bearer ${endpoint.key('bob')}` }
      await client.connect(
        new StreamableHTTPClientTransport(new URL(endpoint.url), { requestInit: { headers } }),
      )
      const made = await client.callTool({
        name: 'process_documents',
        arguments: { documents: [{ name: 'a.md', text: 'text' }] },
      })
      const { reportId: id } = z.looseObject({ reportId: z.string() }).parse(made.structuredContent)
      const result = await client.callTool({ name: 'delete_report', arguments: { id } })
      expect(result.structuredContent).toEqual({ deleted: expected })
      expect(asked).toEqual([`Delete report ${id}? This cannot be undone.`])
      const uris = (await client.listResources()).resources.map(({ uri }) => uri)
      expect(uris.includes(`report://${id}`)).toBe(!expected)
      await client.close()
    },
  )
})

describe('threat: a forged yes, a destructive tool runs without its person', () => {
  it('TRN-33 an answer without a question is asked again', async () => {
    const { json } = await reply(endpoint, { inputResponses: YES })
    expect(json.result.resultType).toBe('input_required')
    expect(deleted).toEqual([])
  })

  it('TRN-33 a state without an answer is asked again', async () => {
    const requestState = await stateOf(endpoint)
    const { json } = await reply(endpoint, { requestState })
    expect(json.result.resultType).toBe('input_required')
    expect(deleted).toEqual([])
  })

  it('TRN-33 an answer under another key is asked again', async () => {
    const requestState = await stateOf(endpoint)
    const { json } = await reply(endpoint, { requestState, inputResponses: { other: YES.confirm } })
    expect(json.result.resultType).toBe('input_required')
    expect(deleted).toEqual([])
  })

  it('TRN-33 an answer to another question is asked again', async () => {
    const requestState = await stateOf(endpoint)
    question.question = 'Shred the whole archive?'
    const { json } = await reply(endpoint, { requestState, inputResponses: YES })
    expect(json.result.inputRequests.confirm.params.message).toBe('Shred the whole archive?')
    expect(deleted).toEqual([])
  })

  it('TRN-33 a 2025 client cannot answer', async () => {
    const requestState = await stateOf(endpoint)
    const message = call('legacy', 'shred', { what: 'papers' })
    const params = { ...message.params, requestState, inputResponses: YES }
    const { json } = await send(endpoint, { ...message, params }, { era: 'legacy' })
    expect(json.result.isError).toBe(true)
    expect(deleted).toEqual([])
  })

  it.each([
    ['nothing', () => ''],
    ['no text', () => ({ state: true })],
    ['another text', () => 'yes'],
    ['a prefix', (state: string) => state.slice(0, -1)],
    ['a suffix', (state: string) => `${state}A`],
    ['another signature', (state: string) => state.replace(/\.[^.]*$/, `.${'A'.repeat(43)}`)],
    ['no signature', (state: string) => state.replace(/\.[^.]*$/, '.')],
    ['another body', (state: string) => state.replace(/^v1\.[^.]*/, 'v1.e30')],
    ['another version', (state: string) => state.replace(/^v1/, 'v2')],
  ])('TRN-33 refuses %s in place of the state', async (_name, change) => {
    const requestState = change(await stateOf(endpoint))
    await expectRefused(reply(endpoint, { requestState, inputResponses: YES }))
  })

  it('TRN-33 refuses a state that was used before', async () => {
    const requestState = await stateOf(endpoint)
    await reply(endpoint, { requestState, inputResponses: YES })
    deleted.length = 0
    await expectRefused(reply(endpoint, { requestState, inputResponses: YES }))
  })

  it('TRN-33 accepts a state once of many at the same time', async () => {
    const requestState = await stateOf(endpoint)
    const answers = await Promise.all(
      Array.from({ length: 10 }, () => reply(endpoint, { requestState, inputResponses: YES })),
    )
    expect(answers.filter(({ json }) => json.error === undefined)).toHaveLength(1)
    expect(deleted).toEqual(['papers'])
  })

  it.each([
    ['another caller', { subject: 'bob' }],
    ['other arguments', { args: { what: 'everything' } }],
    ['another tool', { name: 'burn' }],
  ])('TRN-33 refuses a state of %s', async (_name, other) => {
    const requestState = await stateOf(endpoint)
    await expectRefused(reply(endpoint, { requestState, inputResponses: YES, ...other }))
    // The owner's own answer still counts: the failed attempt did not use the state up.
    await reply(endpoint, { requestState, inputResponses: YES })
    expect(deleted).toEqual(['papers'])
  })

  it('TRN-33 does not tell a state of another from one of nobody', async () => {
    const requestState = await stateOf(endpoint)
    const foreign = await reply(endpoint, { requestState, inputResponses: YES, subject: 'bob' })
    const unknown = await reply(endpoint, {
      requestState: 'x',
      inputResponses: YES,
      subject: 'bob',
    })
    expect(foreign.text).toBe(unknown.text)
  })

  it('TRN-33 holds neither arguments nor names of the caller', async () => {
    const state = await stateOf(endpoint)
    const body = Buffer.from(state.split('.')[1] ?? '', 'base64url').toString()
    expect(JSON.parse(body).p).toMatchObject({ tool: 'shred' })
    expect(body).not.toMatch(/papers|ann|Shred papers/)
  })
})

describe('contract: rotation of the root secret', () => {
  it('keeps questions open that an older root signed, whole calls through', async () => {
    const store = memoryStore()
    await using before = await startEndpoint({ catalog: CATALOG, store, roots: ['old'] })
    await using after = await startEndpoint({ catalog: CATALOG, store, roots: ['new', 'old'] })
    const requestState = await stateOf(before)
    const { json } = await reply(after, { requestState, inputResponses: YES })
    expect(json.result.structuredContent).toEqual({ shredded: true })
    expect(deleted).toEqual(['papers'])
  })

  it('TRN-33 refuses a state of a root that is gone', async () => {
    const store = memoryStore()
    await using before = await startEndpoint({ catalog: CATALOG, store, roots: ['old'] })
    await using after = await startEndpoint({ catalog: CATALOG, store, roots: ['new'] })
    const requestState = await stateOf(before)
    await expectRefused(reply(after, { requestState, inputResponses: YES }))
  })
})

describe('threat: an old yes is kept for later', () => {
  const ring = secretRing([Buffer.alloc(32, 7)])
  const binding: StateBinding = { owner: 'ann', tool: 'shred', args: 'digest' }
  const ctx = {} as unknown as ServerContext

  it.each([
    ['in time', 300_000, true],
    ['a second late', 301_000, false],
    ['a day late', 86_400_000, false],
  ])('TRN-33 a state that comes back %s', async (_name, laterMs, accepted) => {
    vi.useFakeTimers({ toFake: ['Date'], now: 1_700_000_000_000 })
    const states = requestStates(ring, memoryStore())
    const state = await states.mint(binding, 'Sure?')
    vi.setSystemTime(1_700_000_000_000 + laterMs)
    const verified = states.verify(state, binding, ctx)
    if (accepted) expect(await verified).toBe(questionDigest('Sure?'))
    else await expect(verified).rejects.toThrow()
  })

  it('TRN-33 refuses every state while the store is down', async () => {
    const store = memoryStore()
    const states = requestStates(ring, {
      ...store,
      once: () => Promise.reject(new Error('The shared store is unavailable')),
    })
    const state = await states.mint(binding, 'Sure?')
    await expect(states.verify(state, binding, ctx)).rejects.toThrow()
  })
})
