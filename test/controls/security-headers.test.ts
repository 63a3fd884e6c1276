import { describe, expect, it } from 'vitest'
import { type TestRequest, testApp } from '../app.ts'

const HEADERS = {
  'cache-control': 'no-store',
  'content-security-policy': "default-src 'none'; base-uri 'none'; frame-ancestors 'none'",
  'cross-origin-resource-policy': 'same-site',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
}

/** Requests that end at different controls. */
const REQUESTS: readonly (readonly [string, number, TestRequest])[] = [
  ['a call', 200, {}],
  ['a document', 200, { method: 'GET', target: '/.well-known/oauth-protected-resource/mcp' }],
  ['an old protocol version', 400, { httpVersion: '1.0' }],
  ['another host', 421, { headers: { host: 'evil.example' } }],
  ['another page', 403, { headers: { origin: 'https://evil.example' } }],
  ['another path', 404, { target: '/' }],
  ['another method', 405, { method: 'PUT' }],
  ['no credential', 401, { headers: { authorization: null } }],
  ['another media type', 415, { headers: { 'content-type': 'text/plain' } }],
  ['a body that is not JSON', 400, { body: '{' }],
  [
    'a preflight',
    204,
    {
      method: 'OPTIONS',
      headers: { origin: 'http://localhost:5173', 'access-control-request-method': 'POST' },
    },
  ],
]

describe('threat: sniffing, framing and caching, an answer becomes a page or somebody else reads it', () => {
  const app = testApp()

  it.each(REQUESTS)('says on %s (%i) what it is and that nobody keeps it', async (...row) => {
    const [, status, request] = row
    const response = await app.send(request)
    expect(response.status).toBe(status)
    expect(Object.fromEntries(response.headers)).toMatchObject(HEADERS)
    const type = response.text === '' ? null : 'application/json'
    expect(response.headers.get('content-type')).toBe(type)
  })

  it.each(['server', 'x-powered-by', 'set-cookie', 'via', 'last-modified', 'etag'])(
    'sends no %s',
    async (name) => {
      for (const [, , request] of REQUESTS) {
        expect((await app.send(request)).headers.has(name)).toBe(false)
      }
    },
  )
})

describe('threat: a downgrade, a browser is led back to plain HTTP', () => {
  const overTls = testApp({ tls: true })
  const plain = testApp()

  it.each(REQUESTS)('says on %s (%i) that TLS stays, over TLS alone', async (...row) => {
    const [, , request] = row
    const header = 'strict-transport-security'
    expect((await overTls.send(request)).headers.get(header)).toBe('max-age=31536000')
    expect((await plain.send(request)).headers.has(header)).toBe(false)
  })
})
