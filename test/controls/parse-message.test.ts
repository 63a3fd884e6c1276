import { describe, expect, it } from 'vitest'
import type { DenyReason } from '../../src/errors.ts'
import { META, type TestRequest, testApp } from '../app.ts'
import { expectRefused, expectServed } from '../expect-refused.ts'

const MAX_BYTES = 1_048_576
const app = testApp()
const utf8 = (text: string): Uint8Array => Buffer.from(text)

/** A `ping` of the 2025 revisions with these members on top: what is checked is the envelope. */
function ping(members: object = {}): TestRequest {
  return legacy(JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'ping', ...members }))
}

/** Any text as the body of a client of the 2025 revisions. */
function legacy(body: string | Uint8Array): TestRequest {
  const headers = { 'mcp-protocol-version': '2025-11-25', 'mcp-method': null, 'mcp-name': null }
  return { body, headers }
}

/** A call of `echo` whose body is exactly this long. */
function callOfBytes(bytes: number): string {
  const call = (text: string): string =>
    JSON.stringify({
      jsonrpc: '2.0',
      id: 1,
      method: 'tools/call',
      params: { name: 'echo', arguments: { text }, _meta: META },
    })
  const body = call('x')
  return `${body}${' '.repeat(bytes - body.length)}`
}

const MCP_HEADERS = { 'mcp-method': 'tools/call', 'mcp-name': 'echo' }

describe('threat: another media type, a page posts a form that runs a tool', () => {
  it.each([
    ['none', null],
    ['the empty value', ''],
    ['text/plain', 'text/plain'],
    ['text/plain with JSON as a parameter', 'text/plain; application/json'],
    ['a form', 'application/x-www-form-urlencoded'],
    ['a multipart form', 'multipart/form-data; boundary=x'],
    ['text/json', 'text/json'],
    ['a suffix', 'application/vnd.api+json'],
    ['JSON lines', 'application/jsonl'],
    ['a longer name', 'application/jsonp'],
    ['a shorter name', 'application/jso'],
    ['null', 'null'],
    ['a wildcard', 'application/*'],
    ['two types', 'application/json, text/plain'],
    ['a foreign type first', 'text/plain, application/json'],
    ['a space before', ' application/json'],
    ['UTF-16', 'application/json; charset=utf-16'],
    ['UTF-7', 'application/json; charset=utf-7'],
    ['Latin-1', 'application/json; charset=iso-8859-1'],
    ['UTF-8 without its hyphen', 'application/json; charset=utf8'],
    ['an empty charset', 'application/json; charset='],
    ['single quotation marks', "application/json; charset='utf-8'"],
    ['two charsets', 'application/json; charset=utf-8; charset=utf-16'],
    ['another parameter', 'application/json; profile=x'],
    ['a semicolon', 'application/json;'],
    ['a comma after', 'application/json,'],
  ])('refuses %s, unread', async (_name, value) => {
    const response = await app.send({ headers: { 'content-type': value } })
    expectRefused(app, response, 415, 'parse-message.media-type')
    expect(response.bodyRead).toBe(false)
  })

  it.each([
    'application/json',
    'APPLICATION/JSON',
    'application/json; charset=utf-8',
    'application/json;charset=UTF-8',
    'application/json ; charset="utf-8"',
  ])('lets %j through', async (value) => {
    expectServed(await app.send({ headers: { 'content-type': value } }))
  })

  it.each([
    'gzip',
    'deflate',
    'br',
    'zstd',
    'compress',
    'x-gzip',
    'gzip, identity',
    '',
    'null',
    '*',
  ])('refuses the content coding %j, unread', async (value) => {
    const response = await app.send({ headers: { 'content-encoding': value } })
    expectRefused(app, response, 415, 'parse-message.encoding')
    expect(response.bodyRead).toBe(false)
  })

  it.each(['identity', 'IDENTITY'])('lets %s through, which is none', async (value) => {
    expectServed(await app.send({ headers: { 'content-encoding': value } }))
  })
})

describe('threat: an endless body, memory is used up by one request', () => {
  it.each([
    ['a length one over the limit', String(MAX_BYTES + 1)],
    ['a length of a gigabyte', '1073741824'],
    ['a length beyond all numbers', '9'.repeat(400)],
  ])('refuses %s before it has arrived', async (_name, length) => {
    const response = await app.send({ headers: { 'content-length': length } })
    expectRefused(app, response, 413, 'parse-message.too-large')
    expect(response.headers.get('connection')).toBe('close')
  })

  it.each([
    ['without a length', {}],
    ['with a length that lies', { 'content-length': '10' }],
    ['with a length that is none', { 'content-length': 'null' }],
    ['with an empty length', { 'content-length': '' }],
    ['chunked', { 'transfer-encoding': 'chunked' }],
  ])('stops reading one byte over the limit: %s', async (_name, headers) => {
    const chunks = [utf8(callOfBytes(MAX_BYTES)), utf8(' ')]
    const response = await app.send({ chunks, headers })
    expectRefused(app, response, 413, 'parse-message.too-large')
    expect(response.headers.get('connection')).toBe('close')
  })

  it('lets a body through that is exactly at the limit', async () => {
    const body = callOfBytes(MAX_BYTES)
    expect(body.length).toBe(MAX_BYTES)
    expectServed(await app.send({ body }))
    expectServed(await app.send({ chunks: [utf8(body)], headers: MCP_HEADERS }))
  })

  it('puts pieces together, also within a character', async () => {
    const bytes = utf8(JSON.stringify({ jsonrpc: '2.0', id: '\u65e5\u672c', method: 'ping' }))
    const chunks = [...bytes].map((byte) => Uint8Array.of(byte))
    const response = await app.send({ ...ping(), chunks })
    expect(response).toMatchObject({ status: 200, json: { id: '\u65e5\u672c' } })
  })

  it.each(['in-body', 'at-verification'] as const)(
    'ends a request whose body never arrives whole: the client leaves %s',
    async (leaves) => {
      const response = await app.send({ leaves })
      expect(response).toMatchObject({ status: 400, reached: 0 })
      expect(response.events.map(({ event }) => event)).toEqual(['request'])
    },
  )
})

const ofKey = (bytes: Uint8Array): Uint8Array => Buffer.concat([utf8('{"a":"'), bytes, utf8('"}')])

describe('threat: bytes that are read in two ways, the check and the code see different text', () => {
  it.each([
    ['an overlong slash', ofKey(Uint8Array.of(0xc0, 0xaf))],
    ['an overlong zero byte', ofKey(Uint8Array.of(0xc0, 0x80))],
    ['a lone continuation byte', ofKey(Uint8Array.of(0x80))],
    ['a character that is cut off', ofKey(Uint8Array.of(0xe2, 0x82))],
    ['a surrogate in UTF-8', ofKey(Uint8Array.of(0xed, 0xa0, 0x80))],
    ['a character past the last one', ofKey(Uint8Array.of(0xf4, 0x90, 0x80, 0x80))],
    ['Latin-1', ofKey(Uint8Array.of(0xe9))],
    ['a byte that is never one', ofKey(Uint8Array.of(0xff))],
    ['UTF-16, little-endian with its mark', Buffer.from('\ufeff{"jsonrpc":"2.0"}', 'utf16le')],
    ['a gzip body', Uint8Array.of(0x1f, 0x8b, 0x08, 0)],
  ])('refuses what is not UTF-8: %s', async (_name, body) => {
    expectRefused(app, await app.send(legacy(body)), 400, 'parse-message.not-utf8')
  })

  it.each([
    ['nothing', ''],
    ['a space', ' '],
    ['a zero byte', '\0'],
    ['a byte order mark', `\ufeff${ping().body}`],
    ['a byte order mark after', `${ping().body}\ufeff`],
    ['UTF-16, little-endian without a mark', Buffer.from('{"jsonrpc":"2.0"}', 'utf16le')],
    ['something after it', `${ping().body}x`],
    ['a second message', `${ping().body}${ping().body}`],
    ['a second message on a line of its own', `${ping().body}\n${ping().body}`],
    ['an open object', '{'],
    ['an open string', '{"a'],
    ['an open escape', '{"a\\'],
    ['a closing bracket too many', '{}}'],
    ['crossed brackets', '{"a":[}]'],
    ['a comma last', '{"jsonrpc":"2.0",}'],
    ['a comment', '{/* */}'],
    ['single quotation marks', "{'jsonrpc':'2.0'}"],
    ['a name without quotation marks', '{jsonrpc:"2.0"}'],
    ['not a number', '{"a":NaN}'],
    ['infinity', '{"a":Infinity}'],
    ['a hexadecimal number', '{"a":0x1}'],
    ['a zero before', '{"a":01}'],
    ['undefined', 'undefined'],
    ['a line feed in a string', '{"a":"\n"}'],
    ['an unknown escape', '{"\\x41":1}'],
    ['a wrong escape', '{"\\u00g0":1}'],
    ['XML', '<methodCall/>'],
    ['a form', 'jsonrpc=2.0&method=ping'],
    ['an event stream', `data: ${ping().body}`],
  ])('refuses what is not JSON: %s', async (_name, body) => {
    expectRefused(app, await app.send(legacy(body)), 400, 'parse-message.not-json')
  })

  const nested = (depth: number): string =>
    `{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":${'['.repeat(depth - 2)}${']'.repeat(depth - 2)}}}`

  it.each<[string, DenyReason, string]>([
    ['65 levels', 'parse-message.too-deep', nested(65)],
    ['a million levels', 'parse-message.too-deep', '['.repeat(1_000_000)],
    ['a million levels of objects', 'parse-message.too-deep', '{"a":'.repeat(200_000)],
    ['a name twice', 'parse-message.duplicate-name', '{"method":"ping","method":"tools/call"}'],
    ['a name twice, escaped', 'parse-message.duplicate-name', '{"method":1,"m\\u0065thod":2}'],
    ['a name twice, spaced', 'parse-message.duplicate-name', '{"a" : 1 , "a"\n:\t2}'],
    ['a name twice, deep inside', 'parse-message.duplicate-name', '{"a":[{"b":{"c":1,"c":2}}]}'],
    ['an empty name twice', 'parse-message.duplicate-name', '{"":1,"":2}'],
    ['constructor twice', 'parse-message.duplicate-name', '{"constructor":1,"constructor":2}'],
    ['__proto__', 'parse-message.forbidden-name', '{"__proto__":{"admin":true}}'],
    ['__proto__, escaped', 'parse-message.forbidden-name', '{"\\u005f_proto__":{}}'],
    [
      '__proto__, deep inside',
      'parse-message.forbidden-name',
      '{"params":{"a":[{"__proto__":1}]}}',
    ],
    ['a lone high surrogate', 'parse-message.lone-surrogate', '{"a":"\\ud800"}'],
    ['a lone low surrogate', 'parse-message.lone-surrogate', '{"a":"\\udc00"}'],
    ['surrogates the wrong way round', 'parse-message.lone-surrogate', '{"a":"\\udc00\\ud800"}'],
    ['a lone surrogate in a name', 'parse-message.lone-surrogate', '{"\\uD83D":1}'],
  ])('refuses %s', async (_name, reason, body) => {
    expectRefused(app, await app.send(legacy(body)), 400, reason)
  })

  it.each([
    ['64 levels', nested(64)],
    ['one name in two objects', '{"jsonrpc":"2.0","id":1,"method":"ping","params":{"id":1}}'],
    ['__proto__ as a value', '{"jsonrpc":"2.0","id":"__proto__","method":"ping"}'],
    ['a pair of surrogates', '{"jsonrpc":"2.0","id":"\\ud83d\\ude00","method":"ping"}'],
    [
      'names of inherited properties',
      '{"jsonrpc":"2.0","id":1,"method":"ping","params":{"toString":1}}',
    ],
    ['white space around', ' \r\n\t{"jsonrpc":"2.0","id":1,"method":"ping"}\n'],
  ])('lets %s through', async (_name, body) => {
    expect(await app.send(legacy(body))).toMatchObject({ status: 200, reached: 1 })
  })
})

describe('threat: more or less than one message, a part of it passes unchecked', () => {
  const one = '{"jsonrpc":"2.0","id":1,"method":"ping"}'

  it.each([
    ['an empty batch', '[]'],
    ['a batch of one', `[${one}]`],
    ['a batch of two', `[${one},${one}]`],
    ['a batch in a batch', `[[${one}]]`],
    ['a string', JSON.stringify(one)],
    ['a number', '1'],
    ['null', 'null'],
    ['true', 'true'],
    ['an empty object', '{}'],
    ['a response', '{"jsonrpc":"2.0","id":1,"result":{}}'],
    ['an error', '{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"x"}}'],
    ['a request that is a response too', '{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}'],
    ['a request that is an error too', '{"jsonrpc":"2.0","id":1,"method":"ping","error":null}'],
    ['no version', '{"id":1,"method":"ping"}'],
    ['another version', '{"jsonrpc":"1.0","id":1,"method":"ping"}'],
    ['a version that is a number', '{"jsonrpc":2.0,"id":1,"method":"ping"}'],
    ['a version with a space', '{"jsonrpc":"2.0 ","id":1,"method":"ping"}'],
    ['no method', '{"jsonrpc":"2.0","id":1}'],
    ['a method that is null', '{"jsonrpc":"2.0","id":1,"method":null}'],
    ['a method that is a list', '{"jsonrpc":"2.0","id":1,"method":["ping"]}'],
    ['names in another case', '{"JSONRPC":"2.0","ID":1,"Method":"ping"}'],
  ])('refuses %s', async (_name, body) => {
    expectRefused(app, await app.send(legacy(body)), 400, 'parse-message.not-one-message')
  })

  it.each([
    ['null', 'null'],
    ['true', 'true'],
    ['an object', '{}'],
    ['a list', '[1]'],
    ['a fraction', '1.5'],
    ['one over the largest safe integer', '9007199254740992'],
    ['one under the smallest', '-9007199254740992'],
    ['infinity by overflow', '1e400'],
    ['a string of 257 characters', JSON.stringify('x'.repeat(257))],
  ])('refuses the id %s, and the progress token', async (_name, value) => {
    const id = `{"jsonrpc":"2.0","id":${value},"method":"ping"}`
    expectRefused(app, await app.send(legacy(id)), 400, 'parse-message.not-one-message')
    const token = `{"jsonrpc":"2.0","id":1,"method":"ping","params":{"_meta":{"progressToken":${value}}}}`
    expectRefused(app, await app.send(legacy(token)), 400, 'parse-message.not-one-message')
  })

  it.each([0, -1, 9_007_199_254_740_991, '', '0', 'null', 'constructor', 'x'.repeat(256)])(
    'lets the id %j through, and the progress token',
    async (id) => {
      const response = await app.send(ping({ id, params: { _meta: { progressToken: id } } }))
      expect(response).toMatchObject({ status: 200, reached: 1, json: { id, result: {} } })
    },
  )

  it.each([
    ['null', null],
    ['a list', [1]],
    ['a string', 'x'],
    ['a number', 0],
  ])('refuses params that are %s, and _meta', async (_name, value) => {
    const params = await app.send(ping({ params: value }))
    expectRefused(app, params, 400, 'parse-message.not-one-message')
    const meta = await app.send(ping({ params: { _meta: value } }))
    expectRefused(app, meta, 400, 'parse-message.not-one-message')
  })

  it('does not echo what it refuses', async () => {
    const canary = 'canary-value'
    const response = await app.send(legacy(`{"${canary}":1,"${canary}":2}`))
    expectRefused(app, response, 400, 'parse-message.duplicate-name', { canary })
  })
})
