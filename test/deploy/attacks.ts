import { callOf } from '../server.ts'
import { ACCEPT, chunk, head, POST, TYPE } from '../wire.ts'
import { SITE } from './proxies.ts'

/**
 * Who answers, and how: a number is the status of Gatehouse; `itself` is a proxy that refuses without
 * asking it. Where a proxy turns what Gatehouse would refuse into a good call, that is what it is for.
 */
type Answers = readonly [gatehouse: number, nginx: number | 'itself', caddy: number | 'itself']

export const CALL = callOf('echo', { text: 'hello' })
const HOST = `Host: ${SITE}`
const LENGTH = `Content-Length: ${CALL.length}`
const KEY = 'Authorization: Bearer KEY'
const CLOSE = 'Connection: close'
const CHUNKED = 'Transfer-Encoding: chunked'
const CHUNKS = `${chunk(CALL)}0\r\n\r\n`

/** A good call with these headers added, without its body. */
const call = (...headers: readonly string[]): string =>
  head(POST, HOST, KEY, TYPE, ACCEPT, CLOSE, ...headers)
/** A good call but for its request line, its host or its credential. */
const line = (first: string): string => head(first, HOST, KEY, TYPE, ACCEPT, LENGTH, CLOSE) + CALL
const host = (...lines: readonly string[]): string =>
  head(POST, ...lines, KEY, TYPE, ACCEPT, LENGTH, CLOSE) + CALL
const credential = (...lines: readonly string[]): string =>
  head(POST, HOST, ...lines, TYPE, ACCEPT, LENGTH, CLOSE) + CALL
const good = (...headers: readonly string[]): string => call(LENGTH, ...headers) + CALL
/** A good call with this message. */
export const callOfSite = (message: string, ...headers: readonly string[]): string =>
  call(`Content-Length: ${message.length}`, ...headers) + message
const OVER = 1_048_577

/** Good calls and attacks as bytes. Each asks for the connection to be closed. `KEY` stands for a key. */
export const REQUESTS: readonly (readonly [name: string, answers: Answers, wire: string])[] = [
  ['a good call', [200, 200, 200], good()],
  ['a good call in chunks', [200, 200, 200], call(CHUNKED) + CHUNKS],
  ['a length beside chunks', [400, 'itself', 200], call(LENGTH, CHUNKED) + CHUNKS],
  ['chunks beside a length', [400, 'itself', 200], call(CHUNKED, LENGTH) + CHUNKS],
  ['two lengths', [400, 'itself', 'itself'], call(LENGTH, 'Content-Length: 3') + CALL],
  ['a list of lengths', [400, 'itself', 'itself'], call(`${LENGTH}, ${CALL.length}`) + CALL],
  ['a negative length', [400, 'itself', 'itself'], call('Content-Length: -1') + CALL],
  [
    'a length with a plus',
    [400, 'itself', 'itself'],
    call(`Content-Length: +${CALL.length}`) + CALL,
  ],
  ['a hexadecimal length', [400, 'itself', 'itself'], call('Content-Length: 0x10') + CALL],
  ['an unknown coding', [400, 'itself', 'itself'], call('Transfer-Encoding: xchunked') + CHUNKS],
  [
    'a coding besides chunked',
    [400, 'itself', 'itself'],
    call('Transfer-Encoding: gzip, chunked') + CHUNKS,
  ],
  ['chunked twice', [400, 'itself', 'itself'], call(CHUNKED, CHUNKED) + CHUNKS],
  [
    'chunked after a tab',
    [400, 'itself', 200],
    call('Transfer-Encoding:\tchunked', LENGTH) + CHUNKS,
  ],
  [
    'a chunk size that is no number',
    [400, 'itself', 'itself'],
    `${call(CHUNKED)}zz\r\n${CALL}\r\n0\r\n\r\n`,
  ],
  [
    'a chunk size beyond 64 bits',
    [400, 'itself', 'itself'],
    `${call(CHUNKED)}ffffffffffffffff1\r\n${CALL}\r\n0\r\n\r\n`,
  ],
  [
    'a space before the colon',
    [400, 'itself', 'itself'],
    call('Content-Length : 3', LENGTH) + CALL,
  ],
  ['a folded header', [400, 'itself', 200], call('X-A: a\r\n b', LENGTH) + CALL],
  ['a NUL in a header', [400, 'itself', 'itself'], call('X-A: a\0b', LENGTH) + CALL],
  ['a bare line feed', [400, 200, 200], call(LENGTH).replaceAll('\r\n', '\n') + CALL],
  ['HTTP/1.0', [400, 200, 200], line('POST /mcp HTTP/1.0')],
  ['HTTP/1.2', [400, 200, 200], line('POST /mcp HTTP/1.2')],
  ['HTTP/2.0 in clear', [400, 'itself', 'itself'], line('POST /mcp HTTP/2.0')],
  ['no version', [400, 'itself', 'itself'], 'GET /mcp\r\n\r\n'],
  ['a method in small letters', [400, 'itself', 400], line('post /mcp HTTP/1.1')],
  [
    'CONNECT',
    [400, 'itself', 'itself'],
    head('CONNECT 127.0.0.1:9090 HTTP/1.1', 'Host: 127.0.0.1:9090', CLOSE),
  ],
  ['TRACE', [405, 'itself', 405], head('TRACE /mcp HTTP/1.1', HOST, CLOSE)],
  ['OPTIONS *', [400, 'itself', 'itself'], head('OPTIONS * HTTP/1.1', HOST, CLOSE)],
  [
    'an upgrade to a web socket',
    [400, 405, 400],
    head(
      'GET /mcp HTTP/1.1',
      HOST,
      KEY,
      'Upgrade: websocket',
      'Connection: Upgrade, close',
      'Sec-WebSocket-Version: 13',
      'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==',
    ),
  ],
  [
    'an upgrade to HTTP/2 in clear',
    [400, 200, 400],
    head(
      POST,
      HOST,
      KEY,
      TYPE,
      ACCEPT,
      LENGTH,
      'Upgrade: h2c',
      'HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA',
      'Connection: Upgrade, HTTP2-Settings, close',
    ) + CALL,
  ],
  ['an unknown expectation', [417, 200, 'itself'], good('Expect: 200-ok')],
  ['no host', [400, 'itself', 'itself'], host()],
  ['an empty host', [400, 'itself', 'itself'], host('Host:')],
  ['two hosts', [400, 'itself', 'itself'], host(HOST, HOST)],
  ['another host', [421, 'itself', 'itself'], host('Host: evil.example')],
  ['the host with a suffix', [421, 'itself', 'itself'], host(`Host: ${SITE}.evil.example`)],
  ['the host with a prefix', [421, 'itself', 'itself'], host(`Host: x${SITE}`)],
  ['the host with a dot', [421, 421, 'itself'], host(`Host: ${SITE}.`)],
  ['the host with another port', [421, 421, 421], host(`Host: ${SITE}:8443`)],
  ['the host in capitals', [200, 200, 200], host(`Host: ${SITE.toUpperCase()}`)],
  ['a host with a user', [400, 'itself', 'itself'], host(`Host: x@${SITE}`)],
  ['a host with a path', [400, 'itself', 'itself'], host(`Host: ${SITE}/x`)],
  ['loopback as the host', [421, 'itself', 'itself'], host('Host: 127.0.0.1')],
  [
    'a target of another host',
    [400, 'itself', 'itself'],
    line('POST https://evil.example/mcp HTTP/1.1'),
  ],
  ['a target of this host', [200, 200, 200], line(`POST https://${SITE}/mcp HTTP/1.1`)],
  ['a target with a slash more', [404, 404, 404], line('POST /mcp/ HTTP/1.1')],
  ['a target with two slashes', [404, 404, 404], line('POST //mcp HTTP/1.1')],
  ['a target with a dot', [404, 404, 404], line('POST /./mcp HTTP/1.1')],
  ['a target that climbs', [404, 404, 404], line('POST /x/../mcp HTTP/1.1')],
  ['an encoded target', [404, 404, 404], line('POST /%6dcp HTTP/1.1')],
  ['an encoded slash', [404, 404, 404], line('POST /x%2f..%2fmcp HTTP/1.1')],
  ['an encoded NUL', [404, 'itself', 404], line('POST /mcp%00 HTTP/1.1')],
  ['a backslash', [400, 'itself', 'itself'], line('POST \\mcp HTTP/1.1')],
  ['a target with a parameter', [404, 404, 404], line('POST /mcp;a HTTP/1.1')],
  ['a query', [400, 400, 400], line('POST /mcp?a=1 HTTP/1.1')],
  ['a fragment', [400, 400, 404], line('POST /mcp#a HTTP/1.1')],
  ['capitals', [404, 404, 404], line('POST /MCP HTTP/1.1')],
  ['GET', [405, 405, 405], head('GET /mcp HTTP/1.1', HOST, KEY, CLOSE)],
  ['the probe of life', [404, 404, 404], head('GET /livez HTTP/1.1', HOST, CLOSE)],
  ['the probe of readiness', [404, 404, 404], head('GET /readyz HTTP/1.1', HOST, CLOSE)],
  ['the metrics', [404, 404, 404], head('GET /metrics HTTP/1.1', HOST, CLOSE)],
  [
    'the metrics by X-Original-URL',
    [404, 404, 404],
    head('GET /x HTTP/1.1', HOST, 'X-Original-URL: /metrics', 'X-Rewrite-URL: /metrics', CLOSE),
  ],
  [
    'another method by header',
    [405, 405, 405],
    head('GET /mcp HTTP/1.1', HOST, KEY, 'X-HTTP-Method-Override: POST', CLOSE),
  ],
  ['the null origin', [403, 403, 403], good('Origin: null')],
  ['an origin of nobody', [403, 403, 403], good('Origin: https://evil.example')],
  ['two origins', [400, 400, 400], good('Origin: https://a.example', 'Origin: https://b.example')],
  ['no credential', [401, 401, 401], credential()],
  ['a wrong key', [401, 401, 401], credential('Authorization: Bearer mcpk_aaaaaaaaaaaa')],
  ['another scheme', [401, 401, 401], credential('Authorization: Basic dTpw')],
  ['two credentials', [400, 'itself', 400], credential(KEY, KEY)],
  ['two credentials in one', [400, 400, 400], credential(`${KEY}, Bearer x`)],
  ['a credential of the proxy', [401, 401, 401], credential('Proxy-Authorization: Bearer KEY')],
  [
    'a credential with an underscore twin',
    [401, 401, 401],
    credential('Authorization_: Bearer KEY'),
  ],
  [
    'the credential as a hop-by-hop header',
    [200, 200, 401],
    head(POST, HOST, KEY, TYPE, ACCEPT, LENGTH, 'Connection: close, Authorization') + CALL,
  ],
  ['two media types', [400, 400, 400], good(TYPE)],
  ['a compressed body', [415, 415, 415], good('Content-Encoding: gzip')],
  [
    'a body over the limit',
    [413, 'itself', 413],
    call(`Content-Length: ${OVER}`) + 'x'.repeat(OVER),
  ],
  ['chunks over the limit', [413, 'itself', 413], call(CHUNKED) + chunk('x'.repeat(OVER))],
  [
    'too many headers',
    [431, 431, 431],
    good(...Array.from({ length: 101 }, (_, index) => `X-${index}: a`)),
  ],
  ['headers over the limit', [431, 'itself', 431], good(`X-A: ${'a'.repeat(16_500)}`)],
  [
    'many headers over the limit',
    [431, 431, 'itself'],
    good(...Array.from({ length: 40 }, (_, index) => `X-${index}: ${'a'.repeat(1000)}`)),
  ],
]
