import type { Socket } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { misbehavingAccess } from './misbehaving-tools.ts'
import { connect, exchange, type RawAnswer, type RawConnection } from './raw-http.ts'
import {
  callOf,
  type PolicyEdit,
  type Server,
  type ServerOptions,
  startServer,
  stopServers,
} from './server.ts'
import {
  ACCEPT,
  CHUNKED,
  CLOSE,
  CREDENTIAL,
  callWith,
  chunk,
  filled,
  get,
  HOST,
  head,
  POST,
  post,
  REST,
  TYPE,
} from './wire.ts'

/**
 * Every limit of `limits.yaml` and `access.yaml` below, at and above its value, on the running server.
 * Those of connections and of time are in `listen-limits.test.ts`, the age of a stream in
 * `mcp/ending-stream.test.ts`.
 */

afterAll(stopServers)

const limits = (from: string, to: string): PolicyEdit => ['limits.yaml', from, to]

async function one(server: Server, wire: string): Promise<RawAnswer | undefined> {
  const [answer] = await exchange(server, filled(wire, server))
  return answer
}

describe('threat: a message that is too much, it is read, parsed or answered all the same', () => {
  let server: Server
  beforeAll(async () => {
    server = await startServer({
      policies: [
        limits('bytes: 1048576, depth: 64', 'bytes: 2000, depth: 8'),
        limits('result: { bytes: 1048576 }', 'result: { bytes: 1024 }'),
        limits('count: 100, bytes: 16384', 'count: 20, bytes: 4096'),
      ],
    })
  })

  /** A good call of exactly so many bytes. */
  const sized = (bytes: number): string => callOf('whoami', {}).padEnd(bytes)
  /** A good call whose JSON nests so deep: the message, its parameters, `_meta`, then arrays. */
  const nested = (depth: number): string =>
    callOf('whoami', {}, 1, { deep: JSON.parse('['.repeat(depth - 3) + ']'.repeat(depth - 3)) })

  it.each([
    ['below', 1999, 200],
    ['at', 2000, 200],
    ['above', 2001, 413],
  ])('body.bytes, %s, declared and in chunks', async (_name, bytes, status) => {
    expect(await one(server, callWith(sized(bytes), CLOSE))).toMatchObject({ status })
    const pieces = chunk(sized(bytes).slice(0, 1000)) + chunk(sized(bytes).slice(1000))
    const chunked = `${post(CHUNKED, CLOSE)}${pieces}0\r\n\r\n`
    expect(await one(server, chunked)).toMatchObject({ status })
  })

  it.each([
    ['below', 7, 200],
    ['at', 8, 200],
    ['above', 9, 400],
  ])('body.depth, %s', async (_name, depth, status) => {
    expect(await one(server, callWith(nested(depth), CLOSE))).toMatchObject({ status })
  })

  it.each([
    ['below', 1023, false],
    ['at', 1024, false],
    ['above', 1025, true],
  ])('result.bytes, %s', async (_name, bytes, isRefused) => {
    const text = 'x'.repeat(bytes - JSON.stringify({ text: '' }).length)
    const answer = await one(server, callWith(callOf('echo', { text }), CLOSE))
    expect(answer?.status).toBe(200)
    expect(answer?.body.includes('The result is too large.')).toBe(isRefused)
    expect(answer?.body.includes(text)).toBe(!isRefused)
  })

  it.each([
    ['below', 19, 200],
    ['at', 20, 200],
    ['above', 21, 431],
  ])('headers.count, %s', async (_name, count, status) => {
    const lines = [HOST, ...REST, CLOSE, 'Content-Length: 2000']
    const more = Array.from({ length: count - lines.length }, (_, index) => `X-${index}: x`)
    const wire = head(POST, ...lines, ...more) + sized(2000)
    expect(await one(server, wire)).toMatchObject({ status })
  })

  // Node counts the target, names and values, and refuses what reaches the limit.
  it.each([
    ['below', 4094, 200],
    ['just below', 4095, 200],
    ['at', 4096, 431],
  ])('headers.bytes, %s', async (_name, bytes, status) => {
    const lines = [HOST, CREDENTIAL, TYPE, ACCEPT, CLOSE, 'Content-Length: 2000', 'X-Pad: ']
    const counted = filled(`/mcp${lines.map((line) => line.replace(': ', '')).join('')}`, server)
    const wire = head(POST, ...lines) + sized(2000)
    const padded = filled(wire, server).replace(
      'X-Pad: ',
      `X-Pad: ${'x'.repeat(bytes - counted.length)}`,
    )
    expect(await one(server, padded)).toMatchObject({ status })
  })
})

/** The statuses of so many requests, one after the other. */
async function statuses(count: number, ask: () => Promise<Response>): Promise<number[]> {
  const all: number[] = []
  for (let index = 0; index < count; index++) {
    const response = await ask()
    await response.text()
    all.push(response.status)
  }
  return all
}

describe('threat: one request too many a minute, a limit counts wrongly when nobody looks', () => {
  const echo = (server: Server) => (): Promise<Response> => server.call('echo', { text: 'x' })
  const stranger = (server: Server) => (): Promise<Response> => fetch(server.url)
  const guesser = (server: Server) => (): Promise<Response> =>
    fetch(server.url, { method: 'POST', headers: { authorization: 'Bearer x' } })

  it.each<[string, PolicyEdit, (server: Server) => () => Promise<Response>, number, string]>([
    [
      'address.requestsPerMinute',
      limits('requestsPerMinute: 600', 'requestsPerMinute: 3'),
      stranger,
      405,
      'address',
    ],
    [
      'address.authFailuresPerMinute',
      limits('PerMinute: 30', 'PerMinute: 3'),
      guesser,
      401,
      'address-auth',
    ],
    [
      'principal.requestsPerMinute',
      limits('requestsPerMinute: 1200', 'requestsPerMinute: 3'),
      echo,
      200,
      'principal',
    ],
    [
      'callsPerMinutePerPrincipal',
      ['access.yaml', 'echo: { scopes: []', 'echo: { callsPerMinutePerPrincipal: 3, scopes: []'],
      echo,
      200,
      'tool',
    ],
  ])('%s: three, and no fourth', async (_name, edit, ask, status, policy) => {
    const server = await startServer({ policies: [edit] })
    expect(await statuses(3, ask(server))).toEqual([status, status, status])
    const refused = await ask(server)()
    expect(refused.status).toBe(429)
    const { headers } = refused
    expect(headers.get('retry-after')).toMatch(/^(5\d|60)$/)
    expect(headers.get('ratelimit-policy')).toBe(`"${policy}";q=3;w=60`)
    expect(headers.get('ratelimit')).toBe(`"${policy}";r=0;t=${headers.get('retry-after')}`)

    // Whoever has a live key is not locked out by the others behind its address.
    const known = await server.call('whoami', {})
    expect(known.status).toBe(policy === 'principal' ? 429 : 200)
  })
})

describe('threat: one customer has millions of IPv6 addresses, each is another one to the limit', () => {
  it('address.requestsPerMinute counts a /64', async () => {
    const server = await startServer({
      env: { MCP_TRUSTED_PROXIES: '127.0.0.0/8' },
      policies: [limits('requestsPerMinute: 600', 'requestsPerMinute: 3')],
    })
    const statusOf = async (address: string): Promise<number | undefined> =>
      (await one(server, get(`X-Forwarded-For: ${address}`, CLOSE)))?.status
    expect(await statusOf('2001:db8:1:2::1')).toBe(404)
    expect(await statusOf('2001:db8:1:2:ffff:ffff:ffff:ffff')).toBe(404)
    expect(await statusOf('2001:db8:1:2:a::b')).toBe(404)
    expect(await statusOf('2001:db8:1:2::4')).toBe(429)
    expect(await statusOf('2001:db8:1:3::4')).toBe(404)
  })
})

describe('threat: calls at the same time, a slot is never given back', () => {
  const entry = (...policies: readonly PolicyEdit[]): ServerOptions => ({
    entry: 'test/misbehaving-server.ts',
    policies: [misbehavingAccess, ...policies],
  })
  const TWO = limits('concurrentCalls: 32', 'concurrentCalls: 2')
  /** Calls that are on record as begun, or as ended. */
  const ids = (server: Server, code: 'decision' | 'outcome'): readonly string[] =>
    server
      .audited()
      .filter(({ metadata }) => metadata.event_code === code)
      .map(({ metadata }) => metadata.correlation_uid)

  /** Begins a call on a connection of its own, and waits until it runs. */
  async function begin(server: Server, name: string): Promise<RawConnection> {
    await server.settled()
    const before = ids(server, 'decision').length
    const connection = connect(server)
    connection.write(filled(callWith(callOf(name, { seconds: 600 })), server))
    await expect.poll(() => ids(server, 'decision').length).toBe(before + 1)
    return connection
  }
  const short = (server: Server): Promise<Response> => server.call('patient', { seconds: 0 })

  it.each<[string, PolicyEdit, string]>([
    ['principal.concurrentCalls', TWO, 'principal'],
    [
      'concurrentCallsPerPrincipal',
      ['access.yaml', 'patient: { scop', 'patient: { concurrentCallsPerPrincipal: 2, scop'],
      'tool',
    ],
  ])('%s: one, two, and no third', async (_name, edit, policy) => {
    const server = await startServer(entry(edit))
    using _first = await begin(server, 'patient')
    expect(await statuses(2, () => short(server))).toEqual([200, 200])
    using _second = await begin(server, 'patient')
    const { status, headers } = await short(server)
    expect(status).toBe(429)
    expect(headers.get('retry-after')).toBe('1')
    expect(headers.get('ratelimit-policy')).toBe(`"${policy}";q=2;qu="concurrent-requests"`)
    expect(headers.get('ratelimit')).toBe(`"${policy}";r=0;t=1`)
  })

  async function leave(server: Server, name: string, how: (socket: Socket) => void): Promise<void> {
    const connection = await begin(server, name)
    const begun = ids(server, 'decision').at(-1)
    how(connection.socket)
    await expect.poll(() => ids(server, 'outcome')).toContain(begun)
  }

  describe('principal.concurrentCalls is there for others again', () => {
    let server: Server
    beforeAll(async () => {
      server = await startServer(
        entry(
          TWO,
          [
            'access.yaml',
            'deaf: { scopes: [], timeoutSeconds: 600',
            'deaf: { scopes: [], timeoutSeconds: 1',
          ],
          limits('result: { bytes: 1048576 }', 'result: { bytes: 1024 }'),
          limits('headersMs: 8000', 'headersMs: 1000'),
          limits('requestMs: 15000', 'requestMs: 1000'),
        ),
      )
    })

    const call = (name: string, args: object): Promise<string> =>
      server.call(name, args).then((response) => response.text())

    it.each<[string, () => Promise<unknown>]>([
      ['is answered', () => call('echo', { text: 'x' })],
      ['fails', () => call('failing', {})],
      ['has a result that is too large', () => call('large', { bytes: 2000 })],
      ['has arguments that do not parse', () => call('echo', { text: 1 })],
      ['is of no tool', () => call('nothing', {})],
      ['is no message', () => one(server, callWith('{', CLOSE))],
      ['does not come in time', () => one(server, post('Content-Length: 100', CLOSE))],
      ['runs out of time, though its tool goes on', () => call('deaf', { seconds: 600 })],
      ['is left by its client', () => leave(server, 'patient', (socket) => socket.end())],
      ['is reset', () => leave(server, 'patient', (socket) => socket.resetAndDestroy())],
    ])('after a call that %s', async (_name, finish) => {
      for (let round = 0; round < 2; round++) await finish()
      await expect.poll(() => statuses(1, () => short(server))).toEqual([200])
      using first = await begin(server, 'patient')
      using second = await begin(server, 'patient')
      const begun = ids(server, 'decision').slice(-2)
      expect((await short(server)).status).toBe(429)
      for (const { socket } of [first, second]) socket.destroy()
      await expect.poll(() => ids(server, 'outcome')).toEqual(expect.arrayContaining([...begun]))
      await expect.poll(() => statuses(1, () => short(server))).toEqual([200])
    })
  })

  it('holds the slot of a call whose client has left while its tool goes on', async () => {
    const server = await startServer(entry(TWO))
    await leave(server, 'deaf', (socket) => socket.destroy())
    expect(await statuses(2, () => short(server))).toEqual([200, 200])
    await leave(server, 'deaf', (socket) => socket.destroy())
    expect((await short(server)).status).toBe(429)
  })
})
