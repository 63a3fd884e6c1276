import { describe, expect, it } from 'vitest'
import { rawPath } from '../../src/controls/route.ts'
import { HOST, testApp } from '../app.ts'
import { expectRefused, expectServed } from '../expect-refused.ts'

const app = testApp()
const DOCUMENT = '/.well-known/oauth-protected-resource'

describe('threat: path confusion, a path reaches a handler without its controls', () => {
  it.each([
    '/',
    '/MCP',
    '/Mcp',
    '//mcp',
    '///mcp',
    '/mcp/',
    '/mcp//',
    '/./mcp',
    '/mcp/.',
    '/../mcp',
    '/x/../mcp',
    '/mcp/..',
    '/%6dcp',
    '/%6Dcp',
    '/%2e/mcp',
    '/mcp%2f',
    '/mcp%00',
    '/mcp%20',
    '/mcp%3f',
    '/mcp;x',
    '/mcp;',
    '/;/mcp',
    '/mcp.',
    '/mcp.json',
    '/mcpx',
    '/mc',
    '/mcp/x',
    '/mcp*',
    '/*',
    '/:path',
    '/mcp@evil.example',
    '/constructor',
    '/__proto__',
    '/null',
    '/livez',
    '/readyz',
    '/metrics',
    '/sse',
    '/messages',
    '/authorize',
    '/token',
    '/register',
    '/.well-known/oauth-authorization-server',
    '/.well-known/openid-configuration',
    `${DOCUMENT}/`,
    `${DOCUMENT}/MCP`,
    `${DOCUMENT}/mcp/`,
    `${DOCUMENT}%2fmcp`,
    `/.well-known/../mcp`,
    '/.git/config',
    '/.env',
    '/package.json',
    `http://${HOST}/`,
    `http://${HOST}/mcp/`,
    `http://${HOST}//mcp`,
    `http://${HOST}/http://${HOST}/mcp`,
  ])('knows no %s', async (target) => {
    for (const request of [{ target }, { target, headers: { authorization: null } }]) {
      const response = await app.send(request)
      expectRefused(app, response, 404, 'route.not-found')
      expect(response.bodyRead).toBe(false)
    }
  })

  it.each([
    '/mcp?',
    '/mcp?x',
    '/mcp?access_token=canary-value',
    '/mcp??',
    `http://${HOST}/mcp?x=1`,
  ])('takes no query: %s', async (target) => {
    const response = await app.send({ target })
    expectRefused(app, response, 400, 'route.query', { canary: 'canary-value' })
  })

  it('takes no query on a document either', async () => {
    const response = await app.send({ method: 'GET', target: `${DOCUMENT}?resource=canary-value` })
    expectRefused(app, response, 400, 'route.query', { canary: 'canary-value' })
  })

  it.each(['/mcp', `http://${HOST}/mcp`])('knows %s', async (target) => {
    expectServed(await app.send({ target }))
  })

  it.each([DOCUMENT, `${DOCUMENT}/mcp`])('gives %s to anybody', async (target) => {
    const response = await app.send({ method: 'GET', target, headers: { authorization: null } })
    expect(response).toMatchObject({ status: 200, reached: 0 })
    expect(response.json).toEqual({
      resource: 'https://mcp.example.com/mcp',
      scopes_supported: ['documents:process', 'mcp:use', 'reports:delete', 'reports:read'],
      bearer_methods_supported: ['header'],
    })
    expect(response.events.map(({ event }) => event)).toEqual(['request'])
  })
})

describe('threat: an unusual method, it runs what only another one may, or echoes headers', () => {
  it.each([
    'GET',
    'HEAD',
    'PUT',
    'PATCH',
    'DELETE',
    'OPTIONS',
    'PROPFIND',
    'QUERY',
    'post',
    'Post',
    'POSTX',
    'TRACE',
    'constructor',
    '__proto__',
  ])('refuses %j on /mcp', async (method) => {
    const response = await app.send({ method })
    const isHead = method === 'HEAD'
    expectRefused(app, response, 405, 'route.method-not-allowed', { isHead })
    expect(response.headers.get('allow')).toBe('POST')
    expect(response.bodyRead).toBe(false)
  })

  it.each([
    ['/mcp', 'GET, POST, DELETE', ['HEAD', 'PUT', 'PATCH', 'OPTIONS', 'TRACE']],
    ['/sse', 'GET', ['HEAD', 'POST', 'DELETE', 'OPTIONS']],
    ['/messages', 'POST', ['GET', 'HEAD', 'DELETE', 'OPTIONS']],
  ])('refuses other methods than those of sessions on %s', async (target, allow, others) => {
    const switched = testApp({
      policies: (shipped) => ({
        ...shipped,
        http: { ...shipped.http, protocol: { legacy: 'sessions', httpSse: true } },
      }),
    })
    for (const method of others) {
      const { status, headers } = await switched.send({ method, target })
      expect([status, headers.get('allow')]).toEqual([405, allow])
    }
    switched.close()
  })

  it.each(['POST', 'HEAD', 'PUT', 'DELETE', 'OPTIONS'])(
    'refuses %s on a document',
    async (method) => {
      const response = await app.send({ method, target: DOCUMENT })
      const isHead = method === 'HEAD'
      expectRefused(app, response, 405, 'route.method-not-allowed', { isHead })
      expect(response.headers.get('allow')).toBe('GET')
    },
  )

  it.each(['x-http-method-override', 'x-http-method', 'x-method-override', '_method'])(
    'takes no method from %s',
    async (header) => {
      const refused = await app.send({ method: 'GET', headers: { [header]: 'POST' } })
      expectRefused(app, refused, 405, 'route.method-not-allowed')
      expectServed(await app.send({ headers: { [header]: 'DELETE' } }))
    },
  )
})

describe('threat: another way in, a request attribute besides a credential opens a route', () => {
  it.each([
    ['user-agent', 'kube-probe/1.31'],
    ['user-agent', 'GoogleHC/1.0'],
    ['user-agent', 'ELB-HealthChecker/2.0'],
    ['x-forwarded-uri', DOCUMENT],
    ['x-original-url', DOCUMENT],
    ['x-rewrite-url', DOCUMENT],
    ['x-forwarded-method', 'GET'],
    ['x-forwarded-prefix', '/'],
    ['x-ssl-client-verify', 'SUCCESS'],
    ['x-forwarded-client-cert', 'Subject="CN=admin"'],
    ['x-forwarded-user', 'admin'],
    ['x-auth-request-user', 'admin'],
    ['remote-user', 'admin'],
    ['x-internal', 'true'],
    ['x-forwarded-for', '127.0.0.1'],
  ])('still wants a credential with %s: %s', async (header, value) => {
    const response = await app.send({ headers: { authorization: null, [header]: value } })
    expectRefused(app, response, 401, 'authenticate.missing')
  })

  it('still wants a credential from loopback', async () => {
    const response = await app.send({ headers: { authorization: null }, peer: '127.0.0.1' })
    expectRefused(app, response, 401, 'authenticate.missing')
  })
})

describe('contract: the raw path of a target', () => {
  it.each([
    ['/mcp', '/mcp'],
    ['/mcp?x', '/mcp'],
    ['/%6dcp', '/%6dcp'],
    ['/a/../mcp', '/a/../mcp'],
    ['//mcp', '//mcp'],
    ['http://h/mcp', '/mcp'],
    ['https://h:1/mcp?x', '/mcp'],
    ['http://h', '/'],
    ['http://h?/mcp', '/'],
    ['', '/'],
    ['/http://h/mcp', '/http://h/mcp'],
  ])('%j is %j', (target, path) => {
    expect(rawPath(target)).toBe(path)
  })
})
