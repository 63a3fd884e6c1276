import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { connect, exchange } from './raw-http.ts'
import { callOf, type Server, startServer, stopServers } from './server.ts'
import {
  ACCEPT,
  BODY,
  CHUNKED,
  CHUNKS,
  CLOSE,
  CREDENTIAL,
  callWith,
  filled,
  get,
  HOST,
  head,
  LENGTH,
  POST,
  post,
  TYPE,
} from './wire.ts'

let server: Server
beforeAll(async () => {
  server = await startServer()
})
afterAll(stopServers)

/** Bodies as an attacker sends them: whatever is left of one could pass for the next request. */
const WHOLE = [LENGTH, BODY] as const
const IN_CHUNKS = [CHUNKED, CHUNKS] as const
const SMUGGLED = (): readonly [string, string] => {
  const inner = filled(callWith(callOf('whoami', {})), server)
  return [`Content-Length: ${inner.length}`, inner]
}

const BAD = 'Authorization: Bearer nobody'
const refusals: readonly (readonly [string, number, readonly string[]])[] = [
  ['another host', 421, [POST, 'Host: evil.example', CREDENTIAL, TYPE]],
  ['another origin', 403, [POST, HOST, CREDENTIAL, TYPE, 'Origin: https://evil.example']],
  ['another path', 404, ['POST /mcp/ HTTP/1.1', HOST, CREDENTIAL, TYPE]],
  ['another method', 405, ['PUT /mcp HTTP/1.1', HOST, CREDENTIAL, TYPE]],
  ['a method without a body', 405, ['GET /mcp HTTP/1.1', HOST, CREDENTIAL, TYPE]],
  ['a doubled header', 400, [POST, HOST, CREDENTIAL, CREDENTIAL, TYPE]],
  ['an old version', 400, ['POST /mcp HTTP/1.0', HOST, CREDENTIAL, TYPE, 'Connection: keep-alive']],
  ['no credential', 401, [POST, HOST, TYPE]],
  ['a bad credential', 401, [POST, HOST, BAD, TYPE]],
  ['another media type', 415, [POST, HOST, CREDENTIAL, 'Content-Type: text/plain']],
  ['a content coding', 415, [POST, HOST, CREDENTIAL, TYPE, 'Content-Encoding: gzip']],
]

const echoed = async (): Promise<number> =>
  (await server.settled()).filter(({ metadata }) => metadata.event_code === 'decision').length

describe('threat: an unread body, what is left of it is taken for the next request', () => {
  const bodies = [
    ['a length', () => WHOLE],
    ['chunks', () => IN_CHUNKS],
    ['a request for a body', SMUGGLED],
  ] as const

  describe.each(bodies)('%s', (_body, bodyOf) => {
    it.each(refusals)(
      'closes after refusing %s, and serves nothing more',
      async (_name, status, lines) => {
        const [framing, body] = bodyOf()
        if (status === 400 && lines[0]?.endsWith('1.0') && framing === CHUNKED) return
        const before = await echoed()
        const bytes = head(...lines, framing) + body + callWith(BODY)
        const answers = await exchange(server, filled(bytes, server))
        expect(answers).toMatchObject([{ status }])
        expect(answers[0]?.headers.get('connection')).toBe('close')
        expect(await echoed()).toBe(before)
      },
    )
  })

  it('serves nothing that comes while the rest of a body is awaited', async () => {
    using connection = connect(server)
    const before = await echoed()
    connection.write(filled(head(POST, HOST, TYPE, LENGTH), server))
    expect((await connection.answer()).status).toBe(401)
    connection.write(BODY + filled(callWith(BODY), server))
    expect((await connection.closed()).match(/HTTP\/1\.1/g)).toHaveLength(1)
    expect(await echoed()).toBe(before)
  })

  it('does not wait long for a body that never comes', async () => {
    using connection = connect(server)
    const startedAt = performance.now()
    connection.write(filled(head(POST, HOST, TYPE, 'Content-Length: 1000000'), server))
    expect((await connection.answer()).status).toBe(401)
    await connection.closed()
    expect(performance.now() - startedAt).toBeLessThan(2500)
  })
})

describe('contract: a connection that can be used again', () => {
  it.each([
    ['a refusal without a body', get(), 404],
    ['a refusal of an empty body', head(POST, HOST, TYPE, 'Content-Length: 0'), 401],
    ['a refusal after the body was read', `${post('Content-Length: 1')}{`, 400],
    ['a call', callWith(BODY), 200],
  ])('serves the next request after %s', async (_name, first, status) => {
    const bytes = filled(first + callWith(BODY, CLOSE), server)
    expect(await exchange(server, bytes)).toMatchObject([{ status }, { status: 200 }])
  })

  it('lets a client that is still sending have its answer', async () => {
    const response = await fetch(server.url, {
      method: 'POST',
      headers: { 'content-type': 'application/json', accept: ACCEPT.slice('Accept: '.length) },
      body: 'x'.repeat(4 << 20),
    })
    expect(response.status).toBe(401)
    expect(await response.json()).toMatchObject({ error: { message: 'Unauthorized' } })
  })
})
