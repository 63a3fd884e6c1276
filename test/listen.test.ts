import { once } from 'node:events'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { DENIALS, type DenyReason } from '../src/errors.ts'
import { connect, exchange, type RawAnswer } from './raw-http.ts'
import { type AuditRecord, callOf, type Server, startServer, stopServers } from './server.ts'
import {
  ACCEPT,
  BODY,
  CHUNKED,
  CHUNKS,
  CLOSE,
  CREDENTIAL,
  callWith,
  chunk,
  filled,
  get,
  HOST,
  head,
  LENGTH,
  MARK,
  POST,
  post,
  REST,
  TYPE,
} from './wire.ts'

/** What one running server makes of exact bytes. Limits that take time are in `listen-limits.test.ts`. */
let server: Server
beforeAll(async () => {
  server = await startServer()
})
/** Refusals of one address are sampled after the twentieth, so no server sees as many. */
let tests = 0
beforeEach(async () => {
  tests += 1
  if (tests % 12 !== 0) return
  await server.stop()
  server = await startServer()
})
afterAll(stopServers)

const isRequest = (record: AuditRecord): boolean => record.metadata.event_code === 'request'

/** Makes a good call, and returns the request records that were written since, without that call's. */
async function requestsSince(before: number): Promise<AuditRecord[]> {
  const response = await server.call('echo', { text: 'still here' })
  expect(response.status).toBe(200)
  const id = response.headers.get('x-request-id')
  const isLast = (record: AuditRecord): boolean =>
    isRequest(record) && record.metadata.correlation_uid === id
  await server.recorded(isLast)
  return server
    .audited()
    .slice(before)
    .filter((record) => isRequest(record) && !isLast(record))
}

/** How many records there are once everything so far is on record. */
async function settled(): Promise<number> {
  await requestsSince(0)
  return server.audited().length
}

/** One answer, the connection closed, one record of the same id, nothing of the request in either. */
async function expectRefusal(wire: string, reason: DenyReason): Promise<AuditRecord> {
  const before = await settled()
  const [answer, ...more] = await exchange(server, filled(wire, server))
  expect(more).toEqual([])
  expectAnswer(answer, reason)

  const records = await requestsSince(before)
  expect(records).toHaveLength(1)
  const [record] = records
  expect(record).toMatchObject({
    status_code: String(DENIALS[reason].status),
    status_detail: reason,
    src_endpoint: { ip: '127.0.0.1' },
    metadata: { correlation_uid: answer?.headers.get('x-request-id') },
  })
  expect(JSON.stringify(record)).not.toContain(MARK)
  expect(JSON.stringify(record)).not.toContain(server.key)
  return record
}

function expectAnswer(answer: RawAnswer | undefined, reason: DenyReason): void {
  const { status, rpcCode: code, message } = DENIALS[reason]
  expect(answer).toMatchObject({ status })
  expect(JSON.parse(answer?.body ?? '')).toEqual({ jsonrpc: '2.0', error: { code, message } })
  expect(Object.fromEntries(answer?.headers ?? [])).toMatchObject({
    'content-type': 'application/json',
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    vary: 'Origin',
    'x-request-id': expect.stringMatching(/^[0-9a-f-]{36}$/),
    connection: 'close',
  })
  for (const banner of ['server', 'x-powered-by', 'via']) {
    expect(answer?.headers.has(banner)).toBe(false)
  }
}

async function expectServed(wire: string): Promise<void> {
  const [answer, ...more] = await exchange(server, filled(wire, server))
  expect(more).toEqual([])
  expect(answer).toMatchObject({ status: 200 })
  expect(answer?.body).toContain(MARK)
  // What the client asked for, and what the end of `exchange` rests on (RFC 9112 §9.6).
  expect(answer?.headers.get('connection')).toBe('close')
}

describe('threat: request smuggling, one message for the proxy is two for this server', () => {
  it.each([
    ['a length beside chunks', post(LENGTH, CHUNKED) + CHUNKS],
    ['chunks beside a length', post(CHUNKED, LENGTH) + CHUNKS],
    ['two lengths', post(LENGTH, 'Content-Length: 3') + BODY],
    ['the same length twice', post(LENGTH, LENGTH) + BODY],
    ['a list of lengths', post(`${LENGTH}, ${BODY.length}`) + BODY],
    ['a negative length', post('Content-Length: -1') + BODY],
    ['a length with a plus', post('Content-Length: +5') + BODY],
    ['a hexadecimal length', post('Content-Length: 0x10') + BODY],
    ['an empty length', post('Content-Length:') + BODY],
    ['a length past 64 bits', post(`${LENGTH}${'9'.repeat(20)}`) + BODY],
    ['chunked twice', post(CHUNKED, CHUNKED) + CHUNKS],
    ['chunked, identity', post(`${CHUNKED}, identity`) + CHUNKS],
    ['identity', post('Transfer-Encoding: identity') + BODY],
    ['identity, chunked', post('Transfer-Encoding: identity, chunked') + CHUNKS],
    ['gzip, chunked', post('Transfer-Encoding: gzip, chunked') + CHUNKS],
    ['xchunked', post('Transfer-Encoding: xchunked') + CHUNKS],
    ['chunked in quotes', post('Transfer-Encoding: "chunked"') + CHUNKS],
    ['a space before the colon', post('Transfer-Encoding : chunked') + CHUNKS],
    ['a vertical tab before the value', post('Transfer-Encoding:\x0bchunked') + CHUNKS],
    ['a folded header', post(LENGTH, 'X-A: a', ' b') + BODY],
    ['a header that starts folded', head(POST, ' X-A: a', HOST, ...REST, LENGTH) + BODY],
    ['line feeds only', post(LENGTH).replaceAll('\r', '') + BODY],
    ['one bare line feed', post(LENGTH, 'X-A: a\nX-B: b') + BODY],
    ['one bare carriage return', post(LENGTH, 'X-A: a\rX-B: b') + BODY],
    ['two carriage returns', post(LENGTH, 'X-A: a\r') + BODY],
    ['NUL in a value', post(LENGTH, 'X-A: a\0b') + BODY],
    ['NUL in a name', post(LENGTH, 'X-\0A: a') + BODY],
    ['a header without a colon', post(LENGTH, 'X-A') + BODY],
    ['a header without a name', post(LENGTH, ': a') + BODY],
    ['a chunk size that is no number', `${post(CHUNKED)}zz\r\n${CHUNKS}`],
    ['a negative chunk size', `${post(CHUNKED)}-1\r\n${CHUNKS}`],
    ['a chunk size past 64 bits', `${post(CHUNKED)}${'f'.repeat(17)}\r\n${BODY}`],
    ['a chunk longer than its size', post(CHUNKED) + CHUNKS.replace('}\r\n', '}xx\r\n')],
    ['a chunk size before a line feed', post(CHUNKED) + CHUNKS.replace('\r\n', '\n')],
    ['a chunk extension of 20 kB', post(CHUNKED) + chunk(BODY, `;${'a'.repeat(20_000)}`)],
  ])('refuses %s', async (_name, wire) => {
    await expectRefusal(wire, 'listen.malformed')
  })

  it.each([
    ['a length', post(LENGTH, CLOSE) + BODY],
    ['chunks', post(CHUNKED, CLOSE) + CHUNKS],
    ['chunks in another case', post('TRANSFER-ENCODING: Chunked', CLOSE) + CHUNKS],
    ['a short chunk extension', `${post(CHUNKED, CLOSE)}${chunk(BODY, ';a=b')}0\r\n\r\n`],
    ['an empty line before the request', `\r\n${post(LENGTH, CLOSE)}${BODY}`],
    ['a length and its twin with an underscore', post(LENGTH, 'Content_Length: 3', CLOSE) + BODY],
  ])('lets %s through', async (_name, wire) => {
    await expectServed(wire)
  })
})

describe('threat: trailers, a header that no control has seen arrives after the body', () => {
  const chunks = `${chunk(BODY)}0\r\n`

  it('does not take a credential from a trailer', async () => {
    const announced = head(POST, HOST, TYPE, ACCEPT, CHUNKED, 'Trailer: Authorization', CLOSE)
    await expectRefusal(announced + chunks + head(CREDENTIAL), 'authenticate.missing')
  })

  it.each([
    ['Origin', 'Origin: https://evil.example'],
    ['Host', 'Host: evil.example'],
    ['Authorization', 'Authorization: Bearer other'],
  ])('lets %s in a trailer have no effect', async (_name, trailer) => {
    await expectServed(post(CHUNKED, CLOSE) + chunks + head(trailer))
  })

  it.each<[string, string, DenyReason]>([
    ['of 20 kB', `X-A: ${'a'.repeat(20_000)}`, 'listen.headers-too-large'],
    ['with a length', 'Content-Length: 3', 'listen.malformed'],
    ['with a transfer coding', 'Transfer-Encoding: chunked', 'listen.malformed'],
  ])('refuses trailers %s', async (_name, trailer, reason) => {
    await expectRefusal(post(CHUNKED) + chunks + head(trailer), reason)
  })
})

describe('threat: a missing or doubtful Host, the guard against rebinding has nothing to compare', () => {
  it.each<[string, string[], DenyReason]>([
    ['no Host', [], 'listen.malformed'],
    ['an empty Host', ['Host:'], 'listen.malformed'],
    ['two of them', [HOST, HOST], 'wire-guard.duplicate-header'],
    ['two that differ', [HOST, 'Host: evil.example'], 'wire-guard.duplicate-header'],
    ['a space in it', ['Host: a b'], 'listen.malformed'],
    ['a user in it', ['Host: a@AUTHORITY'], 'listen.malformed'],
    ['a path in it', ['Host: AUTHORITY/x'], 'listen.malformed'],
    ['a port past 65535', ['Host: 127.0.0.1:99999'], 'listen.malformed'],
    ['another host', ['Host: evil.example'], 'host-guard.not-allowed'],
    ['the host without its port', ['Host: 127.0.0.1'], 'host-guard.not-allowed'],
  ])('refuses %s', async (_name, hosts, reason) => {
    await expectRefusal(head(POST, ...hosts, ...REST, LENGTH, CLOSE) + BODY, reason)
  })

  it('lets another name of loopback through, in capitals', async () => {
    const host = `HOST: LOCALHOST:${server.port}`
    await expectServed(head(POST, host, ...REST, LENGTH, CLOSE) + BODY)
  })
})

describe('threat: other forms of a target, a check and the router read different ones', () => {
  it.each<[string, string, DenyReason]>([
    ['another host than in Host', 'http://evil.example/mcp', 'host-guard.authority-mismatch'],
    ['a user before the host', 'http://a@AUTHORITY/mcp', 'host-guard.authority-mismatch'],
    ['another scheme', 'ftp://AUTHORITY/mcp', 'listen.malformed'],
    ['a backslash', '\\mcp', 'listen.malformed'],
    ['a fragment', '/mcp#x', 'wire-guard.target'],
    ['a quote', '/mcp"', 'wire-guard.target'],
    ['a space', '/m cp', 'listen.malformed'],
    ['a second slash', '//mcp', 'route.not-found'],
    ['a query', '/mcp?x', 'route.query'],
    ['an asterisk', '*', 'listen.malformed'],
  ])('refuses a target with %s', async (_name, target, reason) => {
    await expectRefusal(
      head(`POST ${target} HTTP/1.1`, HOST, ...REST, LENGTH, CLOSE) + BODY,
      reason,
    )
  })

  it.each<[string, string, DenyReason]>([
    ['an absolute URI of another host', 'POST http://evil.example/mcp', 'host-guard.not-allowed'],
    ['OPTIONS for the whole server', 'OPTIONS *', 'listen.malformed'],
    ['CONNECT', 'CONNECT evil.example:443', 'listen.connect'],
  ])('refuses %s', async (_name, start, reason) => {
    await expectRefusal(head(`${start} HTTP/1.1`, 'Host: evil.example', CREDENTIAL, CLOSE), reason)
  })

  it('lets an absolute URI of this host through', async () => {
    const start = 'POST http://AUTHORITY/mcp HTTP/1.1'
    await expectServed(head(start, HOST, ...REST, LENGTH, CLOSE) + BODY)
  })
})

const WEBSOCKET = ['Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13']

describe('threat: other protocols, controls that read HTTP/1.1 are talked past', () => {
  const h2c = ['Connection: Upgrade, HTTP2-Settings', 'Upgrade: h2c', 'HTTP2-Settings: AAMAAABk']

  it.each<[string, string, DenyReason]>([
    ['HTTP/0.9', 'GET /mcp\r\n\r\n', 'listen.malformed'],
    ['HTTP/1.0', head('GET /mcp HTTP/1.0', HOST), 'wire-guard.http-version'],
    ['HTTP/1.0 without Host', head('GET /mcp HTTP/1.0'), 'listen.malformed'],
    ['chunks in HTTP/1.0', post(CHUNKED).replace('1.1', '1.0') + CHUNKS, 'wire-guard.http-version'],
    ['HTTP/1.2', head('GET /mcp HTTP/1.2', HOST), 'listen.malformed'],
    ['HTTP/2.0 in words', head('GET /mcp HTTP/2.0', HOST), 'wire-guard.http-version'],
    ['the preface of HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'listen.malformed'],
    ['an upgrade to WebSocket', get(CREDENTIAL, ...WEBSOCKET), 'listen.upgrade'],
    ['an upgrade to HTTP/2', post(LENGTH, ...h2c) + BODY, 'listen.upgrade'],
    ['TLS on a port without it', '\x16\x03\x01\x02\0\x01\0', 'listen.malformed'],
    ['an unknown method', head('EVIL /mcp HTTP/1.1', HOST), 'listen.malformed'],
    ['a method in lower case', head('post /mcp HTTP/1.1', HOST), 'listen.malformed'],
    ['TRACE', head('TRACE /mcp HTTP/1.1', HOST, CLOSE), 'route.method-not-allowed'],
  ])('refuses %s', async (_name, wire, reason) => {
    await expectRefusal(wire, reason)
  })

  it.each([
    ['an upgrade', get(...WEBSOCKET)],
    ['CONNECT', head('CONNECT evil.example:443 HTTP/1.1', HOST)],
  ])('survives clients that reset the connection after %s', async (_name, wire) => {
    for (let round = 0; round < 20; round++) {
      using connection = connect(server)
      await once(connection.socket, 'connect')
      connection.write(filled(wire, server))
      if (round % 2 === 0) await connection.answer()
      connection.socket.resetAndDestroy()
    }
    expect((await server.call('echo', { text: 'alive' })).status).toBe(200)
  })
})

describe('threat: Expect, a body is asked for before its sender is known', () => {
  const EXPECT = 'Expect: 100-continue'

  it.each<[string, string, DenyReason]>([
    ['no credential', head(POST, HOST, TYPE, LENGTH, EXPECT, CLOSE), 'authenticate.missing'],
    ['a body too large', post('Content-Length: 1048577', EXPECT), 'parse-message.too-large'],
    ['another expectation', post(LENGTH, 'Expect: 200-ok'), 'listen.expectation'],
    ['two expectations', post(LENGTH, EXPECT, EXPECT, CLOSE), 'wire-guard.duplicate-header'],
  ])('refuses %s and asks for nothing', async (_name, wire, reason) => {
    await expectRefusal(wire, reason)
  })

  it('asks an authenticated caller for the body, and serves it', async () => {
    using connection = connect(server)
    connection.write(filled(post(LENGTH, EXPECT), server))
    expect(await connection.answer()).toMatchObject({ status: 100, body: '' })
    connection.write(BODY)
    expect(await connection.answer()).toMatchObject({ status: 200 })
  })
})

describe('threat: a flood of headers or body, memory is spent before anything is decided', () => {
  const many = (count: number, header = `X-A: ${MARK}`): string[] => Array(count).fill(header)

  it.each<[string, string, DenyReason]>([
    ['101 headers', get(CLOSE, ...many(99, 'Accept: a')), 'wire-guard.too-many-headers'],
    ['500 headers', get(CLOSE, ...many(498, 'Accept: a')), 'wire-guard.too-many-headers'],
    ['1,000 headers', get(...many(998)), 'listen.headers-too-large'],
    ['2,100 headers of four bytes', get(...many(2100, 'a:')), 'listen.headers-too-large'],
    ['headers over 16 KiB', get(`X-A: ${'a'.repeat(16_384)}`), 'listen.headers-too-large'],
    [
      'a target over 16 KiB',
      head(`GET /${'a'.repeat(16_384)} HTTP/1.1`, HOST),
      'listen.headers-too-large',
    ],
    ['a length over 1 MiB', post('Content-Length: 1048577') + BODY, 'parse-message.too-large'],
    ['chunks over 1 MiB', post(CHUNKED) + chunk('x'.repeat(1_048_577)), 'parse-message.too-large'],
  ])('refuses %s', async (_name, wire, reason) => {
    await expectRefusal(wire, reason)
  })

  it('lets 100 headers of nearly 16 KiB through', async () => {
    const filling = many(92, 'Accept-Language: en')
    await expectServed(post(LENGTH, CLOSE, ...filling, `X-B: ${'b'.repeat(12_000)}`) + BODY)
  })

  it('lets a body of 1 MiB through', async () => {
    await expectServed(callWith(' '.repeat(1_048_576 - BODY.length) + BODY, CLOSE))
  })
})

describe('threat: pipelining, bytes of one request become part of the answer to another', () => {
  it('answers each request, in order', async () => {
    using connection = connect(server)
    const ids = [1, 2, 3]
    const calls = ids.map((id) => callWith(callOf('echo', { text: `text ${id}` }, id)))
    connection.write(filled(calls.join(''), server))
    for (const id of ids) {
      const { status, body } = await connection.answer()
      expect(status).toBe(200)
      expect(body).toContain(`text ${id}`)
    }
  })

  it('answers garbage after an answer as a request of its own', async () => {
    using connection = connect(server)
    connection.write(filled(post(LENGTH) + BODY, server))
    expect(await connection.answer()).toMatchObject({ status: 200 })
    connection.write('garbage\r\n\r\n')
    expectAnswer(await connection.answer(), 'listen.malformed')
    await connection.closed()
  })

  it.each([
    ['garbage', 'garbage\r\n\r\n'],
    ['a request with two lengths', head(POST, LENGTH, LENGTH) + BODY],
    ['an upgrade', get(...WEBSOCKET)],
    ['CONNECT', head('CONNECT evil.example:443 HTTP/1.1', HOST)],
  ])('does not put the answer to %s in place of the one before', async (_name, bytes) => {
    const before = await settled()
    const answers = await exchange(server, filled(post(LENGTH) + BODY + bytes, server))
    expect(answers.filter(({ status }) => status !== 200)).toEqual([])
    const records = await requestsSince(before)
    expect(records.filter(({ status_code }) => status_code === '400')).toHaveLength(1)
    expect(records).toHaveLength(2)
  })

  it('cuts an answer that is under way, and adds nothing to it', async () => {
    using connection = connect(server)
    const documents = Array.from({ length: 20 }, (_, index) => ({ name: `${index}`, text: 'text' }))
    connection.write(filled(callWith(callOf('process_documents', { documents })), server))
    await once(connection.socket, 'data')
    connection.write('garbage\r\n\r\n')
    const received = await connection.closed()
    expect(received).toMatch(/^HTTP\/1\.1 200 OK\r\n/)
    expect(received).not.toContain('HTTP/1.1 400')
    expect(received).not.toContain('reportId')
  })

  it('does not answer again when the body of an answered request turns out broken', async () => {
    const before = await settled()
    using connection = connect(server)
    connection.write(filled(head(POST, HOST, TYPE, CHUNKED), server))
    expect(await connection.answer()).toMatchObject({ status: 401 })
    connection.write('zz\r\n')
    expect(await connection.closed()).not.toContain('HTTP/1.1 400')
    expect(await requestsSince(before)).toMatchObject([{ status_detail: 'authenticate.missing' }])
  })

  it('records a flood of garbage once', async () => {
    const before = await settled()
    using connection = connect(server)
    connection.write('garbage '.repeat(50_000))
    await connection.closed()
    expect(await requestsSince(before)).toMatchObject([{ status_detail: 'listen.malformed' }])
  })

  it('records nothing when a client leaves between requests', async () => {
    const before = await settled()
    using connection = connect(server)
    connection.write(filled(get(), server))
    expect(await connection.answer()).toMatchObject({ status: 404 })
    connection.socket.resetAndDestroy()
    expect(await requestsSince(before)).toMatchObject([{ status_detail: 'route.not-found' }])
  })
})

describe('threat: log injection, a request writes records of its own', () => {
  const start = (line: string): string => head(line, HOST, CLOSE)

  it.each<[string, string, DenyReason]>([
    ['encoded line breaks in the path', start('GET /%0d%0a%1b HTTP/1.1'), 'route.not-found'],
    ['JSON in the path', start('GET /","status_id":1,"x":" HTTP/1.1'), 'wire-guard.target'],
    ['a terminal sequence in the path', start('GET /\x1b[2J HTTP/1.1'), 'listen.malformed'],
    ['a bidirectional override in the path', start('GET /\u202e HTTP/1.1'), 'listen.malformed'],
    ['a line break in the method', start('GE\nT / HTTP/1.1'), 'listen.malformed'],
    ['a terminal sequence in the method', start('GET\x1b[2J / HTTP/1.1'), 'listen.malformed'],
    ['a terminal sequence in a header name', get(`\x1b[2J${MARK}: a`), 'listen.malformed'],
    ['a terminal sequence in a header', get(`X-A: \x1b[2J${MARK}`), 'listen.malformed'],
    ['a bidirectional override in a header', get(`X-A: \u202e${MARK}`, CLOSE), 'route.not-found'],
    ['text in the target of CONNECT', start('CONNECT \u202e:443 HTTP/1.1'), 'listen.malformed'],
    ['a secret in a query', start(`POST /mcp?access_token=${MARK} HTTP/1.1`), 'route.query'],
    ['a secret in CONNECT', start(`CONNECT a:443?${MARK} HTTP/1.1`), 'listen.connect'],
  ])('records %s as one line of plain text', async (_name, wire, reason) => {
    const record = await expectRefusal(wire, reason)
    expect(record.http_request.url.path).toMatch(/^[ -~]{0,256}$/)
    for (const line of server.stdout().trimEnd().split('\n')) expect(line).toMatch(/^\{.*\}$/)
  })

  it('leaves standard error as it was at the start', () => {
    expect(server.stderr()).toMatch(/^Gatehouse listens on [^{}]* --key mcpk_\S+\n\n$/)
  })
})
