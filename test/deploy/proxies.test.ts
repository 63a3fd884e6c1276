import { connect as connectHttp2 } from 'node:http2'
import { connect as connectTcp } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { loadPolicies } from '../../src/policy.ts'
import { production } from '../production.ts'
import { connect, type RawConnection } from '../raw-http.ts'
import { type AuditRecord, callOf, type Server, stopServers } from '../server.ts'
import { textOf } from '../source-tree.ts'
import { CALL, callOfSite, REQUESTS } from './attacks.ts'
import { ENDPOINT, fetchThrough } from './fetch.ts'
import { describeWith, versionOf } from './programs.ts'
import { startProxied } from './proxied.ts'
import { PROXIES, type RunningProxy, SITE, startProxy } from './proxies.ts'

const { limits } = loadPolicies('policies', 'production')
/** Where nobody listens: ports below 1024 are given to nobody by themselves. */
const CLOSED_PORT = 1

const site = production()
let server: Server
beforeAll(async () => {
  server = await startProxied(site)
})
afterAll(stopServers)

/** One answer as it came: of Gatehouse when it has a request id. */
interface Answer {
  readonly status: number
  readonly requestId: string | undefined
  readonly text: string
}

/** Callers so far. Refusals of one address are sampled, so that each request has one of its own. */
let callers = 0

/** A connection to a proxy from a loopback address that no other had, or from the given one. */
function callFrom({ port, tls }: RunningProxy, localAddress?: string): RawConnection {
  callers += 1
  const address = localAddress ?? `127.1.${callers >> 8}.${callers & 255}`
  const socket = connectTcp({ host: '127.0.0.1', port, localAddress: address })
  return connect({ port, tls: { ...tls, socket } })
}

/** What came back for these bytes until the connection was closed. */
async function answersTo(wire: string, from: RawConnection): Promise<readonly Answer[]> {
  using connection = from
  connection.write(wire.replaceAll('KEY', site.key))
  const received = await connection.closed()
  return received.split(/(?=^HTTP\/1\.[01] \d{3} )/m).map((text) => ({
    status: Number(/^HTTP\/1\.[01] (\d{3})/.exec(text)?.[1]),
    requestId: /^x-request-id: (\S+)/im.exec(text)?.[1],
    text,
  }))
}

const isOf = (id: string | undefined) => (record: AuditRecord) =>
  record.metadata.event_code === 'request' && record.metadata.correlation_uid === id

/** Records of a kind so far. */
const countOf = (event: string): number =>
  server.audited().filter(({ metadata }) => metadata.event_code === event).length

function clientThrough(
  proxy: RunningProxy,
  mode: 'auto' | 'legacy',
): { client: Client; connected: Promise<void> } {
  const client = new Client({ name: 'test', version: '1.0.0' }, { versionNegotiation: { mode } })
  const transport = new StreamableHTTPClientTransport(ENDPOINT, {
    fetch: fetchThrough(proxy),
    requestInit: { headers: { authorization: `Bearer ${site.key}` } },
  })
  return { client, connected: client.connect(transport) }
}

describe('threat: who gets around the proxy, the same attacks without one', () => {
  let open: Server
  beforeAll(async () => {
    open = await startProxied(site)
  })
  afterAll(() => open.stop())

  it.each(REQUESTS)('%s', async (_name, [status], wire) => {
    const answers = await answersTo(wire, connect(open))
    expect(answers).toEqual([expect.objectContaining({ status })])
    expect(answers[0]?.requestId).toBeDefined()
  })
})

describe.each(PROXIES.map((kind, index) => [kind, index + 1] as const))('%s', (kind, column) => {
  describeWith([kind], 'as it ships, with a certificate of the test', () => {
    let proxy: RunningProxy
    beforeAll(async () => {
      proxy = await startProxy(kind, [server.port])
    })
    afterAll(() => proxy[Symbol.asyncDispose]())

    describe('threat: an attack that the proxy turns into another one, or hides', () => {
      it.each(REQUESTS)('%s', async (_name, expected, wire) => {
        const before = countOf('outcome')
        const answers = await answersTo(wire, callFrom(proxy))
        expect(answers).toHaveLength(1)
        const [answer] = answers
        if (expected[column] === 'itself') {
          expect(answer?.requestId).toBeUndefined()
          expect(answer?.text).not.toContain('jsonrpc')
          return
        }
        expect(answer?.status).toBe(expected[column])
        const { http_response } = await server.recorded(isOf(answer?.requestId))
        expect(http_response.code).toBe(expected[column])
        expect(countOf('outcome') - before).toBe(expected[column] === 200 ? 1 : 0)
      })

      it('serves the next call', async () => {
        const [, , wire] = REQUESTS[0] ?? ['', [], '']
        expect(await answersTo(wire, callFrom(proxy))).toEqual([
          expect.objectContaining({ status: 200 }),
        ])
      })
    })

    describe('threat: a caller chooses the address it is counted and recorded under', () => {
      it.each([
        ['says nothing', []],
        ['names an address', ['X-Forwarded-For: 198.18.0.1']],
        ['names the proxy', ['X-Forwarded-For: 127.0.0.1']],
        ['names many', ['X-Forwarded-For: 198.18.0.1, 127.0.0.1, 127.0.0.1']],
        ['names them twice', ['X-Forwarded-For: 198.18.0.1', 'X-Forwarded-For: 198.18.0.2']],
        ['writes it with underscores', ['X_Forwarded_For: 198.18.0.1']],
        ['uses the other headers', ['X-Real-IP: 198.18.0.1', 'Forwarded: for=198.18.0.1']],
        ['declares it hop-by-hop', ['X-Forwarded-For: 198.18.0.1', 'Connection: X-Forwarded-For']],
      ])('%s', async (_name, headers) => {
        using connection = callFrom(proxy, '127.0.0.2')
        const head = ['POST /mcp HTTP/1.1', `Host: ${SITE}`, 'Content-Length: 0', ...headers]
        connection.write(`${head.join('\r\n')}\r\n\r\n`)
        const answer = await connection.answer()
        expect(answer.status).toBe(401)
        const { src_endpoint } = await server.recorded(isOf(answer.headers.get('x-request-id')))
        expect(src_endpoint.ip).toBe('127.0.0.2')
      })
    })

    describe('threat: a version of TLS that is broken, who sits between reads along', () => {
      const handshake = (version: 'TLSv1.1' | 'TLSv1.2' | 'TLSv1.3'): Promise<string> => {
        const { port, tls } = proxy
        const { promise, resolve, reject } = Promise.withResolvers<string>()
        const socket = connectTls({
          ...{ ...tls, host: '127.0.0.1', port, minVersion: version, maxVersion: version },
          // OpenSSL itself offers the old ones only when it is told that nothing is to be kept safe.
          ciphers: 'DEFAULT@SECLEVEL=0',
        })
        socket
          .once('secureConnect', () => resolve(socket.getProtocol() ?? ''))
          .once('error', reject)
        return promise.finally(() => socket.destroy())
      }

      it('refuses TLS 1.1', async () => {
        await expect(handshake('TLSv1.1')).rejects.toMatchObject({
          code: 'ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION',
        })
      })

      it.each(['TLSv1.2', 'TLSv1.3'] as const)('takes %s', async (version) => {
        expect(await handshake(version)).toBe(version)
      })
    })

    describe('contract: callers see the public name and scheme, whatever they claim', () => {
      it.each([
        ['nothing', {}],
        ['another host', { 'x-forwarded-host': 'evil.example', forwarded: 'host=evil.example' }],
        ['another scheme', { 'x-forwarded-proto': 'http', 'x-forwarded-port': '80' }],
      ])('claiming %s', async (_name, headers) => {
        const send = fetchThrough(proxy)
        const { headers: answered, status } = await send(ENDPOINT, { method: 'POST', headers })
        expect(status).toBe(401)
        const metadata = `https://${SITE}/.well-known/oauth-protected-resource/mcp`
        expect(answered.get('www-authenticate')).toContain(`resource_metadata="${metadata}"`)
        expect(answered.get('strict-transport-security')).toBe('max-age=31536000')
        expect(answered.get('via')).toBeNull()
        expect(answered.get('server') ?? 'nginx').toBe('nginx')
        const document = await send(metadata, { headers })
        expect(await document.json()).toMatchObject({ resource: `https://${SITE}/mcp` })
      })
    })

    describe('contract: a stream passes as it is written', () => {
      it.each(['auto', 'legacy'] as const)(
        'shows progress while the call runs: %s',
        async (mode) => {
          const { client, connected } = clientThrough(proxy, mode)
          await connected
          const gate = `${kind}-${mode}`
          const { promise: first, resolve: progressed } = Promise.withResolvers<number>()
          const call = client.callTool(
            { name: 'pass_gate', arguments: { gate } },
            { onprogress: ({ progress }) => progressed(progress), timeout: 60_000 },
          )
          expect(await first).toBe(1)
          await client.callTool({ name: 'open_gate', arguments: { gate } })
          expect(await call).toMatchObject({ structuredContent: { gate } })
          await client.close()
        },
      )

      it('shows it over HTTP/2', async () => {
        const session = connectHttp2(`https://127.0.0.1:${proxy.port}`, proxy.tls)
        const send = (tool: string): AsyncIterable<string> => {
          const stream = session.request({
            ':method': 'POST',
            ':path': '/mcp',
            ':authority': SITE,
            authorization: `Bearer ${site.key}`,
            'content-type': 'application/json',
            accept: 'application/json, text/event-stream',
          })
          const params = {
            name: tool,
            arguments: { gate: `${kind}-h2` },
            _meta: { progressToken: 1 },
          }
          stream.end(JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params }))
          return stream.setEncoding('utf8')
        }
        let text = ''
        let isOpen = false
        for await (const part of send('pass_gate')) {
          text += part
          if (isOpen || !text.includes('notifications/progress')) continue
          isOpen = true
          void drained(send('open_gate'))
        }
        expect(text.match(/"structuredContent"/g)).toHaveLength(1)
        session.close()
      })

      it('ends the call when its caller leaves', async () => {
        const leaving = new AbortController()
        const response = await fetchThrough(proxy)(ENDPOINT, {
          method: 'POST',
          headers: {
            authorization: `Bearer ${site.key}`,
            'content-type': 'application/json',
            accept: 'application/json, text/event-stream',
          },
          body: callOf('pass_gate', { gate: `${kind}-left` }),
          signal: leaving.signal,
        })
        expect(response.status).toBe(200)
        leaving.abort()
        const id = response.headers.get('x-request-id')
        const outcome = await server.recorded(
          ({ metadata }) => metadata.event_code === 'outcome' && metadata.correlation_uid === id,
        )
        expect(outcome.status_code).toBe('cancelled')
      })
    })

    describe('contract: a proxy is no stricter than policies/limits.yaml', () => {
      const { body, headers } = limits
      const [padded, long] = [
        ' '.repeat(body.bytes - CALL.length),
        'a'.repeat(headers.bytes - 1000),
      ]
      it.each([
        ['a body at the limit', callOfSite(CALL + padded)],
        ['headers near the limit', callOfSite(CALL, `X-A: ${long}`)],
      ])('lets %s through', async (_name, wire) => {
        const answers = await answersTo(wire, callFrom(proxy))
        expect(answers).toEqual([expect.objectContaining({ status: 200 })])
      })
    })

    // Caddy before 2.8 closes the body when it tries again (its issue 6259).
    it.skipIf(kind === 'caddy' && /^v?2\.[0-7]\./.test(versionOf('caddy')))(
      'contract: a replica that takes no connection costs no call',
      async () => {
        await using halved = await startProxy(kind, [CLOSED_PORT, server.port])
        for (let index = 0; index < 8; index += 1) {
          const answers = await answersTo(callOfSite(CALL), callFrom(halved))
          expect(answers).toEqual([expect.objectContaining({ status: 200 })])
        }
      },
    )

    it('contract: probes and metrics work beside it', async () => {
      for (const path of ['/livez', '/readyz', '/metrics']) {
        expect((await fetch(server.adminUrl + path)).status).toBe(200)
        expect((await fetchThrough(proxy)(new URL(path, ENDPOINT))).status).toBe(404)
      }
    })
  })
})

async function drained(parts: AsyncIterable<string>): Promise<void> {
  for await (const _part of parts);
}

describe('contract: a proxy gives up a connection before Gatehouse does, and no stream that lives', () => {
  const seconds = (path: string, pattern: RegExp): number => Number(pattern.exec(textOf(path))?.[1])

  it.each([
    ['nginx', seconds('deploy/nginx.conf', /^ {4}keepalive_timeout (\d+)s;/m)],
    ['Caddy', seconds('deploy/Caddyfile', /^\s+keepalive (\d+)s$/m)],
  ])('%s', (_name, idle) => {
    expect(idle).toBeGreaterThan(0)
    expect(idle * 1000).toBeLessThan(limits.timeouts.keepAliveMs)
  })

  it('nginx counts connections of an address as Gatehouse does, and waits for keep-alive comments', () => {
    expect(seconds('deploy/nginx.conf', /limit_conn address (\d+);/)).toBe(
      limits.address.connections,
    )
    expect(seconds('deploy/nginx.conf', /proxy_read_timeout (\d+)s;/)).toBeGreaterThan(2 * 15)
  })
})
