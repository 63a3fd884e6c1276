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
        limits('result: { bytes: 4194304 }', 'result: { bytes: 1024 }'),
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

describe('threat: calls and streams at the same time, a slot is never given back', () => {
  const entry = (options: ServerOptions): ServerOptions => ({
    entry: 'test/misbehaving-server.ts',
    ...options,
  })

  /** Opens a call that takes two seconds. */
  function begin(server: Server, name = 'deaf'): RawConnection {
    const connection = connect(server)
    connection.write(filled(callWith(callOf(name, { seconds: 2 })), server))
    return connection
  }
  const running = (server: Server): number =>
    server.audited().filter(({ metadata }) => metadata.event_code === 'decision').length

  it.each<[string, PolicyEdit, string]>([
    ['principal.concurrentCalls', limits('concurrentCalls: 32', 'concurrentCalls: 2'), 'principal'],
    [
      'concurrentCallsPerPrincipal',
      ['access.yaml', 'deaf: { scopes: []', 'deaf: { concurrentCallsPerPrincipal: 2, scopes: []'],
      'tool',
    ],
  ])(
    '%s: two, no third, and again when one has ended or its client has left',
    async (_name, edit, policy) => {
      const server = await startServer(entry({ policies: [misbehavingAccess, edit] }))
      using first = begin(server)
      using second = begin(server)
      await expect.poll(() => running(server)).toBe(2)
      const refused = await server.call('deaf', { seconds: 0 })
      expect(refused.status).toBe(429)
      expect(refused.headers.get('retry-after')).toBe('1')
      expect(refused.headers.get('ratelimit-policy')).toBe(
        `"${policy}";q=2;qu="concurrent-requests"`,
      )

      first.socket.destroy()
      await expect.poll(() => statuses(1, () => server.call('deaf', { seconds: 0 }))).toEqual([200])
      expect((await second.answer()).status).toBe(200)
      const both = [server.call('deaf', { seconds: 1 }), server.call('deaf', { seconds: 1 })]
      expect((await Promise.all(both)).map(({ status }) => status)).toEqual([200, 200])
    },
  )

  it('frees the slot of a call that ran out of time, though its tool does not stop', async () => {
    const [file, from, to] = misbehavingAccess
    const hasty: PolicyEdit = [
      file,
      from,
      to.replaceAll('timeoutSeconds: 600', 'timeoutSeconds: 1'),
    ]
    const server = await startServer(
      entry({ policies: [hasty, limits('concurrentCalls: 32', 'concurrentCalls: 1')] }),
    )
    const late = await server.call('deaf', { seconds: 30 })
    expect(await late.text()).toContain('did not finish within 1 seconds')
    expect(await statuses(3, () => server.call('echo', { text: 'x' }))).toEqual([200, 200, 200])
  })
})
