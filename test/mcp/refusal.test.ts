import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { RefusalName } from '../../src/errors.ts'
import { plainRefusal } from '../../src/mcp/refusal.ts'
import { type Endpoint, startEndpoint } from './endpoint.ts'
import { call, type Era, request, type SendOptions, send } from './wire.ts'

const CANARY = 'canary-5f2e'
const META_PREFIX = 'io.modelcontextprotocol/'

/** Codes of JSON-RPC 2.0, and those that MCP 2026-07-28 defines. */
const CODES = [-32700, -32600, -32601, -32602, -32603, -32020, -32021, -32022]

let endpoint: Endpoint
beforeAll(async () => {
  endpoint = await startEndpoint()
})
afterAll(async () => {
  await endpoint[Symbol.asyncDispose]()
})

type Case = readonly [name: string, message: (era: Era) => object, headers?: SendOptions['headers']]

const withParams = (era: Era, params: object): object => {
  const message = call(era, 'echo', { text: 'x' })
  return { ...message, params: { ...message.params, ...params } }
}

const CASES: readonly Case[] = [
  // The record of a request names its method, whatever it is.
  ['a method', (era) => request(era, 'canary')],
  ['a tool', (era) => call(era, CANARY)],
  ['a prompt', (era) => request(era, 'prompts/get', { name: CANARY })],
  ['an unknown uri', (era) => request(era, 'resources/read', { uri: `${CANARY}://x` })],
  ['no uri', (era) => request(era, 'resources/read', { uri: CANARY })],
  ['an id of a resource', (era) => request(era, 'resources/read', { uri: `report://${CANARY}` })],
  ['an unknown argument', (era) => call(era, 'echo', { text: 'x', [CANARY]: CANARY })],
  ['an argument of another type', (era) => call(era, 'echo', { text: { [CANARY]: CANARY } })],
  ['arguments that are no object', (era) => call(era, 'echo', CANARY)],
  ['a name of another type', (era) => request(era, 'tools/call', { name: [CANARY] })],
  [
    'an argument of a prompt',
    (era) =>
      request(era, 'prompts/get', {
        name: 'summarize_report',
        arguments: { [CANARY]: { [CANARY]: 1 } },
      }),
  ],
  ['a cursor of another type', (era) => request(era, 'tools/list', { cursor: { [CANARY]: 1 } })],
  ['a uri of another type', (era) => request(era, 'resources/read', { uri: { [CANARY]: 1 } })],
  ['a log level', (era) => request(era, 'logging/setLevel', { level: CANARY })],
  [
    'a log level of a request',
    (era) => call(era, 'echo', { text: 1 }, { [`${META_PREFIX}logLevel`]: CANARY }),
  ],
  [
    'versions of a client',
    (era) => request(era, 'initialize', { protocolVersion: CANARY, [CANARY]: CANARY }),
  ],
  ['a request state', (era) => withParams(era, { requestState: CANARY })],
  ['a request state of another type', (era) => withParams(era, { requestState: { [CANARY]: 1 } })],
  ['a task', (era) => withParams(era, { task: { [CANARY]: CANARY }, arguments: { [CANARY]: 1 } })],
  [
    'capabilities',
    (era) =>
      call(era, 'echo', { text: 1 }, { [`${META_PREFIX}clientCapabilities`]: { [CANARY]: 5 } }),
  ],
  [
    'a client',
    (era) => call(era, 'echo', { text: 1 }, { [`${META_PREFIX}clientInfo`]: { [CANARY]: 5 } }),
  ],
  [
    'a version in the body',
    (era) => call(era, 'echo', { text: 1 }, { [`${META_PREFIX}protocolVersion`]: CANARY }),
  ],
  [
    'a version in the header',
    (era) => call(era, 'echo', { text: 1 }),
    { 'mcp-protocol-version': CANARY },
  ],
  [
    'a version in both',
    (era) => call(era, 'echo', { text: 1 }, { [`${META_PREFIX}protocolVersion`]: CANARY }),
    { 'mcp-protocol-version': CANARY },
  ],
  ['a method in the header', (era) => call(era, 'echo', { text: 1 }), { 'mcp-method': CANARY }],
  ['a name in the header', (era) => call(era, 'echo', { text: 1 }), { 'mcp-name': CANARY }],
  ['another header', (era) => call(era, 'echo', { text: 1 }), { 'mcp-param-text': CANARY }],
]

/** What the schemas of the SDK refuse, which the SDK takes for errors of its own. */
const REFUSED_PARAMS: readonly (readonly [name: string, message: (era: Era) => object])[] = [
  ['a cursor of another type', (era) => request(era, 'tools/list', { cursor: 1 })],
  ['a cursor of prompts', (era) => request(era, 'prompts/list', { cursor: {} })],
  ['a cursor of resources', (era) => request(era, 'resources/list', { cursor: [] })],
  ['a cursor of templates', (era) => request(era, 'resources/templates/list', { cursor: null })],
  ['a uri of another type', (era) => request(era, 'resources/read', { uri: 1 })],
  ['no uri', (era) => request(era, 'resources/read')],
  ['no name of a prompt', (era) => request(era, 'prompts/get')],
  ['arguments of a prompt', (era) => request(era, 'prompts/get', { name: 'a', arguments: [] })],
  ['no name of a tool', (era) => request(era, 'tools/call')],
  ['arguments of a tool', (era) => request(era, 'tools/call', { name: 'echo', arguments: [] })],
]

describe('contract: what only clients of 2025 send is refused in the same words', () => {
  it.each([
    ['initialize', {}],
    ['initialize', { protocolVersion: 1, capabilities: {}, clientInfo: {} }],
    ['logging/setLevel', {}],
    ['logging/setLevel', { level: 'loud' }],
  ])('%s %j', async (method, params) => {
    const answer = await send(endpoint, request('legacy', method, params), { era: 'legacy' })
    const error = { code: -32602, message: 'Invalid params' }
    expect([answer.status, answer.json.error]).toEqual([200, error])
  })

  it.each([
    [
      'initialize',
      {
        protocolVersion: '2025-11-25',
        capabilities: {},
        clientInfo: { name: 'a', version: '1' },
      },
    ],
    ['logging/setLevel', { level: 'debug' }],
  ])('and is served when it is right: %s', async (method, params) => {
    const { json } = await send(endpoint, request('legacy', method, params), { era: 'legacy' })
    expect(json).toHaveProperty('result')
  })
})

describe.each(['modern', 'legacy'] as const)(
  'threat: an answer echoes its request, %s era',
  (era) => {
    it.each(CASES.map(([name, message, headers = {}]) => [name, message, headers] as const))(
      '%s',
      async (_name, message, sent) => {
        const { text, headers, messages } = await send(endpoint, message(era), {
          era,
          headers: sent,
        })
        expect(text).not.toBe('')
        expect(JSON.stringify([...headers]) + text).not.toContain('canary')
        expect(text.length).toBeLessThan(1000)
        for (const { error } of messages) if (error) expect(CODES).toContain(error.code)
      },
    )

    it('a thousand mistakes do not make a long answer', async () => {
      const wrong = Object.fromEntries(Array.from({ length: 1000 }, (_, n) => [`${CANARY}${n}`, n]))
      for (const message of [
        request(era, 'prompts/get', { name: 'summarize_report', arguments: wrong }),
        call(era, 'echo', wrong),
        call(era, 'process_documents', { documents: Array(200).fill({}) }),
      ]) {
        const { text } = await send(endpoint, message, { era })
        expect(text).not.toContain(CANARY)
        expect(text.length).toBeLessThan(2000)
      }
    })

    it.each(REFUSED_PARAMS)('says that parameters are wrong: %s', async (_name, message) => {
      const { status, json } = await send(endpoint, message(era), { era })
      expect([status, json.error]).toEqual([200, { code: -32602, message: 'Invalid params' }])
    })

    it('says what is wrong with arguments: places and rules, nothing of the caller', async () => {
      const documents = [{ name: '', text: CANARY, [CANARY]: 1 }]
      const { json } = await send(endpoint, call(era, 'process_documents', { documents }), { era })
      expect(json.result).toMatchObject({
        isError: true,
        content: [
          {
            text:
              'Input validation error: Invalid arguments for tool process_documents: ' +
              'documents.0.name: Too small: expected string to have >=1 characters, ' +
              'documents.0: Unrecognized keys',
          },
        ],
      })
    })
  },
)

describe('contract: TRN-24 a refusal of the SDK leaves in fixed words', () => {
  let reasons: RefusalName[] = []
  const note = (reason: RefusalName): void => void reasons.push(reason)
  beforeEach(() => {
    reasons = []
  })
  const refused = (body: unknown, status = 400): Promise<Response> =>
    plainRefusal(Response.json(body, { status }), note)

  it.each([
    [-32700, -32700, 'Parse error', 'parse-message.not-json'],
    [-32600, -32600, 'Invalid request', 'handler.other'],
    [-32601, -32601, 'Method not found', 'authorize.unknown-method'],
    [-32602, -32602, 'Invalid params', 'handler.invalid-params'],
    [-32603, -32603, 'Internal error', 'handler.failed'],
    [-32020, -32020, 'Headers do not match the message', 'protocol-guard.header-mismatch'],
    [-32021, -32021, 'A required client capability is missing', 'handler.missing-capability'],
    [-32022, -32022, 'Unsupported protocol version', 'protocol-guard.unsupported-version'],
    [-32000, -32600, 'Invalid request', 'handler.other'],
    [-32002, -32600, 'Invalid request', 'handler.other'],
    [-32042, -32600, 'Invalid request', 'handler.other'],
    [-32099, -32600, 'Invalid request', 'handler.other'],
    [1, -32600, 'Invalid request', 'handler.other'],
  ])('code %i becomes %i', async (code, expected, message, reason) => {
    const error = { code, message: CANARY, data: { [CANARY]: CANARY, url: CANARY } }
    const response = await refused({ jsonrpc: '2.0', id: 3, error })
    expect(response.status).toBe(400)
    expect(reasons).toEqual([reason])
    expect(await response.json()).toEqual({
      jsonrpc: '2.0',
      id: 3,
      error: { code: expected, message },
    })
  })

  it('keeps what a client must act on', async () => {
    const data = {
      supported: ['2026-07-28'],
      requested: '2027-01-01',
      requiredCapabilities: { elicitation: {} },
      more: CANARY,
    }
    const response = await refused({ id: 3, error: { code: -32022, message: CANARY, data } })
    const { more, ...kept } = data
    expect(await response.json()).toEqual({
      jsonrpc: '2.0',
      id: 3,
      error: { code: -32022, message: 'Unsupported protocol version', data: kept },
    })
    expect(more).toBe(CANARY)
  })

  it.each([
    ['no JSON', new Response(CANARY, { status: 500 })],
    ['no error', Response.json({ text: CANARY }, { status: 500 })],
    ['no body', new Response(null, { status: 499 })],
    [
      'a fraction as code',
      Response.json({ error: { code: 1.5, message: CANARY } }, { status: 500 }),
    ],
  ])('sends nothing of %s', async (_name, response) => {
    const plain = await plainRefusal(response, note)
    expect(plain.status).toBe(response.status)
    expect(await plain.text()).toBe('')
    // Nothing was refused when the client has left.
    expect(reasons).toEqual(response.status === 499 ? [] : ['handler.other'])
  })

  it('leaves out an id that was not known', async () => {
    const response = await refused({ id: null, error: { code: -32600, message: CANARY } })
    expect(await response.json()).not.toHaveProperty('id')
  })
})
