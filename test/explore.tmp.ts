import { startServer, stopServers } from './server.ts'
import { connect } from './raw-http.ts'
const server = await startServer()
const { port, key } = server
const H = `Host: 127.0.0.1:${port}\r\n`
const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'echo', arguments: { text: 'hi' } } })
const A = `Authorization: Bearer ${key}\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\n`
const L = `Content-Length: ${body.length}\r\n`
const chunked = `${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`
const P = `POST /mcp HTTP/1.1\r\n`
const rows: [string, string][] = [
  ['good', P + H + A + L + '\r\n' + body],
  ['good close', P + H + A + L + 'Connection: close\r\n\r\n' + body],
  ['good chunked', P + H + A + 'Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n' + chunked],
  ['CL+TE', P + H + A + L + 'Transfer-Encoding: chunked\r\n\r\n' + chunked],
  ['TE+CL', P + H + A + 'Transfer-Encoding: chunked\r\n' + L + '\r\n' + chunked],
  ['two CL same', P + H + A + L + L + '\r\n' + body],
  ['two CL', P + H + A + L + 'Content-Length: 3\r\n' + '\r\n' + body],
  ['CL list', P + H + A + `Content-Length: ${body.length}, ${body.length}\r\n` + '\r\n' + body],
  ['CL neg', P + H + A + `Content-Length: -1\r\n` + '\r\n' + body],
  ['CL plus', P + H + A + `Content-Length: +5\r\n` + '\r\n' + body],
  ['CL hex', P + H + A + `Content-Length: 0x10\r\n` + '\r\n' + body],
  ['CL empty', P + H + A + `Content-Length:\r\n` + '\r\n' + body],
  ['CL overflow', P + H + A + `Content-Length: 99999999999999999999999\r\n` + '\r\n' + body],
  ['TE identity', P + H + A + `Transfer-Encoding: identity\r\n` + '\r\n' + body],
  ['TE chunked, identity', P + H + A + `Transfer-Encoding: chunked, identity\r\n` + '\r\n' + chunked],
  ['TE identity, chunked', P + H + A + `Transfer-Encoding: identity, chunked\r\n` + '\r\n' + chunked],
  ['TE gzip, chunked', P + H + A + `Transfer-Encoding: gzip, chunked\r\n` + '\r\n' + chunked],
  ['TE xchunked', P + H + A + `Transfer-Encoding: xchunked\r\n` + '\r\n' + chunked],
  ['TE twice', P + H + A + `Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n` + '\r\n' + chunked],
  ['TE quoted', P + H + A + `Transfer-Encoding: "chunked"\r\n` + '\r\n' + chunked],
  ['TE Chunked', P + H + A + `Transfer-Encoding: Chunked\r\nConnection: close\r\n` + '\r\n' + chunked],
  ['TE space colon', P + H + A + `Transfer-Encoding : chunked\r\n` + '\r\n' + chunked],
  ['TE vtab', P + H + A + `Transfer-Encoding:\x0bchunked\r\n` + '\r\n' + chunked],
  ['TE chunked on 1.0', 'POST /mcp HTTP/1.0\r\n' + H + A + `Transfer-Encoding: chunked\r\n` + '\r\n' + chunked],
  ['obs-fold', P + H + A + L + `X-A: a\r\n b\r\n` + '\r\n' + body],
  ['obs-fold first', P + ' X: a\r\n' + H + A + L + '\r\n' + body],
  ['bare LF', (P + H + A + L + '\r\n').replaceAll('\r\n', '\n') + body],
  ['bare LF one', P + H + A + L + 'X-A: a\nX-B: b\r\n' + '\r\n' + body],
  ['bare CR', P + H + A + L + 'X-A: a\rX-B: b\r\n' + '\r\n' + body],
  ['CRCRLF', P + H + A + L + 'X-A: a\r\r\n' + '\r\n' + body],
  ['NUL', P + H + A + L + 'X-A: a\0b\r\n' + '\r\n' + body],
  ['NUL name', P + H + A + L + 'X-\0A: ab\r\n' + '\r\n' + body],
  ['no colon', P + H + A + L + 'X-A\r\n' + '\r\n' + body],
  ['empty name', P + H + A + L + ': a\r\n' + '\r\n' + body],
  ['huge chunk ext', P + H + A + 'Transfer-Encoding: chunked\r\n\r\n' + `${body.length.toString(16)};${'a'.repeat(20000)}\r\n${body}\r\n0\r\n\r\n`],
  ['small chunk ext', P + H + A + 'Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n' + `${body.length.toString(16)};a=b\r\n${body}\r\n0\r\n\r\n`],
  ['bad chunk size', P + H + A + 'Transfer-Encoding: chunked\r\n\r\n' + `zz\r\n${body}\r\n0\r\n\r\n`],
  ['neg chunk size', P + H + A + 'Transfer-Encoding: chunked\r\n\r\n' + `-1\r\n${body}\r\n0\r\n\r\n`],
  ['overflow chunk size', P + H + A + 'Transfer-Encoding: chunked\r\n\r\n' + `fffffffffffffffff\r\n${body}\r\n0\r\n\r\n`],
  ['chunk bare LF', P + H + A + 'Transfer-Encoding: chunked\r\n\r\n' + `${body.length.toString(16)}\n${body}\r\n0\r\n\r\n`],
  ['chunk too long', P + H + A + 'Transfer-Encoding: chunked\r\n\r\n' + `${body.length.toString(16)}\r\n${body}xx\r\n0\r\n\r\n`],
  ['trailer authz', P + H + 'Content-Type: application/json\r\nTransfer-Encoding: chunked\r\nTrailer: Authorization\r\nConnection: close\r\n\r\n' + `${body.length.toString(16)}\r\n${body}\r\n0\r\nAuthorization: Bearer ${key}\r\n\r\n`],
  ['trailer origin', P + H + A + 'Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n' + `${body.length.toString(16)}\r\n${body}\r\n0\r\nOrigin: https://evil.example\r\n\r\n`],
  ['trailer huge', P + H + A + 'Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n' + `${body.length.toString(16)}\r\n${body}\r\n0\r\nX: ${'a'.repeat(20000)}\r\n\r\n`],
  ['no host', P + A + L + '\r\n' + body],
  ['empty host', P + 'Host:\r\n' + A + L + '\r\n' + body],
  ['dup host', P + H + H + A + L + '\r\n' + body],
  ['bad host', P + 'Host: a b\r\n' + A + L + '\r\n' + body],
  ['bad host2', P + 'Host: 127.0.0.1:99999999\r\n' + A + L + '\r\n' + body],
  ['host user', P + `Host: a@127.0.0.1:${port}\r\n` + A + L + '\r\n' + body],
  ['host path', P + `Host: 127.0.0.1:${port}/x\r\n` + A + L + '\r\n' + body],
  ['foreign host', P + `Host: evil.example\r\n` + A + L + '\r\n' + body],
  ['0.9', 'GET /mcp\r\n'],
  ['0.9 b', 'GET /mcp\r\n\r\n'],
  ['1.0 host', 'POST /mcp HTTP/1.0\r\n' + H + A + L + '\r\n' + body],
  ['1.0 no host', 'GET /mcp HTTP/1.0\r\n\r\n'],
  ['1.2', 'POST /mcp HTTP/1.2\r\n' + H + A + L + '\r\n' + body],
  ['2.0', 'POST /mcp HTTP/2.0\r\n' + H + A + L + '\r\n' + body],
  ['preface', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
  ['abs foreign', `POST http://evil.example/mcp HTTP/1.1\r\nHost: evil.example\r\n` + A + L + '\r\n' + body],
  ['abs mismatch', `POST http://evil.example/mcp HTTP/1.1\r\n` + H + A + L + '\r\n' + body],
  ['abs ok', `POST http://127.0.0.1:${port}/mcp HTTP/1.1\r\n` + H + A + L + 'Connection: close\r\n\r\n' + body],
  ['abs user', `POST http://a@127.0.0.1:${port}/mcp HTTP/1.1\r\n` + H + A + L + 'Connection: close\r\n\r\n' + body],
  ['abs ftp', `POST ftp://127.0.0.1:${port}/mcp HTTP/1.1\r\n` + H + A + L + 'Connection: close\r\n\r\n' + body],
  ['abs upper', `POST HTTP://127.0.0.1:${port}/mcp HTTP/1.1\r\n` + H + A + L + 'Connection: close\r\n\r\n' + body],
  ['OPTIONS *', 'OPTIONS * HTTP/1.1\r\n' + H + '\r\n'],
  ['GET *', 'GET * HTTP/1.1\r\n' + H + '\r\n'],
  ['CONNECT', 'CONNECT evil.example:443 HTTP/1.1\r\n' + H + '\r\n'],
  ['CONNECT auth', 'CONNECT evil.example:443 HTTP/1.1\r\n' + H + A + '\r\n'],
  ['ws', 'GET /mcp HTTP/1.1\r\n' + H + A + 'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n'],
  ['h2c', P + H + A + L + 'Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n' + body],
  ['expect unauth', P + H + L + 'Expect: 100-continue\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n'],
  ['expect other', P + H + A + L + 'Expect: 200-ok\r\n\r\n' + body],
  ['expect 100 twice', P + H + A + L + 'Expect: 100-continue\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n' + body],
  ['100 headers', 'GET /x HTTP/1.1\r\n' + H + 'Connection: close\r\n' + Array.from({length: 98}, (_, i) => `X-${i}: a\r\n`).join('') + '\r\n'],
  ['101 headers', 'GET /x HTTP/1.1\r\n' + H + 'Connection: close\r\n' + Array.from({length: 99}, (_, i) => `X-${i}: a\r\n`).join('') + '\r\n'],
  ['1000 headers', 'GET /x HTTP/1.1\r\n' + H + 'Connection: close\r\n' + Array.from({length: 998}, (_, i) => `X-${i}: a\r\n`).join('') + '\r\n'],
  ['3000 headers', 'GET /x HTTP/1.1\r\n' + H + 'Connection: close\r\n' + Array.from({length: 2998}, (_, i) => `${i}:\r\n`).join('') + '\r\n'],
  ['16K', 'GET /x HTTP/1.1\r\n' + H + 'Connection: close\r\n' + `X: ${'a'.repeat(17000)}\r\n` + '\r\n'],
  ['long url', `GET /${'a'.repeat(17000)} HTTP/1.1\r\n` + H + 'Connection: close\r\n' + '\r\n'],
  ['inject path', 'GET /\x1b[31m HTTP/1.1\r\n' + H + '\r\n'],
  ['inject path utf8', 'GET /\u202Eabc HTTP/1.1\r\n' + H + 'Connection: close\r\n\r\n'],
  ['pct path', 'GET /%0d%0a%1b[31m HTTP/1.1\r\n' + H + 'Connection: close\r\n\r\n'],
  ['method lower', 'post /mcp HTTP/1.1\r\n' + H + '\r\n'],
  ['method unknown', 'EVIL /mcp HTTP/1.1\r\n' + H + '\r\n'],
  ['method PROPFIND', 'PROPFIND /mcp HTTP/1.1\r\n' + H + 'Connection: close\r\n\r\n'],
  ['TRACE', 'TRACE /mcp HTTP/1.1\r\n' + H + 'Connection: close\r\n\r\n'],
  ['QUERY', 'QUERY /mcp HTTP/1.1\r\n' + H + 'Connection: close\r\n\r\n'],
  ['underscore', P + H + L + `Content_Length: 3\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n` + body],
  ['tls hello', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03'],
  ['empty lines first', '\r\n\r\n' + 'GET /x HTTP/1.1\r\n' + H + 'Connection: close\r\n\r\n'],
  ['frag', 'GET /mcp#x HTTP/1.1\r\n' + H + 'Connection: close\r\n\r\n'],
  ['dslash', 'GET //mcp HTTP/1.1\r\n' + H + 'Connection: close\r\n\r\n'],
  ['backslash', 'GET \\mcp HTTP/1.1\r\n' + H + 'Connection: close\r\n\r\n'],
  ['space in target', 'GET /m cp HTTP/1.1\r\n' + H + 'Connection: close\r\n\r\n'],
]
for (const [name, bytes] of rows) {
  const before = server.audited().length
  const c = connect({ port })
  c.socket.write(Buffer.from(bytes, name.includes('utf8') ? 'utf8' : 'latin1'))
  const t = setTimeout(() => c.socket.destroy(), 400)
  const all = await c.closed()
  clearTimeout(t)
  await new Promise((r) => setTimeout(r, 15))
  const recs = server.audited().slice(before).filter((r) => r.metadata.event_code === 'request').map((r) => `${r.status_code}/${r.status_detail}/${r.src_endpoint?.ip}/${r.http_request?.http_method ?? r.unmapped?.http_method}/${JSON.stringify(r.http_request?.url?.path).slice(0,30)}`)
  console.log(name.padEnd(22), t.hasRef?.() ? '' : '', all.match(/HTTP\/1.1 \d+/g)?.join(','), /x-request-id/.test(all) ? '' : 'NOID', /connection: close/i.test(all) ? 'close' : 'OPEN', recs.join(' | '))
}
console.log(server.stderr().split('\n').slice(6).join('\n'))
await stopServers()
