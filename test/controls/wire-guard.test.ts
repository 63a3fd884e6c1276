import { describe, expect, it } from 'vitest'
import { HOST, PUBLIC_URL, testApp, type WireHeaders } from '../app.ts'
import { expectRefused, expectServed } from '../expect-refused.ts'

const app = testApp()

/** The headers of a good call, then others. */
function callWith(...more: WireHeaders): { wire: WireHeaders; body: string } {
  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'ping' })
  return {
    body,
    wire: [
      ['Host', HOST],
      ['Authorization', `Bearer ${app.key}`],
      ['Content-Type', 'application/json'],
      ['Accept', 'application/json, text/event-stream'],
      ['Content-Length', String(body.length)],
      ['MCP-Protocol-Version', '2025-11-25'],
      ...more,
    ],
  }
}

describe('threat: doubled headers, a proxy or a check reads one value and the code the other', () => {
  it.each([
    ['Host', HOST],
    ['Host', 'evil.example'],
    ['Origin', 'http://localhost:5173'],
    ['Origin', 'null'],
    ['Origin', ''],
    ['Authorization', 'Bearer other'],
    ['authorization', ''],
    ['AUTHORIZATION', 'Basic x'],
    ['Content-Type', 'application/json'],
    ['Content-Type', 'text/plain'],
    ['Content-Length', '0'],
    ['Content-Encoding', 'gzip'],
    ['Transfer-Encoding', 'identity'],
    ['MCP-Protocol-Version', '2025-11-25'],
    ['Mcp-Method', 'ping'],
    ['Mcp-Name', 'echo'],
    ['Mcp-Session-Id', 'x'],
    ['Last-Event-ID', 'x'],
    ['Sec-Fetch-Site', 'same-origin'],
    ['traceparent', ''],
    ['Expect', '100-continue'],
    ['X-API-Key', 'x'],
    ['X-Unknown', 'x'],
    ['__proto__', 'x'],
    ['constructor', 'x'],
  ])('refuses two of %s, one of them %j', async (name, value) => {
    const once = callWith()
    const isThere = once.wire.some(([other]) => other.toLowerCase() === name.toLowerCase())
    const twice = isThere ? callWith([name, value]) : callWith([name, 'a'], [name, value])
    const response = await app.send(twice)
    expectRefused(app, response, 400, 'wire-guard.duplicate-header')
    expect(response.bodyRead).toBe(false)
  })

  it('sees a second one behind many others, in another case', async () => {
    const padding = Array.from({ length: 80 }, (_, index) => [`x-${index}`, ''] as const)
    const response = await app.send(callWith(...padding, ['aUTHORIZATION', 'Bearer canary-value']))
    expectRefused(app, response, 400, 'wire-guard.duplicate-header', { canary: 'canary-value' })
  })

  it.each([
    ['Accept', 'text/event-stream'],
    ['Accept-Language', 'en'],
    ['Via', '1.1 proxy'],
    ['X-Forwarded-For', '192.0.2.1'],
    ['Forwarded', 'for=192.0.2.1'],
    ['Cookie', 'a=b'],
    ['tracestate', 'a=b'],
    ['baggage', 'a=b'],
  ])('lets two of %s through, which is a list', async (name, value) => {
    const response = await app.send(callWith([name, value], [name, value]))
    expect(response).toMatchObject({ status: 200, reached: 1 })
  })

  it.each(['Origin', 'Mcp-Name', 'X-Unknown', '__proto__'])('lets one %s through', async (name) => {
    const value = name === 'Origin' ? 'http://localhost:5173' : 'ping'
    const response = await app.send(callWith([name, value]))
    expect(response).toMatchObject({ status: 200, reached: 1 })
  })
})

describe('threat: too many headers, the one that decides is dropped past a count', () => {
  const sent = callWith().wire.length
  const padding = (count: number): WireHeaders =>
    Array.from({ length: count }, (_, index) => [`x-${index}`, 'canary-value'])

  it.each([101, 102, 1000, 2001])('refuses %i headers', async (count) => {
    const response = await app.send(callWith(...padding(count - sent)))
    expectRefused(app, response, 431, 'wire-guard.too-many-headers', { canary: 'canary-value' })
    expect(response.bodyRead).toBe(false)
  })

  it.each([99, 100])('lets %i headers through', async (count) => {
    const response = await app.send(callWith(...padding(count - sent)))
    expect(response).toMatchObject({ status: 200, reached: 1 })
  })
})

describe('threat: an odd request target, a check and the router read it differently', () => {
  it.each([
    ['nothing', ''],
    ['an asterisk', '*'],
    ['no slash', 'mcp'],
    ['authority form', 'mcp.example.com:443'],
    ['two authorities', 'http://mcp.example.com\\@evil.example/mcp'],
    ['a backslash', '\\mcp'],
    ['a backslash in the path', '/\\mcp'],
    ['a fragment', '/mcp#'],
    ['a fragment with text', '/mcp#canary-value'],
    ['a space', '/mcp '],
    ['a tab', '/mcp\t'],
    ['a line feed', '/mcp\n'],
    ['a zero byte', '/mcp\0'],
    ['a byte over ASCII', '/mcp\u00e9'],
    ['a full-width letter', '/\uff4dcp'],
    ['a quotation mark', '/mcp"'],
    ['another scheme', 'ftp://mcp.example.com/mcp'],
    ['a script', 'javascript:alert(1)'],
    ['a file', 'file:///mcp'],
    ['a scheme in upper case', 'HTTP://mcp.example.com/mcp'],
    ['no authority', 'http:///mcp'],
    ['an authority without path', 'http://mcp.example.com'],
    ['an authority with a query', 'http://mcp.example.com?/mcp'],
    ['null', 'null'],
    ['a property of all objects', 'constructor'],
  ])('refuses %s', async (_name, target) => {
    const response = await app.send({ target })
    expectRefused(app, response, 400, 'wire-guard.target')
    expect(response.bodyRead).toBe(false)
  })

  it.each([
    ['origin form', '/mcp'],
    ['absolute form', `http://${HOST}/mcp`],
    ['absolute form over TLS', PUBLIC_URL],
  ])('lets %s through', async (_name, target) => {
    expectServed(await app.send({ target }))
  })
})

describe('threat: an old protocol version, rules about Host and length do not hold in it', () => {
  it.each(['1.0', '0.9', '2.0', '1.2', '', 'null', '1.1 '])('refuses %j', async (httpVersion) => {
    const response = await app.send({ httpVersion })
    expectRefused(app, response, 400, 'wire-guard.http-version')
  })

  it('lets 1.1 through', async () => {
    expectServed(await app.send({ httpVersion: '1.1' }))
  })
})
