import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Hono } from 'hono'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { AuditEvent } from '../src/audit/trail.ts'
import { clientAddress } from '../src/client-address.ts'
import type { AppEnv } from '../src/context.ts'
import { publicListener } from '../src/listen.ts'
import { loadPolicies } from '../src/policy.ts'
import { recordingTrail } from './audit/inspected-trail.ts'
import { largeResults, misbehavingAccess } from './misbehaving-tools.ts'
import { connect, exchange, type RawConnection } from './raw-http.ts'
import { type AuditRecord, callOf, type Server, startServer, stopServers } from './server.ts'
import { BODY, CHUNKED, CLOSE, callWith, chunk, filled, get, head, LENGTH, post } from './wire.ts'

afterAll(stopServers)

const isRequest = (record: AuditRecord): boolean => record.metadata.event_code === 'request'

/** How long something takes, ms. */
async function timed(something: Promise<unknown>): Promise<number> {
  const startedAt = performance.now()
  await something
  return performance.now() - startedAt
}

describe.concurrent('threat: slow clients, connections are held until none is left', () => {
  /** Limits of a second or two, so that the tests are short. Node looks once a second. */
  let server: Server
  beforeAll(async () => {
    server = await startServer({
      policies: [
        ['limits.yaml', 'headersMs: 8000', 'headersMs: 1000'],
        ['limits.yaml', 'requestMs: 15000', 'requestMs: 2000'],
        ['limits.yaml', 'keepAliveMs: 5000', 'keepAliveMs: 1000'],
      ],
    })
  })

  it.each([
    ['no byte at all', '', '', 3000],
    ['headers that do not end', 'POST /mcp HTTP/1.1\r\nHost: AUTHORITY\r\nX-A: a', '', 3000],
    ['a body that does not begin', post(LENGTH), '/mcp', 4000],
    ['a body that does not end', post(LENGTH) + BODY.slice(1), '/mcp', 4000],
    ['chunks that do not end', post(CHUNKED) + chunk(BODY), '/mcp', 4000],
  ])('answers %s with 408 and closes', async (_name, wire, path, withinMs) => {
    using connection = connect(server)
    connection.write(filled(wire, server))
    const answered = connection.answer()
    expect(await timed(connection.closed())).toBeLessThan(withinMs)
    const { status, headers } = await answered
    expect(status).toBe(408)
    const id = headers.get('x-request-id')
    expect(await server.recorded(({ metadata }) => metadata.correlation_uid === id)).toMatchObject({
      status_code: '408',
      status_detail: 'listen.timeout',
      http_request: { url: { path } },
    })
  })

  it.each([
    ['headers', 30],
    ['a body', -30],
  ])('serves a client that is slow with %s, but in time', async (_name, at) => {
    using connection = connect(server)
    const wire = filled(callWith(BODY, CLOSE), server)
    connection.write(wire.slice(0, at))
    await sleep(200)
    connection.write(wire.slice(at))
    expect(await connection.answer()).toMatchObject({ status: 200 })
  })

  it('serves the next request of a connection that was idle for a short time', async () => {
    using connection = connect(server)
    connection.write(filled(get(), server))
    await connection.answer()
    await sleep(200)
    connection.write(filled(callWith(BODY), server))
    expect(await connection.answer()).toMatchObject({ status: 200 })
  })

  it('is not kept open by headers that trickle in', async () => {
    using connection = connect(server)
    connection.write('GET /mcp HTTP/1.1\r\n')
    const trickle = setInterval(() => connection.write('X-A: a\r\n'), 100)
    expect(await timed(connection.closed())).toBeLessThan(3000)
    clearInterval(trickle)
  })

  it('closes a connection that stays idle after its answer', async () => {
    using connection = connect(server)
    connection.write(filled(get(), server))
    expect(await connection.answer()).toMatchObject({ status: 404 })
    expect(await timed(connection.closed())).toBeLessThan(3000)
  })
})

describe('threat: readers that take nothing, answers pile up in memory', () => {
  let server: Server
  beforeAll(async () => {
    server = await startServer({
      entry: 'test/misbehaving-server.ts',
      policies: [
        misbehavingAccess,
        largeResults,
        ['limits.yaml', 'slowReaderMs: 30000', 'slowReaderMs: 1000'],
      ],
    })
  })
  const LARGE = callOf('large', { bytes: 4_000_000 })

  it('cuts a reader that stalls, and records its request', async () => {
    using connection = connect(server)
    connection.socket.pause()
    connection.write(filled(callWith(LARGE), server))
    const { duration } = await server.recorded(isRequest)
    expect(duration).toBeGreaterThan(900)
    connection.socket.resume()
    const received = await connection.closed()
    expect(received).toMatch(/^HTTP\/1\.1 200 OK/)
    expect(received.length).toBeLessThan(8_000_000)
  })

  it('lets a reader that takes it have all of the answer', async () => {
    const [answer] = await exchange(server, filled(callWith(LARGE, CLOSE), server))
    expect(answer?.body.length).toBeGreaterThan(8_000_000)
  })

  it('keeps a connection on which nothing is said while a call runs', async () => {
    const response = await server.call('deaf', { seconds: 3 })
    expect(await response.text()).toContain('done')
  })
})

describe('threat: many connections, one address takes the places of all others', () => {
  const limits = [
    ['limits.yaml', 'connections: 200', 'connections: 3'],
    ['limits.yaml', 'connections: 6000', 'connections: 12'],
    ['limits.yaml', 'streams: 5000', 'streams: 5'],
  ] as const

  async function openAndAsk(server: Server, count: number): Promise<RawConnection[]> {
    const connections: RawConnection[] = []
    for (let index = 0; index < count; index++) {
      const connection = connect(server)
      connections.push(connection)
      connection.write(filled(get(), server))
      expect(await connection.answer()).toMatchObject({ status: 404 })
    }
    return connections
  }

  /** Tries until there is room: the server hears of an end after its client. */
  async function openWhenFree(server: Server, count: number): Promise<RawConnection[]> {
    const connections: RawConnection[] = []
    while (connections.length < count) {
      const [opened] = await openAndAsk(server, 1).catch(() => [])
      if (opened === undefined) await sleep(10)
      else connections.push(opened)
    }
    return connections
  }

  it('takes no more connections of an address than policy says, until one is free', async () => {
    const server = await startServer({ policies: limits })
    const [first, ...others] = await openAndAsk(server, 3)
    expect(await exchange(server, filled(get(CLOSE), server))).toEqual([])

    first?.socket.end()
    await first?.closed()
    for (const again of await openWhenFree(server, 1)) again.socket.destroy()
    for (const other of others) other.socket.destroy()
  })

  it.each<[string, (connection: RawConnection, server: Server) => unknown]>([
    ['ended by its client', ({ socket }) => socket.end()],
    ['reset by its client', ({ socket }) => socket.resetAndDestroy()],
    ['answered for the last time', (one, server) => one.write(filled(get(CLOSE), server))],
    ['refused', (one) => one.write('garbage\r\n\r\n')],
    ['cut for its headers, which do not come', (one) => one.write('GET / HTTP/1.1\r\nA: ')],
    ['cut because it is idle', () => undefined],
  ])('address.connections has room again for each that was %s', async (_name, end) => {
    const short = [
      ['limits.yaml', 'headersMs: 8000', 'headersMs: 1000'],
      ['limits.yaml', 'requestMs: 15000', 'requestMs: 1000'],
      ['limits.yaml', 'keepAliveMs: 5000', 'keepAliveMs: 1000'],
    ] as const
    const server = await startServer({ policies: [...limits, ...short] })
    for (let round = 0; round < 2; round++) {
      const all = await openWhenFree(server, 3)
      for (const one of all) end(one, server)
      await Promise.all(all.map((one) => one.closed()))
    }
    const again = await openWhenFree(server, 3)
    expect(await exchange(server, filled(get(CLOSE), server))).toEqual([])
    for (const { socket } of again) socket.destroy()
  })

  it('counts connections of trusted proxies only in total', async () => {
    const env = { MCP_TRUSTED_PROXIES: '127.0.0.0/8' }
    const server = await startServer({ policies: limits, env })
    const connections = await openAndAsk(server, 12)
    expect(await exchange(server, filled(get(CLOSE), server))).toEqual([])
    for (const connection of connections) connection.socket.destroy()
  })
})

describe('contract: a refusal that closes the connection reaches a client that is still sending', () => {
  it.each([
    ['declared', 'x'.repeat(4 << 20)],
    ['chunked', new Blob(['x'.repeat(4 << 20)]).stream()],
  ])('answers 413 to a body of 4 MiB, %s', async (_name, body) => {
    const { url, key } = await startServer()
    const response = await fetch(url, {
      method: 'POST',
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      body,
      duplex: 'half',
    })
    expect(response.status).toBe(413)
    expect(response.headers.get('connection')).toBe('close')
    expect(await response.json()).toEqual({
      jsonrpc: '2.0',
      error: { code: -32600, message: 'Content too large' },
    })
  })
})

const path = (name: string): string => join(import.meta.dirname, 'tls', name)
const ca = readFileSync(path('ca.crt'))
const call = post(LENGTH, CLOSE) + BODY

function tlsServer(env: Readonly<Record<string, string>> = {}): Promise<Server> {
  return startServer({
    env: { MCP_TLS_CERT_FILE: path('server.crt'), MCP_TLS_KEY_FILE: path('server.key'), ...env },
  })
}

describe('threat: eavesdropping, and clients without a certificate', () => {
  function pairOf(name: string): { cert: Buffer; key: Buffer } {
    return { cert: readFileSync(path(`${name}.crt`)), key: readFileSync(path(`${name}.key`)) }
  }

  it('serves TLS in process, with HSTS and nothing older than TLS 1.2', async () => {
    const server = await tlsServer()
    expect(server.url).toMatch(/^https:/)
    const [answer] = await exchange({ port: server.port, tls: { ca } }, filled(call, server))
    expect(answer).toMatchObject({ status: 200 })
    expect(answer?.headers.get('strict-transport-security')).toBe('max-age=31536000')

    const old = {
      ca,
      minVersion: 'TLSv1.1',
      maxVersion: 'TLSv1.1',
      ciphers: 'ALL@SECLEVEL=0',
    } as const
    expect(await exchange({ port: server.port, tls: old }, filled(call, server))).toEqual([])
    expect(await exchange({ port: server.port }, filled(call, server))).toEqual([])
    const { status_detail } = await server.recorded((record) => record.status_code === '400')
    expect(status_detail).toBe('listen.malformed')
    const again = await exchange({ port: server.port, tls: { ca } }, filled(call, server))
    expect(again).toMatchObject([{ status: 200 }])
  })

  it('records a flood of garbage once', async () => {
    const server = await tlsServer()
    using connection = connect({ port: server.port, tls: { ca } })
    connection.write('garbage '.repeat(50_000))
    await connection.closed()
    await exchange({ port: server.port, tls: { ca } }, filled(call, server))
    await server.recorded((record) => record.status_code === '200' && isRequest(record))
    const requests = server.audited().filter(isRequest)
    expect(requests.map(({ status_code }) => status_code)).toEqual(['400', '200'])
  })

  it('refuses clients without a certificate of its authority', async () => {
    const server = await tlsServer({ MCP_TLS_CLIENT_CA_FILE: path('ca.crt') })
    const target = (tls: object): Parameters<typeof exchange>[0] => ({
      port: server.port,
      tls: { ca, ...tls },
    })
    expect(await exchange(target({}), filled(call, server))).toEqual([])
    const stranger = target(pairOf('stranger'))
    expect(await exchange(stranger, filled(call, server))).toEqual([])
    const client = target(pairOf('client'))
    expect(await exchange(client, filled(call, server))).toMatchObject([{ status: 200 }])
  })
})

describe('threat: HTTP/2 in process, floods of streams and frames that no limit here counts', () => {
  const PREFACE = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'

  it('agrees on HTTP/1.1 with a client that offers both, and serves it', async () => {
    const server = await tlsServer()
    using connection = connect({
      port: server.port,
      tls: { ca, ALPNProtocols: ['h2', 'http/1.1'] },
    })
    connection.write(filled(call, server))
    expect(await connection.answer()).toMatchObject({ status: 200 })
    expect(connection.socket).toMatchObject({ alpnProtocol: 'http/1.1' })
  })

  it('has no connection for a client that offers HTTP/2 alone', async () => {
    const server = await tlsServer()
    const tls = { ca, ALPNProtocols: ['h2'] }
    expect(await exchange({ port: server.port, tls }, filled(call, server))).toEqual([])
  })

  it.each([
    ['to a client that agreed on HTTP/1.1', ['http/1.1']],
    ['to a client that agreed on nothing', []],
  ])('refuses the preface of HTTP/2 %s', async (_name, ALPNProtocols) => {
    const server = await tlsServer()
    const answers = await exchange({ port: server.port, tls: { ca, ALPNProtocols } }, PREFACE)
    expect(answers).toMatchObject([{ status: 400 }])
    const { status_detail } = await server.recorded((record) => record.status_code === '400')
    expect(status_detail).toBe('listen.malformed')
  })
})

describe('contract: the listener is there before the app and while it drains', () => {
  const closing: (() => void)[] = []
  afterEach(() => {
    for (const close of closing.splice(0)) close()
  })

  async function listening() {
    const audited: AuditEvent[] = []
    const trail = recordingTrail(audited)
    const listener = publicListener({
      trail,
      limits: loadPolicies('policies', 'development').limits,
      clientAddress: clientAddress([]),
      trustedProxies: [],
      tls: undefined,
    })
    listener.server.listen(0, '127.0.0.1')
    await once(listener.server, 'listening')
    closing.push(
      () => listener.server.closeAllConnections(),
      () => listener.server.close(),
    )
    const address = listener.server.address()
    const port = address !== null && typeof address === 'object' ? address.port : 0
    return { listener, audited, port }
  }

  const REQUEST = head('GET /x HTTP/1.1', 'Host: a')
  const UNAVAILABLE = { status: 503, headers: expect.any(Map) }

  it('answers 503 until it has an app, then serves', async () => {
    const { listener, audited, port } = await listening()
    const [answer] = await exchange({ port }, REQUEST)
    expect(answer).toMatchObject(UNAVAILABLE)
    expect(answer?.headers.get('retry-after')).toBe('1')
    expect(audited).toMatchObject([{ event: 'request', status: 503, reason: 'listen.starting' }])

    listener.serve(new Hono<AppEnv>().get('/x', (c) => c.text('served')))
    using connection = connect({ port })
    connection.write(REQUEST)
    expect(await connection.answer()).toMatchObject({ status: 200, body: 'served' })
  })

  it('while it drains, finishes what runs, refuses what comes, and closes what is idle', async () => {
    const { listener, audited, port } = await listening()
    const started = Promise.withResolvers<void>()
    let requests = 0
    const release = Promise.withResolvers<void>()
    const app = new Hono<AppEnv>().get('/x', async (c) => {
      requests += 1
      if (requests === 2) started.resolve()
      await release.promise
      return c.text('finished')
    })
    listener.serve(app)
    using idle = connect({ port })
    using busy = connect({ port })
    idle.write(head('GET /y HTTP/1.1', 'Host: a'))
    expect(await idle.answer()).toMatchObject({ status: 404 })
    using last = connect({ port })
    last.write(REQUEST)
    busy.write(REQUEST)
    await started.promise

    const { answered, closed } = listener.drain()
    busy.write(REQUEST)
    await idle.closed()
    expect(await exchange({ port }, REQUEST)).toEqual([])
    await expect.poll(() => audited.length).toBe(1)
    release.resolve()
    expect(await last.answer()).toMatchObject({ status: 200, body: 'finished' })
    expect(await busy.answer()).toMatchObject({ status: 200, body: 'finished' })
    expect(await busy.answer()).toMatchObject(UNAVAILABLE)
    await answered
    expect(await timed(closed)).toBeLessThan(1000)
    await last.closed()
    expect(audited).toMatchObject([{ event: 'request', status: 503, reason: 'listen.draining' }])
  })
})
