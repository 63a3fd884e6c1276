import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it, vi } from 'vitest'
import { z } from 'zod'
import type { AuditEvent } from '../../src/audit/trail.ts'
import { defineTool } from '../../src/define.ts'
import { META, type TestRequest, testApp, toolCall } from '../app.ts'
import { type Host, type HostOptions, type Received, startHost } from './host.ts'

const nothing = z.strictObject({})
const waiting: (() => void)[] = []
/** Waits until the test lets it go, or until it is told to stop. */
const hang = defineTool({
  name: 'hang',
  title: 'Hang',
  description: 'Waits.',
  annotations: {},
  input: nothing,
  output: nothing,
  longRunning: false,
  async run(_input, { signal }) {
    const { promise, resolve } = Promise.withResolvers<void>()
    waiting.push(resolve)
    await Promise.race([promise, sleep(60_000, undefined, { signal })])
    return {}
  },
})
const agree = defineTool({
  name: 'agree',
  title: 'Agree',
  description: 'Asks for confirmation.',
  annotations: {},
  input: nothing,
  output: z.strictObject({ agreed: z.boolean() }),
  longRunning: false,
  async run(_input, { confirm }) {
    return { agreed: await confirm('Go on?') }
  },
})
/** Does not stop when it is told to. */
const stubborn = defineTool({
  ...hang,
  name: 'stubborn',
  input: nothing,
  output: nothing,
  async run() {
    const { promise, resolve } = Promise.withResolvers<void>()
    waiting.push(resolve)
    await promise
    return {}
  },
})
const REPORT = `report://${'a'.repeat(22)}`
const touch = defineTool({
  ...hang,
  name: 'touch',
  input: nothing,
  output: nothing,
  async run(_input, { resourceUpdated }) {
    resourceUpdated(REPORT)
    return {}
  },
})
const AGREE: HostOptions = { catalog: { tools: [agree] } }
const HANG: HostOptions = { catalog: { tools: [hang] } }

const request = (method: string, params: object = {}, id: string | number = 1): object => ({
  jsonrpc: '2.0',
  id,
  method,
  params: { ...params, _meta: META },
})
const legacy = (method: string, params?: object, id?: string | number): object => ({
  jsonrpc: '2.0',
  ...(id === undefined ? {} : { id }),
  method,
  ...(params && { params }),
})
const initialize = legacy(
  'initialize',
  {
    protocolVersion: '2025-11-25',
    capabilities: {},
    clientInfo: { name: 'test', version: '1.0.0' },
  },
  'init',
)
const bulk = {
  documents: Array.from({ length: 51 }, () => ({ name: 'a', text: 'canary-text' })),
}
const deep = `${'['.repeat(100)}${']'.repeat(100)}`

/** What of an event does not differ from one transport to the other. */
function essence(event: AuditEvent): object {
  const { event: kind } = event
  switch (event.event) {
    case 'request':
      return { kind, status: event.status, reason: event.reason, method: event.method }
    case 'decision':
      return { kind, allowed: event.allowed, reason: event.reason, name: event.name }
    case 'outcome':
      return { kind, outcome: event.outcome, name: event.name }
    default:
      return { kind }
  }
}

/** The records of one message: all but what the server does by itself. */
function recordsOf(host: Host): object[] {
  return host.audited.map(essence)
}

async function ended(host: Host, requests = 1): Promise<void> {
  await vi.waitFor(() =>
    expect(host.audited.filter(({ event }) => event === 'request')).toHaveLength(requests),
  )
}

async function running(count: number): Promise<void> {
  await vi.waitFor(() => expect(waiting).toHaveLength(count))
}

describe('threat: another way in, what is refused over HTTP runs over standard input', () => {
  it.each<[string, object | string, { scopes?: readonly string[] }]>([
    ['text that is not JSON', 'canary-text', {}],
    ['an empty line', '', {}],
    ['a batch', [request('tools/list')], {}],
    ['deep nesting', `{"jsonrpc":"2.0","id":1,"method":"a","params":{"a":${deep}}}`, {}],
    ['a doubled name', '{"jsonrpc":"2.0","id":1,"method":"tools/list","method":"ping"}', {}],
    ['__proto__', '{"jsonrpc":"2.0","id":1,"method":"a","params":{"__proto__":{}}}', {}],
    ['a lone surrogate', '{"jsonrpc":"2.0","id":1,"method":"\\ud800"}', {}],
    ['an id that is null', '{"jsonrpc":"2.0","id":null,"method":"tools/list"}', {}],
    ['a message that is none', '{"jsonrpc":"2.0","id":1}', {}],
    ['an unknown method', request('canary/method'), {}],
    ['a method of the other era', request('logging/setLevel', { level: 'info' }), {}],
    ['a name of all objects', request('constructor'), {}],
    ['a revision of the future', revision('2099-01-01'), {}],
    ['no scope at all', request('tools/list'), { scopes: [] }],
    ['a missing scope', toolCall('process_documents', bulk), { scopes: ['mcp:use'] }],
    ['a condition that does not hold', toolCall('process_documents', bulk), {}],
    ['an unknown tool', toolCall('canary_tool', {}), {}],
    ['arguments that do not fit', toolCall('echo', { text: 5 }), {}],
    ['an unknown resource', request('resources/read', { uri: 'report://canary' }), {}],
    ['an unknown prompt', request('prompts/get', { name: 'constructor' }), {}],
  ])('refuses %s in the same words, with the same records', async (_name, message, options) => {
    const app = testApp(options)
    await using host = await startHost(options)
    const sent = await app.send({ body: message, ...headersOf(message) })
    app.close()
    const answer = await host.ask(message)
    await ended(host)
    expect(answer).toEqual(sent.json)
    expect(recordsOf(host)).toEqual(sent.events.map(essence))
    expect(JSON.stringify(answer)).not.toContain('canary')
  })

  it('lets a call through, with a decision before and an outcome after it', async () => {
    await using host = await startHost()
    const answer = await host.ask(toolCall('echo', { text: 'hello' }))
    expect(answer.result.structuredContent).toEqual({ text: 'hello' })
    await ended(host)
    expect(recordsOf(host)).toEqual([
      { kind: 'decision', allowed: true, reason: undefined, name: 'echo' },
      { kind: 'outcome', outcome: 'ok', name: 'echo' },
      { kind: 'request', status: 200, reason: undefined, method: 'tools/call' },
    ])
    expect(host.audited[0]).toMatchObject({
      principal: { kind: 'api-key', issuer: 'gatehouse', client: '', subject: 'ann' },
      address: '127.0.0.1',
    })
  })

  it('refuses a line that is too long, and takes the next one', async () => {
    await using host = await startHost()
    const { error } = await host.ask('x'.repeat(1_048_577))
    expect(error).toEqual({ code: -32600, message: 'Content too large' })
    await ended(host)
    expect(recordsOf(host)).toEqual([
      { kind: 'request', status: 413, reason: 'parse-message.too-large', method: undefined },
    ])
    expect((await host.ask(request('tools/list'))).result.tools).toHaveLength(4)
  })

  it('serves nothing while the trail cannot be written', async () => {
    let ready = true
    await using host = await startHost({ trailReady: () => ready })
    ready = false
    const { error } = await host.ask(request('tools/list'))
    expect(error).toEqual({ code: -32603, message: 'Temporarily unavailable' })
    ready = true
    expect((await host.ask(request('tools/list'))).result.tools).toHaveLength(4)
  })

  it('refuses a filter that is none in fixed words', async () => {
    await using host = await startHost()
    const { error } = await host.ask(request('subscriptions/listen', { notifications: 'canary' }))
    expect(error).toEqual({ code: -32602, message: 'Invalid params' })
    await ended(host)
    expect(recordsOf(host)).toMatchObject([{ status: 200, reason: 'handler.invalid-params' }])
  })

  it('answers no notification, whatever is wrong with it', async () => {
    await using host = await startHost()
    host.send(legacy('notifications/canary'))
    host.send({ jsonrpc: '2.0', method: 'tools/call', params: { name: 'echo', _meta: META } })
    await host.ask(request('tools/list'))
    expect(host.received).toHaveLength(1)
    await ended(host, 3)
    expect(recordsOf(host).slice(0, 2)).toMatchObject([
      { status: 404, reason: 'authorize.unknown-method' },
      { status: 404, reason: 'authorize.unknown-method' },
    ])
  })
})

/** What a client over HTTP repeats in a header. */
function headersOf(message: object | string): Pick<TestRequest, 'headers'> {
  const version = /"io.modelcontextprotocol\/protocolVersion":"([^"]*)"/.exec(
    JSON.stringify(message),
  )?.[1]
  return version === undefined ? {} : { headers: { 'mcp-protocol-version': version } }
}

function revision(version: string): object {
  const _meta = { ...META, 'io.modelcontextprotocol/protocolVersion': version }
  return { jsonrpc: '2.0', id: 1, method: 'tools/list', params: { _meta } }
}

describe('threat: a second request under an open id, one is decided on and another runs', () => {
  it('refuses it, and takes the id again afterwards', async () => {
    await using host = await startHost(HANG)
    waiting.length = 0
    host.send(toolCall('hang', {}, 'a'))
    await running(1)
    const { error } = await host.ask(toolCall('echo', { text: 'b' }, 'a'))
    expect(error).toEqual({ code: -32600, message: 'Invalid request' })
    expect(host.audited.at(-1)).toMatchObject({ event: 'request', reason: 'stdio.duplicate-id' })
    waiting[0]?.()
    await host.arrived((one) => one.id === 'a' && 'result' in one)
    await ended(host, 2)
    const again = await host.ask(toolCall('echo', { text: 'b' }, 'a'))
    expect(again.result.structuredContent).toEqual({ text: 'b' })
  })

  it('knows 1 from "1"', async () => {
    await using host = await startHost(HANG)
    waiting.length = 0
    host.send(toolCall('hang', {}, 1))
    await running(1)
    expect(await host.ask(toolCall('echo', { text: 'b' }, '1'))).toMatchObject({ id: '1' })
  })
})

describe('threat: an answer to nothing that was asked, it ends a question of another call', () => {
  const reply = (id: string | number, content: object = { confirm: true }): object => ({
    jsonrpc: '2.0',
    id,
    result: { action: 'accept', content },
  })
  const askable = legacy(
    'initialize',
    {
      protocolVersion: '2025-11-25',
      capabilities: { elicitation: {} },
      clientInfo: { name: 'test', version: '1.0.0' },
    },
    'init',
  )
  const call = legacy('tools/call', { name: 'agree', arguments: {} }, 'call')
  const isQuestion = ({ method }: Received): boolean => method === 'elicitation/create'

  async function refused(host: Host, count: number): Promise<void> {
    await vi.waitFor(() =>
      expect(
        host.audited.filter((e) => e.event === 'request' && e.reason === 'stdio.unasked'),
      ).toHaveLength(count),
    )
  }

  it.each([
    ['a number', 0],
    ['a name', 'call'],
    ['a name of all objects', 'constructor'],
  ])('refuses one under %s', async (_name, id) => {
    await using host = await startHost(AGREE)
    await host.ask(askable)
    host.send(reply(id))
    await refused(host, 1)
    expect(host.received).toHaveLength(1)
  })

  it('takes the answer to a question once', async () => {
    await using host = await startHost(AGREE)
    await host.ask(askable)
    host.send(call)
    const { id } = await host.arrived(isQuestion)
    host.send(reply(`${id}0`, { confirm: false }))
    await refused(host, 1)
    host.send(reply(id))
    const { result } = await host.arrived((one) => one.id === 'call')
    expect(result.structuredContent).toEqual({ agreed: true })
    host.send(reply(id))
    await refused(host, 2)
  })

  it('takes it while the server drains', async () => {
    await using host = await startHost(AGREE)
    await host.ask(askable)
    host.send(call)
    const { id } = await host.arrived(isQuestion)
    const drained = host.drain()
    host.send(reply(id))
    await drained
    expect(host.received.at(-1)).toMatchObject({ id: 'call', result: { structuredContent: {} } })
  })

  it('asks no host that has not said that it can be asked', async () => {
    await using host = await startHost(AGREE)
    await host.ask(initialize)
    const { result } = await host.ask(call)
    expect(result).toMatchObject({
      isError: true,
      content: [{ text: 'This tool needs a client that declares elicitation.' }],
    })
  })
})

describe('threat: a connection of two eras, a message is decided on for one and served in the other', () => {
  const modern = request('tools/list', {}, 'modern')
  const old = legacy('tools/list', {}, 'old')

  it.each([
    ['2026-07-28', [modern], [old, initialize], ['2026-07-28']],
    ['2025-11-25', [initialize], [modern], ['2025-11-25', '2025-06-18', '2025-03-26']],
    ['2025, without initialize', [old], [modern], ['2025-11-25', '2025-06-18', '2025-03-26']],
  ])('refuses what is not of %s', async (_name, first, others, supported) => {
    await using host = await startHost()
    for (const message of first) expect(await host.ask(message)).toHaveProperty('result')
    for (const message of others) {
      const { error } = await host.ask(message)
      expect(error).toEqual({
        code: -32022,
        message: 'Unsupported protocol version',
        data: { supported },
      })
    }
    for (const message of first) expect(await host.ask(message)).not.toHaveProperty('error.data')
  })

  it('lets a host ask for the era before it decides', async () => {
    await using host = await startHost()
    expect(await host.ask(request('server/discover', {}, 'probe'))).toHaveProperty('result')
    expect(await host.ask(initialize)).toHaveProperty('result.protocolVersion', '2025-11-25')
    expect(await host.ask(old)).toHaveProperty('result.tools')
  })

  it('decides nothing by a notification', async () => {
    await using host = await startHost()
    host.send(legacy('notifications/initialized'))
    expect(await host.ask(modern)).toHaveProperty('result.tools')
    expect(recordsOf(host)[0]).toMatchObject({ status: 202, reason: undefined })
  })

  it('serves no 2025 host where policy says so', async () => {
    await using host = await startHost({
      policies: (policies) => ({
        ...policies,
        http: { ...policies.http, protocol: { ...policies.http.protocol, legacy: 'off' } },
      }),
    })
    expect(await host.ask(initialize)).toHaveProperty('error.code', -32022)
    expect(await host.ask(modern)).toHaveProperty('result.tools')
  })
})

const limited = (limits: object): HostOptions => ({
  ...HANG,
  policies: (policies) => ({
    ...policies,
    limits: {
      ...policies.limits,
      principal: { ...policies.limits.principal, ...limits },
    },
  }),
})

describe('threat: a greedy host, one process takes what others need', () => {
  it('counts requests', async () => {
    await using host = await startHost(limited({ requestsPerMinute: 2 }))
    for (const id of [1, 2]) {
      expect(await host.ask(request('tools/list', {}, id))).toHaveProperty('result')
    }
    const { error } = await host.ask(request('tools/list', {}, 3))
    expect(error).toEqual({ code: -32600, message: 'Too many requests' })
    expect(recordsOf(host).slice(-2)).toMatchObject([
      { status: 429, reason: 'principal-limit.rate' },
      { kind: 'throttle' },
    ])
  })

  it.each([
    ['of all tools', limited({ concurrentCalls: 1 }), 'principal-calls.concurrency'],
    [
      'of one tool',
      {
        ...HANG,
        policies: (policies) => {
          const tools = { ...policies.access.tools }
          const entry = tools['hang']
          if (entry !== undefined) tools['hang'] = { ...entry, concurrentCallsPerPrincipal: 1 }
          return { ...policies, access: { ...policies.access, tools } }
        },
      } satisfies HostOptions,
      'call-limit.concurrency',
    ],
  ])('counts calls %s, until each has ended', async (_name, options, reason) => {
    await using host = await startHost(options)
    waiting.length = 0
    host.send(toolCall('hang', {}, 'first'))
    await running(1)
    host.send(toolCall('hang', {}, 'second'))
    await vi.waitFor(() => expect(host.audited).toContainEqual(expect.objectContaining({ reason })))
    host.send(legacy('notifications/cancelled', { requestId: 'first' }))
    await vi.waitFor(() =>
      expect(host.audited).toContainEqual(expect.objectContaining({ outcome: 'cancelled' })),
    )
    host.send(toolCall('hang', {}, 'third'))
    await running(2)
    waiting[1]?.()
    expect(await host.arrived(({ id }) => id === 'third')).toHaveProperty('result')
  })

  it('keeps the place of a cancelled call until its tool has stopped', async () => {
    const options = { ...limited({ concurrentCalls: 1 }), catalog: { tools: [stubborn] } }
    await using host = await startHost(options)
    waiting.length = 0
    host.send(toolCall('stubborn', {}, 'first'))
    await running(1)
    host.send(legacy('notifications/cancelled', { requestId: 'first' }))
    await vi.waitFor(() =>
      expect(host.audited).toContainEqual(expect.objectContaining({ outcome: 'cancelled' })),
    )
    const { error } = await host.ask(toolCall('stubborn', {}, 'second'))
    expect(error).toEqual({ code: -32600, message: 'Too many requests' })
    expect(waiting).toHaveLength(1)
    waiting[0]?.()
    expect(await host.ask(request('tools/list', {}, 'third'))).toHaveProperty('result')
  })

  it('counts subscriptions, until each has ended', async () => {
    await using host = await startHost(limited({ openStreams: 1 }))
    const listen = (id: string): object =>
      request('subscriptions/listen', { notifications: { toolsListChanged: true } }, id)
    host.send(listen('a'))
    await host.arrived(({ method }) => method === 'notifications/subscriptions/acknowledged')
    expect(await host.ask(listen('b'))).toHaveProperty('error.message', 'Too many requests')
    host.send(legacy('notifications/cancelled', { requestId: 'a' }))
    host.send(listen('c'))
    const of = (id: string) => (one: Received) =>
      one.params?._meta?.['io.modelcontextprotocol/subscriptionId'] === id
    await host.arrived(of('c'))
  })
})

describe('contract: a host of 2025 follows a resource', () => {
  const updated = ({ method }: Received): boolean => method === 'notifications/resources/updated'

  it('hears of it as long as it does', async () => {
    await using host = await startHost({ catalog: { tools: [touch] } })
    await host.ask(initialize)
    const call = (id: number): object => legacy('tools/call', { name: 'touch' }, id)
    const change = (method: string, id: number): Promise<Received> =>
      host.ask(legacy(method, { uri: REPORT }, id))

    expect(await host.ask(call(1))).toHaveProperty('result')
    expect(await change('resources/subscribe', 2)).toHaveProperty('result', {})
    expect(host.received.filter(updated)).toEqual([])
    await host.ask(call(3))
    expect((await host.arrived(updated)).params).toEqual({ uri: REPORT })
    expect(await change('resources/unsubscribe', 4)).toHaveProperty('result', {})
    await host.ask(call(5))
    await host.ask(legacy('ping', {}, 6))
    expect(host.received.filter(updated)).toHaveLength(1)
  })

  it('is refused what its key may not read', async () => {
    await using host = await startHost({ scopes: ['mcp:use'] })
    await host.ask(initialize)
    const { error } = await host.ask(legacy('resources/subscribe', { uri: REPORT }, 1))
    expect(error).toEqual({ code: -32600, message: 'Forbidden' })
  })

  it('is no method of a host of 2026-07-28, which listens', async () => {
    await using host = await startHost()
    const { error } = await host.ask(request('resources/subscribe', { uri: REPORT }))
    expect(error).toEqual({ code: -32601, message: 'Method not found' })
  })
})

describe('contract: a call ends as over HTTP', () => {
  it('by its host, without an answer', async () => {
    await using host = await startHost(HANG)
    waiting.length = 0
    host.send(toolCall('hang', {}, 7))
    await running(1)
    host.send(legacy('notifications/cancelled', { requestId: 7 }))
    await ended(host, 2)
    await host.ask(request('tools/list', {}, 8))
    await vi.waitFor(() =>
      expect(recordsOf(host)).toEqual(
        expect.arrayContaining([
          { kind: 'outcome', outcome: 'cancelled', name: 'hang' },
          { kind: 'request', status: 499, reason: undefined, method: 'tools/call' },
        ]),
      ),
    )
    expect(host.received.map(({ id }) => id)).toEqual([8])
  })

  it('is answered while the server drains, and new ones are refused', async () => {
    await using host = await startHost(HANG)
    waiting.length = 0
    host.send(toolCall('hang', {}, 'last'))
    await running(1)
    const drained = host.drain()
    const { error } = await host.ask(toolCall('echo', { text: 'late' }, 'late'))
    expect(error).toEqual({ code: -32603, message: 'Temporarily unavailable' })
    waiting[0]?.()
    await drained
    expect(host.received.at(-1)).toMatchObject({ id: 'last', result: {} })
  })

  it('gives each subscription its result at the end', async () => {
    await using host = await startHost()
    host.send(request('subscriptions/listen', { notifications: { toolsListChanged: true } }, 's'))
    await host.arrived(({ method }) => method === 'notifications/subscriptions/acknowledged')
    await host.drain()
    await host.close()
    expect(host.received.at(-1)).toMatchObject({ id: 's', result: {} })
    await ended(host)
  })
})

describe('threat: a host that does not read, memory grows with what it is sent', () => {
  it('takes no more messages until there is room, and loses none', async () => {
    await using host = await startHost(limited({ concurrentCalls: 1000 }))
    host.read(false)
    const text = 'x'.repeat(4000)
    for (let id = 0; id < 200; id++) host.send(toolCall('echo', { text }, id))
    await vi.waitFor(() => expect(host.audited.length).toBeGreaterThan(5))
    let seen = -1
    await vi.waitFor(() => {
      const before = seen
      seen = host.audited.length
      expect(seen).toBe(before)
    })
    expect(seen).toBeLessThan(100)
    host.read(true)
    await host.arrived(({ id }) => id === 199)
    expect(host.received.map(({ id }) => id).toSorted((a, b) => a - b)).toEqual(
      Array.from({ length: 200 }, (_, id) => id),
    )
  })
})
