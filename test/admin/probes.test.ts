import { once } from 'node:events'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { adminListener, type Readiness } from '../../src/admin/probes.ts'
import { bind } from '../../src/bind.ts'
import { connect, exchange } from '../raw-http.ts'
import { type Server, startServer, stopServers } from '../server.ts'

describe('threat: the probes are a way around the public listener', () => {
  let server: Server
  beforeAll(async () => {
    server = await startServer()
  })
  afterAll(stopServers)

  it.each([
    ['/livez', { status: 'ok' }],
    [
      '/readyz',
      {
        status: 'ok',
        drain: 'ok',
        load: 'ok',
        audit: 'ok',
        authentication: 'ok',
        store: 'memory',
        policies: 'ok',
        keys: 'ok',
        issuers: 'ok',
        toolsDigest: expect.stringMatching(/^[0-9a-f]{64}$/),
      },
    ],
  ])('answers GET %s', async (path, body) => {
    const response = await fetch(server.adminUrl + path)
    expect(response.status).toBe(200)
    expect(await response.json()).toEqual(body)
    expect(response.headers.get('cache-control')).toBe('no-store')
  })

  it.each([
    '/',
    '/mcp',
    '/livez/',
    '/livez?x',
    '//livez',
    '/LIVEZ',
    '/%6civez',
    '/constructor',
    '/.well-known/oauth-protected-resource',
  ])('has nothing at %s', async (path) => {
    const response = await fetch(server.adminUrl + path, {
      headers: { authorization: `Bearer ${server.key}` },
    })
    expect(response.status).toBe(404)
    expect(await response.text()).toBe('')
  })

  it.each(['HEAD', 'POST', 'OPTIONS', 'DELETE'])('refuses %s', async (method) => {
    const response = await fetch(`${server.adminUrl}/livez`, { method })
    expect(response.status).toBe(405)
    expect(response.headers.get('allow')).toBe('GET')
  })

  it('has no CORS headers, for no origin', async () => {
    const headers = { origin: new URL(server.url).origin }
    const response = await fetch(`${server.adminUrl}/readyz`, { headers })
    const names = [...response.headers.keys()]
    expect(names.filter((name) => name.startsWith('access-control'))).toEqual([])
    expect(names).not.toContain('server')
  })

  it.each(['/livez', '/readyz', '/metrics', '/healthz'])('is not public at %s', async (path) => {
    expect((await fetch(new URL(path, server.url))).status).toBe(404)
  })
})

describe('threat: the probes are held up until the platform takes the process for dead', () => {
  let parts: Readiness
  let admin: ReturnType<typeof adminListener>
  let port: number
  beforeEach(async () => {
    parts = { own: { drain: 'ok', audit: 'ok' }, shared: {}, toolsDigest: 'digest' }
    admin = adminListener(() => parts)
    port = await bind(admin, 0, '127.0.0.1', 'ADMIN_')
  })
  afterEach(() => {
    admin.closeAllConnections()
    admin.close()
  })

  const PROBE = 'GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n'

  it('is not ready while one part is not, and says which', async () => {
    parts = { ...parts, own: { drain: 'ok', audit: 'broken' }, shared: { store: 'ok' } }
    const [answer] = await exchange({ port }, PROBE)
    expect(answer?.status).toBe(503)
    expect(JSON.parse(answer?.body ?? '')).toEqual({
      status: 'unavailable',
      ...parts.own,
      ...parts.shared,
      toolsDigest: 'digest',
    })
  })

  it('stays ready while a part that all replicas share is not, and says which', async () => {
    parts = { ...parts, own: { drain: 'ok' }, shared: { store: 'unreachable', issuers: 'ok' } }
    const [answer] = await exchange({ port }, PROBE)
    expect(answer?.status).toBe(200)
    expect(JSON.parse(answer?.body ?? '')).toEqual({
      status: 'ok',
      drain: 'ok',
      store: 'unreachable',
      issuers: 'ok',
      toolsDigest: 'digest',
    })
  })

  it('answers a page that fails with nothing but that, and goes on', async () => {
    const broken = adminListener(
      () => parts,
      new Map([['/page', () => Promise.reject(new Error('canary-of-the-page'))]]),
    )
    const at = { port: await bind(broken, 0, '127.0.0.1', 'ADMIN_') }
    const [answer] = await exchange(at, PROBE.replace('/readyz', '/page'))
    expect(answer).toMatchObject({ status: 500, body: '' })
    expect(await exchange(at, PROBE)).toMatchObject([{ status: 200 }])
    broken.close()
  })

  it('answers one request a connection, and closes it', async () => {
    expect(await exchange({ port }, PROBE + PROBE)).toMatchObject([{ status: 200 }])
  })

  it('takes 50 connections', async () => {
    const connections = Array.from({ length: 50 }, () => connect({ port }))
    await Promise.all(connections.map(({ socket }) => once(socket, 'connect')))
    expect(await exchange({ port }, PROBE)).toEqual([])

    connections[0]?.socket.destroy()
    await expect.poll(() => exchange({ port }, PROBE)).toMatchObject([{ status: 200 }])
    for (const { socket } of connections) socket.destroy()
  })

  it('gives a slow client 5 seconds', async () => {
    const startedAt = performance.now()
    using connection = connect({ port })
    connection.write('GET /livez HTTP/1.1\r\n')
    expect(await connection.closed()).toMatch(/^HTTP\/1\.1 408 /)
    expect(performance.now() - startedAt).toBeLessThan(7000)
  })
})
