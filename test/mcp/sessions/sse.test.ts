// optional: legacy-sse
import { describe, expect, it, onTestFinished } from 'vitest'
import { testClock } from '../../clock.ts'
import type { Endpoint } from '../endpoint.ts'
import { open, type SendOptions } from '../wire.ts'
import {
  initialize,
  isAnswerTo,
  isMethod,
  message,
  type SessionsOptions,
  type Stream,
  startSessions,
  stream,
  until,
} from './peer.ts'
import { type SessionTools, sessionTools } from './tools.ts'

const ECHO = message('tools/call', { name: 'echo', arguments: { text: 'hello' } }, 'echo')
const STEPS = message('tools/call', { name: 'steps', _meta: { progressToken: 1 } }, 'steps')

interface Legacy {
  readonly endpoint: Endpoint
  readonly steps: SessionTools
}

async function legacy(options: SessionsOptions = {}): Promise<Legacy> {
  const steps = sessionTools()
  const endpoint = await startSessions({ catalog: { tools: steps.tools }, ...options })
  onTestFinished(() => endpoint[Symbol.asyncDispose]())
  return { endpoint, steps }
}

const NO_VERSION = { 'mcp-protocol-version': null }

function at(endpoint: Endpoint, path: string): Pick<Endpoint, 'url' | 'key'> {
  return { url: new URL(path, endpoint.url).href, key: endpoint.key }
}

interface SsePeer {
  readonly stream: Stream
  /** Where messages go, as the server says. */
  readonly path: string
  post(sent: unknown, options?: SendOptions): Promise<Stream>
}

/** Connects as 2024 clients do. */
async function connect(endpoint: Endpoint, options: SendOptions = {}): Promise<SsePeer> {
  const headers = { ...NO_VERSION, accept: 'text/event-stream' }
  const opened = await stream(at(endpoint, '/sse'), '', { method: 'GET', headers, ...options })
  const { data: path } = await opened.event(({ name }) => name === 'endpoint')
  const post: SsePeer['post'] = (sent, own) =>
    stream(at(endpoint, path), sent, { headers: NO_VERSION, ...options, ...own })
  return { stream: opened, path, post }
}

async function begun(endpoint: Endpoint, capabilities: object = {}): Promise<SsePeer> {
  const peer = await connect(endpoint)
  expect((await peer.post(initialize(capabilities, '2024-11-05'))).status).toBe(202)
  await peer.stream.event(isAnswerTo(0))
  expect((await peer.post(message('notifications/initialized', {}, null))).status).toBe(202)
  return peer
}

describe('contract: HTTP+SSE of 2024-11-05', () => {
  it('says first where messages go, takes them with 202 and answers on the stream', async () => {
    const { endpoint } = await legacy()
    const peer = await connect(endpoint)
    expect(peer.stream.headers.get('content-type')).toBe('text/event-stream')
    expect(peer.stream.headers.get('x-request-id')).not.toBeNull()
    expect(peer.stream.events[0]?.name).toBe('endpoint')
    expect(peer.path).toMatch(/^\/messages\?sessionId=[\w-]{43}$/)
    const taken = await peer.post(initialize({}, '2024-11-05'))
    await taken.ended
    expect([taken.status, taken.events]).toEqual([202, []])
    const { result } = (await peer.stream.event(isAnswerTo(0))).json
    expect(result.protocolVersion).toBe('2024-11-05')
    await peer.post(ECHO)
    const answer = await peer.stream.event(isAnswerTo('echo'))
    expect([answer.name, answer.json.result.structuredContent]).toEqual([
      'message',
      { text: 'hello' },
    ])
  })

  it('leaves the same records as any other call', async () => {
    const { endpoint } = await legacy()
    const peer = await begun(endpoint)
    await peer.post(ECHO)
    await peer.stream.event(isAnswerTo('echo'))
    await until(() => endpoint.outcomes().length === 1)
    const about = endpoint.audited.filter(
      ({ event }) => event === 'decision' || event === 'outcome',
    )
    expect(about).toEqual([
      expect.objectContaining({ event: 'decision', name: 'echo', era: 'legacy', allowed: true }),
      expect.objectContaining({ event: 'outcome', name: 'echo', outcome: 'ok' }),
    ])
  })

  it('sends progress and log notifications before the result, and stops on cancel', async () => {
    const { endpoint, steps } = await legacy()
    const peer = await begun(endpoint)
    await peer.post(STEPS)
    await peer.stream.event(isMethod('notifications/progress'))
    await peer.post(message('notifications/cancelled', { requestId: 'steps' }, null))
    await until(() => steps.stopped.length === 1)
    steps.finish()
    await peer.post(STEPS)
    await peer.stream.event(isAnswerTo('steps'))
    const methods = peer.stream.events.map(({ json }) => json?.method ?? json?.id)
    expect(methods.slice(2)).toEqual([
      ...['notifications/progress', 'notifications/message'],
      ...Array(3).fill(['notifications/progress', 'notifications/message']).flat(),
      'steps',
    ])
    expect(endpoint.outcomes().map(({ outcome }) => outcome)).toEqual(['cancelled', 'ok'])
  })

  it('asks the client on the stream', async () => {
    const { endpoint } = await legacy()
    const peer = await begun(endpoint, { elicitation: {} })
    await peer.post(message('tools/call', { name: 'ask' }, 'asking'))
    const { id } = (await peer.stream.event(isMethod('elicitation/create'))).json
    const reply = { jsonrpc: '2.0', id, result: { action: 'accept', content: { confirm: true } } }
    expect((await peer.post(reply)).status).toBe(202)
    expect((await peer.post(reply)).status).toBe(400)
    const { result } = (await peer.stream.event(isAnswerTo('asking'))).json
    expect(result.structuredContent).toEqual({ said: 'yes' })
  })

  it('serves Streamable HTTP beside it', async () => {
    const { endpoint } = await legacy()
    await begun(endpoint)
    expect((await stream(endpoint, initialize())).headers.get('mcp-session-id')).not.toBeNull()
  })

  it('does not speak 2024-11-05 on /mcp', async () => {
    const { endpoint } = await legacy()
    const opened = await stream(endpoint, initialize({}, '2024-11-05'))
    expect((await opened.event(isAnswerTo(0))).json.result.protocolVersion).toBe('2025-11-25')
  })

  it('is not there unless it is switched on', async () => {
    const { endpoint } = await legacy({
      policies: (shipped) => ({
        ...shipped,
        http: { ...shipped.http, protocol: { legacy: 'sessions', httpSse: false } },
      }),
    })
    for (const path of ['/sse', '/messages?sessionId=A']) {
      expect((await stream(at(endpoint, path), ECHO)).status).toBe(404)
    }
  })
})

describe('threat: session hijacking over HTTP+SSE, the id is in a URL that proxies log', () => {
  it.each([
    ['another principal', (path: string) => path, 'bob'],
    ['a guessed id', () => `/messages?sessionId=${'A'.repeat(43)}`, 'ann'],
  ])('refuses %s: 404, and nothing comes on the stream', async (_name, target, subject) => {
    const { endpoint } = await legacy()
    const peer = await begun(endpoint)
    const before = peer.stream.events.length
    for (const sent of [ECHO, initialize(), { jsonrpc: '2.0', id: 0, result: {} }]) {
      const answer = await stream(at(endpoint, target(peer.path)), sent, {
        headers: NO_VERSION,
        subject,
      })
      expect(answer.status).toBe(404)
    }
    expect(peer.stream.events.length).toBe(before)
    expect((await peer.post(ECHO)).status).toBe(202)
  })

  it('refuses an id of the other transport, both ways', async () => {
    const { endpoint } = await legacy()
    const peer = await begun(endpoint)
    const id = peer.path.split('=')[1] ?? ''
    const other = (await stream(endpoint, initialize())).headers.get('mcp-session-id') ?? ''
    expect((await stream(endpoint, ECHO, { headers: { 'mcp-session-id': id } })).status).toBe(404)
    const swapped = at(endpoint, `/messages?sessionId=${other}`)
    expect((await stream(swapped, ECHO, { headers: NO_VERSION })).status).toBe(404)
  })

  it.each([
    ['no query', '/messages'],
    ['an empty query', '/messages?'],
    ['no id', '/messages?sessionId='],
    ['another member', '/messages?session_id=A'],
    ['two ids', '/messages?sessionId=A&sessionId=B'],
    ['one more member', '/messages?sessionId=A&x=1'],
    ['an encoded id', '/messages?sessionId=%41'],
    ['an id that is too long', `/messages?sessionId=${'A'.repeat(65)}`],
    ['a query on /sse', '/sse?sessionId=A'],
    ['a query on /mcp', '/mcp?sessionId=A'],
  ])('refuses %s', async (_name, path) => {
    const { endpoint } = await legacy()
    const method = path.startsWith('/sse') ? 'GET' : 'POST'
    expect((await stream(at(endpoint, path), ECHO, { method })).status).toBe(400)
  })

  it('needs a credential for the stream and for each message', async () => {
    const { endpoint } = await legacy()
    const peer = await begun(endpoint)
    const headers = { ...NO_VERSION, authorization: null }
    expect((await peer.post(ECHO, { headers })).status).toBe(401)
    expect((await stream(at(endpoint, '/sse'), '', { method: 'GET', headers })).status).toBe(401)
  })

  it('begins once', async () => {
    const { endpoint } = await legacy()
    const peer = await begun(endpoint)
    expect((await peer.post(initialize())).status).toBe(400)
  })

  it('takes no request of 2026-07-28', async () => {
    const { endpoint } = await legacy()
    const peer = await begun(endpoint)
    const headers = { 'mcp-protocol-version': '2026-07-28' }
    expect((await peer.post(ECHO, { headers })).status).toBe(400)
  })
})

describe('threat: streams of HTTP+SSE that stay, they take the place of others', () => {
  it('counts them as sessions and as streams', async () => {
    const { endpoint } = await legacy({ sessions: { perPrincipal: 2 }, limits: { openStreams: 3 } })
    const first = await connect(endpoint)
    await connect(endpoint)
    const third = await stream(at(endpoint, '/sse'), '', { method: 'GET', headers: NO_VERSION })
    expect(third.status).toBe(429)
    first.stream.leave()
    await until(() =>
      endpoint.audited.some((e) => e.event === 'request' && e.path === '/sse' && e.status === 200),
    )
    await connect(endpoint)
  })

  it('ends the session with its stream, and what runs in it', async () => {
    const { endpoint, steps } = await legacy()
    const peer = await begun(endpoint)
    await peer.post(STEPS)
    await peer.stream.event(isMethod('notifications/progress'))
    peer.stream.leave()
    await until(() => steps.stopped.length === 1)
    expect((await peer.post(ECHO)).status).toBe(404)
  })

  it('ends with the age of a session', async () => {
    const clock = testClock()
    const { endpoint } = await legacy({ clock })
    const peer = await begun(endpoint)
    clock.advance(28_800_000)
    clock.advance(1000)
    await peer.stream.ended
    expect((await peer.post(ECHO)).status).toBe(404)
  })

  it('keeps the places of calls taken until their results are on the way', async () => {
    const { endpoint, steps } = await legacy({ limits: { concurrentCalls: 1 } })
    const peer = await begun(endpoint)
    await peer.post(STEPS)
    await peer.stream.event(isMethod('notifications/progress'))
    expect((await peer.post(ECHO)).status).toBe(429)
    steps.finish()
    await peer.stream.event(isAnswerTo('steps'))
    await until(() => endpoint.outcomes().some(({ outcome }) => outcome === 'ok'))
    expect((await peer.post(ECHO)).status).toBe(202)
  })

  it('holds up a caller that does not read, rather than keep its results', async () => {
    const { endpoint } = await legacy({ limits: { concurrentCalls: 2 } })
    const unread = await open(at(endpoint, '/sse'), '', {
      era: 'legacy',
      method: 'GET',
      headers: NO_VERSION,
    })
    const reader = unread.body?.getReader()
    const { value = new Uint8Array() } = (await reader?.read()) ?? {}
    const path = /data: (.*)/.exec(new TextDecoder().decode(value))?.[1] ?? ''
    const post = (sent: unknown): Promise<Stream> =>
      stream(at(endpoint, path), sent, { headers: NO_VERSION })
    await post(initialize({}, '2024-11-05'))
    const text = 'x'.repeat(65_000)
    const statuses = new Set<number>()
    for (let id = 1; id <= 500 && !statuses.has(429); id++) {
      const echo = message('tools/call', { name: 'echo', arguments: { text } }, id)
      statuses.add((await post(echo)).status)
    }
    expect([...statuses].sort()).toEqual([202, 429])
    await reader?.cancel()
  })

  it('is answered and ended by a shutdown', async () => {
    const { endpoint } = await legacy()
    const peer = await begun(endpoint)
    await peer.post(STEPS)
    await peer.stream.event(isMethod('notifications/progress'))
    const drained = endpoint.drain(1)
    const { result } = (await peer.stream.event(isAnswerTo('steps'))).json
    expect(result.content[0].text).toMatch(/^The server is shutting down/)
    await Promise.all([peer.stream.ended, drained])
  })
})
