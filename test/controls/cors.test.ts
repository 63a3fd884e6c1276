import { describe, expect, it } from 'vitest'
import { HOST, META, type TestRequest, testApp } from '../app.ts'
import { expectRefused, expectServed } from '../expect-refused.ts'

const PAGE = 'https://app.example.com'
const app = testApp({
  env: { NODE_ENV: 'production' },
  policies: (shipped) => ({
    ...shipped,
    auth: { ...shipped.auth, apiKeys: { ...shipped.auth.apiKeys, header: 'x-api-key' } },
    http: { ...shipped.http, origins: [{ value: PAGE, why: 'a test' }] },
  }),
})

function preflight(headers: Readonly<Record<string, string | null>> = {}): TestRequest {
  return {
    method: 'OPTIONS',
    headers: {
      origin: PAGE,
      'access-control-request-method': 'POST',
      'access-control-request-headers': 'authorization,content-type',
      authorization: null,
      ...headers,
    },
  }
}

/** Requests that end at different controls, by the status of their answer. */
const REQUESTS: readonly (readonly [string, number, TestRequest])[] = [
  ['a call', 200, {}],
  ['a document', 200, { method: 'GET', target: '/.well-known/oauth-protected-resource' }],
  ['another path', 404, { target: '/' }],
  ['another method', 405, { method: 'DELETE' }],
  ['no credential', 401, { headers: { authorization: null } }],
  ['a bad credential', 401, { headers: { authorization: 'Bearer x' } }],
  ['two credentials', 400, { headers: { 'x-api-key': 'mcpk_x' } }],
  ['another media type', 415, { headers: { 'content-type': 'text/plain' } }],
  ['a body that is not JSON', 400, { body: '{' }],
  ['another host', 421, { headers: { host: 'evil.example' } }],
]

const withOrigin = (request: TestRequest, origin: string): TestRequest => ({
  ...request,
  headers: { ...request.headers, origin },
})
const corsOf = (headers: Headers): string[] =>
  [...headers.keys()].filter((name) => name.startsWith('access-control-'))

describe('threat: a foreign page reads answers, what a victim may see leaks to it', () => {
  it.each(REQUESTS)('lets a listed page read the answer to %s (%i)', async (...row) => {
    const [, status, request] = row
    const { status: actual, headers } = await app.send(withOrigin(request, PAGE))
    expect(actual).toBe(status)
    expect(corsOf(headers)).toEqual([
      'access-control-allow-origin',
      'access-control-expose-headers',
    ])
    expect(headers.get('access-control-allow-origin')).toBe(PAGE)
    expect(headers.get('access-control-expose-headers')?.split(', ')).toEqual([
      'WWW-Authenticate',
      'DPoP-Nonce',
      'Retry-After',
      'RateLimit',
      'RateLimit-Policy',
      'Mcp-Session-Id',
      'x-request-id',
    ])
  })

  it('lets a listed page read that a scope is missing, and which', async () => {
    const weak = testApp({ scopes: ['mcp:use'] })
    const { status, headers } = await weak.send({
      headers: { origin: 'http://localhost:5173' },
      body: {
        jsonrpc: '2.0',
        id: 1,
        method: 'prompts/get',
        params: { name: 'summarize_report', _meta: META },
      },
    })
    expect(status).toBe(403)
    expect(headers.get('access-control-allow-origin')).toBe('http://localhost:5173')
    expect(headers.get('www-authenticate')).toContain('reports:read')
  })

  it.each(REQUESTS)('gives a foreign page no CORS header for %s', async (...row) => {
    const [, , request] = row
    for (const origin of ['https://evil.example', 'null', '', `${PAGE}.evil.example`]) {
      const { status, headers } = await app.send(withOrigin(request, origin))
      expect([403, 421]).toContain(status)
      expect(corsOf(headers)).toEqual([])
    }
  })

  it.each([
    ['the listed one first', [PAGE, 'https://evil.example']],
    ['the listed one last', ['https://evil.example', PAGE]],
    ['the listed one twice', [PAGE, PAGE]],
  ])('gives a request with two origins no CORS header: %s', async (_name, origins) => {
    const wire = origins.map((origin) => ['origin', origin] as const)
    const response = await app.send({ wire: [['host', HOST], ...wire] })
    expectRefused(app, response, 400, 'wire-guard.duplicate-header')
    expect(corsOf(response.headers)).toEqual([])
  })

  it.each(REQUESTS)('gives a caller without origin no CORS header for %s', async (...row) => {
    const [, status, request] = row
    const response = await app.send(request)
    expect(response.status).toBe(status)
    expect(corsOf(response.headers)).toEqual([])
  })
})

describe('threat: a shared cache, the answer for one page is handed to another', () => {
  it.each([...REQUESTS, ['a preflight', 204, preflight()] as const])(
    'varies %s (%i) by origin, with and without one',
    async (...row) => {
      const [, , request] = row
      for (const sent of [request, withOrigin(request, PAGE), withOrigin(request, 'null')]) {
        expect((await app.send(sent)).headers.get('vary')).toBe('Origin')
      }
    },
  )
})

describe('threat: a lenient preflight, a page learns to send what it may not', () => {
  it('answers a listed page with fixed lists', async () => {
    const response = await app.send(preflight())
    expect(response).toMatchObject({ status: 204, text: '', reached: 0, bodyRead: false })
    expect(Object.fromEntries(response.headers)).toMatchObject({
      'access-control-allow-origin': PAGE,
      'access-control-allow-methods': 'POST',
      'access-control-max-age': '600',
      'cache-control': 'no-store',
    })
    const allowed = response.headers.get('access-control-allow-headers')?.split(', ')
    expect(allowed).toEqual([
      'Authorization',
      'Content-Type',
      'Accept',
      'MCP-Protocol-Version',
      'Mcp-Method',
      'Mcp-Name',
      'Mcp-Session-Id',
      'Last-Event-ID',
      'DPoP',
      'traceparent',
      'tracestate',
      'x-api-key',
    ])
  })

  it.each([
    ['stateless', false, 'POST'],
    ['sessions', false, 'POST, GET, DELETE'],
    ['stateless', true, 'POST, GET'],
    ['sessions', true, 'POST, GET, DELETE'],
  ] as const)(
    'offers the methods of legacy %s and HTTP+SSE %s',
    async (legacy, httpSse, methods) => {
      const switched = testApp({
        policies: (shipped) => ({
          ...shipped,
          http: {
            ...shipped.http,
            origins: [{ value: PAGE, why: 'the page of the test' }],
            protocol: { legacy, httpSse },
          },
        }),
      })
      const { headers } = await switched.send(preflight())
      switched.close()
      expect(headers.get('access-control-allow-methods')).toBe(methods)
    },
  )

  it('never offers credentials mode or the private network', async () => {
    const response = await app.send(preflight({ 'access-control-request-private-network': 'true' }))
    expect(response.status).toBe(204)
    expect(corsOf(response.headers)).not.toContain('access-control-allow-credentials')
    expect(corsOf(response.headers)).not.toContain('access-control-allow-private-network')
  })

  it.each([
    ['a method', { 'access-control-request-method': 'CANARY' }],
    ['a header', { 'access-control-request-headers': 'x-canary' }],
    ['all headers', { 'access-control-request-headers': '*' }],
    ['an empty list', { 'access-control-request-headers': '' }],
  ])('reflects nothing that is asked for: %s', async (_name, headers) => {
    const response = await app.send(preflight(headers))
    const usual = await app.send(preflight())
    const lists = ['access-control-allow-methods', 'access-control-allow-headers']
    for (const name of lists) expect(response.headers.get(name)).toBe(usual.headers.get(name))
    expect(JSON.stringify([...response.headers]).toLowerCase()).not.toContain('canary')
  })

  it.each([
    ['none', null],
    ['a live key', `Bearer ${app.key}`],
    ['a bad one', 'Bearer x'],
  ])('never authenticates, whatever the credential: %s', async (_name, authorization) => {
    const before = app.verified()
    const response = await app.send(preflight({ authorization }))
    expect(response).toMatchObject({ status: 204, reached: 0, bodyRead: false })
    expect(app.verified()).toBe(before)
    expect(response.events.map(({ event }) => event)).toEqual(['request'])
  })

  it.each(['https://evil.example', 'null', '', `${PAGE}/`, `${PAGE}:443`])(
    'refuses the page %j',
    async (origin) => {
      const response = await app.send(preflight({ origin }))
      expectRefused(app, response, 403, 'origin-guard.not-allowed')
    },
  )

  it.each([
    ['no origin', preflight({ origin: null })],
    ['no method', preflight({ 'access-control-request-method': null })],
  ])('takes OPTIONS with %s for any other method', async (_name, request) => {
    expectRefused(app, await app.send(request), 405, 'route.method-not-allowed')
  })

  it('lets a listed page call afterwards', async () => {
    expectServed(await app.send({ headers: { origin: PAGE } }))
  })
})
