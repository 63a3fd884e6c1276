import { describe, expect, it } from 'vitest'
import { testApp } from '../app.ts'
import { expectRefused, expectServed } from '../expect-refused.ts'

const LISTED = 'https://app.example.com'
const WITH_PORT = 'https://console.example.com:8443'
const production = testApp({
  env: { NODE_ENV: 'production' },
  policies: (shipped) => ({
    ...shipped,
    http: {
      ...shipped.http,
      origins: [LISTED, WITH_PORT].map((value) => ({ value, why: 'a test' })),
    },
  }),
})

describe('threat: a foreign page, it drives this server with the network position of its visitor', () => {
  it.each([
    ['the opaque origin', 'null'],
    ['the empty value', ''],
    ['a foreign origin', 'https://evil.example'],
    ['a property of all objects', 'constructor'],
    ['the prototype', '__proto__'],
    ['a wildcard', '*'],
    ['the server itself, which is not on the list', 'https://mcp.example.com'],
    ['the same host over plain HTTP', 'http://app.example.com'],
    ['another scheme', 'wss://app.example.com'],
    ['an extension', 'chrome-extension://app.example.com'],
    ['a file', 'file://'],
    ['the host alone', 'app.example.com'],
    ['no scheme', '//app.example.com'],
    ['upper case', 'https://APP.example.com'],
    ['a scheme in upper case', 'HTTPS://app.example.com'],
    ['the default port, spelled out', `${LISTED}:443`],
    ['another port', `${LISTED}:8443`],
    ['an empty port', `${LISTED}:`],
    ['a listed origin without its port', 'https://console.example.com'],
    ['a listed port with a zero before it', 'https://console.example.com:08443'],
    ['a trailing slash', `${LISTED}/`],
    ['a path', `${LISTED}/mcp`],
    ['a query', `${LISTED}?`],
    ['a fragment', `${LISTED}#`],
    ['a trailing dot', `${LISTED}.`],
    ['userinfo', 'https://user@app.example.com'],
    ['a listed origin as userinfo', `${LISTED}@evil.example`],
    ['a listed origin as a prefix', `${LISTED}.evil.example`],
    ['a listed host as a suffix', 'https://evil-app.example.com'],
    ['a subdomain', 'https://a.app.example.com'],
    ['the parent domain', 'https://example.com'],
    ['one character less', LISTED.slice(0, -1)],
    ['one character more', `${LISTED}x`],
    ['two origins', `${LISTED} ${LISTED}`],
    ['two origins with a comma', `${LISTED},${WITH_PORT}`],
    ['a foreign origin first', `https://evil.example, ${LISTED}`],
    ['a space before', ` ${LISTED}`],
    ['a space after', `${LISTED} `],
    ['a tab', `${LISTED}\t`],
    ['a zero byte', `${LISTED}\0`],
    ['a percent escape', 'https://app%2eexample.com'],
    ['a backslash', 'https:\\\\app.example.com'],
    ['a Cyrillic look-alike', 'https://\u0430pp.example.com'],
    ['its punycode', 'https://xn--pp-7kc.example.com'],
    ['full-width letters', 'https://\uff41pp.example.com'],
    ['a zero-width joiner', 'https://app\u200d.example.com'],
    ['loopback', 'http://localhost'],
    ['loopback on a port', 'http://127.0.0.1:3000'],
    ['loopback over IPv6', 'http://[::1]:3000'],
  ])('refuses %s', async (_name, origin) => {
    const before = production.verified()
    const response = await production.send({ headers: { origin } })

    expectRefused(production, response, 403, 'origin-guard.not-allowed')
    expect(response.bodyRead).toBe(false)
    expect(production.verified()).toBe(before)
    expect(response.headers.has('access-control-allow-origin')).toBe(false)
  })

  it.each([
    ['a listed origin', LISTED],
    ['a listed origin with its port', WITH_PORT],
    ['no origin, which is not a browser', null],
  ])('lets %s through', async (_name, origin) => {
    expectServed(await production.send({ headers: { origin } }))
  })

  it('refuses every page as shipped', async () => {
    const shipped = testApp({ env: { NODE_ENV: 'production' } })
    const response = await shipped.send({ headers: { origin: LISTED } })
    expectRefused(shipped, response, 403, 'origin-guard.not-allowed')
  })

  it('does not echo what it refuses', async () => {
    const canary = 'https://canary-7f3a.example'
    const response = await production.send({ headers: { origin: canary } })
    expectRefused(production, response, 403, 'origin-guard.not-allowed', { canary })
  })
})

describe('threat: a request without Origin, a page hides where it comes from', () => {
  it('refuses what the browser says is cross-site', async () => {
    const response = await production.send({ headers: { 'sec-fetch-site': 'cross-site' } })
    expectRefused(production, response, 403, 'origin-guard.cross-site')
    expect(response.bodyRead).toBe(false)
  })

  it.each(['', 'null', 'none', 'same-origin', 'same-site', 'constructor', 'Cross-Site'])(
    'lets Sec-Fetch-Site %j through, which no browser sends cross-site',
    async (value) => {
      expectServed(await production.send({ headers: { 'sec-fetch-site': value } }))
    },
  )

  it('lets a listed origin call cross-site', async () => {
    const headers = { origin: LISTED, 'sec-fetch-site': 'cross-site' }
    expectServed(await production.send({ headers }))
  })

  it.each(['referer', 'x-forwarded-origin', 'x-origin'])(
    'does not take the origin from %s',
    async (header) => {
      const headers = { origin: 'https://evil.example', [header]: LISTED }
      const response = await production.send({ headers })
      expectRefused(production, response, 403, 'origin-guard.not-allowed')
    },
  )
})

describe('threat: origins of development, pages that only look local', () => {
  const development = testApp()

  it.each([
    'http://localhost',
    'http://localhost:5173',
    'https://localhost:8443',
    'http://127.0.0.1:1',
    'http://[::1]:65535',
  ])('lets %s through in development', async (origin) => {
    expectServed(await development.send({ headers: { origin } }))
  })

  it.each([
    'null',
    '',
    'http://localhost.evil.example',
    'http://evil-localhost:5173',
    'http://localhost@evil.example',
    'http://user@localhost:5173',
    'http://localhost:5173/',
    'http://localhost:',
    'http://localhost.:5173',
    'http://LOCALHOST:5173',
    'http://localhost:123456',
    'http://localhost:5173.evil.example',
    'http://127.0.0.1.evil.example',
    'http://127.0.0.2:3000',
    'http://127.1:3000',
    'http://2130706433',
    'http://0x7f000001',
    'http://0177.0.0.1',
    'http://0.0.0.0:3000',
    'http://[::ffff:127.0.0.1]:3000',
    'http://[0:0:0:0:0:0:0:1]:3000',
    'ws://localhost:5173',
    'file://localhost',
    'https://evil.example',
  ])('refuses %j in development', async (origin) => {
    const response = await development.send({ headers: { origin } })
    expectRefused(development, response, 403, 'origin-guard.not-allowed')
  })

  it('lets only its own page call a server without authentication', async () => {
    const env = {
      MCP_DANGEROUSLY_ALLOW_ANONYMOUS: 'true',
      MCP_PUBLIC_URL: 'http://127.0.0.1:3000/mcp',
    }
    const anonymous = testApp({ env })
    const headers = { host: '127.0.0.1:3000', authorization: null }
    const own = await anonymous.send({ headers: { ...headers, origin: 'http://localhost:3000' } })
    expectServed(own)
    for (const origin of ['http://localhost:5173', 'http://localhost', 'https://localhost:3000']) {
      const response = await anonymous.send({ headers: { ...headers, origin } })
      expectRefused(anonymous, response, 403, 'origin-guard.not-allowed')
    }
  })
})
