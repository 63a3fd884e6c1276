import { describe, expect, it } from 'vitest'
import { type TestApp, type TestAppOptions, type TestRequest, testApp } from '../app.ts'
import { expectRefused, expectServed } from '../expect-refused.ts'
import { daysFromNow, keyFile } from '../key-file.ts'

const LIMIT = 3

function limitedApp(options: TestAppOptions = {}): TestApp {
  return testApp({
    ...options,
    policies: (shipped) => ({
      ...shipped,
      limits: {
        ...shipped.limits,
        address: { ...shipped.limits.address, requestsPerMinute: LIMIT },
      },
    }),
  })
}

const STRANGER: TestRequest = { headers: { authorization: null } }

/** Uses up what one address has. */
async function useUp(app: TestApp, peer?: string): Promise<void> {
  for (let count = 0; count < LIMIT; count += 1) {
    const request = peer === undefined ? STRANGER : { ...STRANGER, peer }
    expectRefused(app, await app.send(request), 401, 'authenticate.missing')
  }
}

describe('threat: a flood from one address, what everybody needs is used up by strangers', () => {
  it.each<[string, TestRequest]>([
    ['without credential', STRANGER],
    ['with a credential that is none', { headers: { authorization: 'Bearer canary-value' } }],
    ['with two credentials', { headers: { authorization: 'Bearer canary-value, Bearer x' } }],
    ['with another scheme', { headers: { authorization: 'Basic canary-value' } }],
    [
      'a preflight',
      {
        method: 'OPTIONS',
        headers: {
          authorization: null,
          origin: 'http://localhost:5173',
          'access-control-request-method': 'POST',
        },
      },
    ],
    [
      'for a document',
      { ...STRANGER, method: 'GET', target: '/.well-known/oauth-protected-resource' },
    ],
    ['for an unknown path', { ...STRANGER, target: '/robots.txt' }],
    ['for another host', { headers: { authorization: null, host: 'evil.example' } }],
  ])('refuses one request too many: %s', async (_name, request) => {
    const app = limitedApp()
    await useUp(app)
    const response = await app.send(request)

    expectRefused(app, response, 429, 'address-limit.exceeded', { canary: 'canary-value' })
    expect(response.headers.get('retry-after')).toMatch(/^(59|60)$/)
    expect(response.headers.get('ratelimit-policy')).toBe('"address";q=3;w=60')
    expect(response.headers.get('ratelimit')).toMatch(/^"address";r=0;t=(59|60)$/)
    expect(response.bodyRead).toBe(false)
    expect(app.verified()).toBe(0)
  })

  it('counts requests that later controls refuse', async () => {
    const app = limitedApp()
    for (const target of ['/a', '/b', '/c']) await app.send({ ...STRANGER, target })
    expectRefused(app, await app.send(STRANGER), 429, 'address-limit.exceeded')
  })

  it('serves an address again after a minute, and not before', async () => {
    let now = 0
    const app = limitedApp({ now: () => now })
    await useUp(app)
    now = 59_999
    expectRefused(app, await app.send(STRANGER), 429, 'address-limit.exceeded')
    now = 60_000
    expectRefused(app, await app.send(STRANGER), 401, 'authenticate.missing')
  })

  it('lets a page read when it may come back', async () => {
    const app = limitedApp()
    await useUp(app)
    const headers = { authorization: null, origin: 'http://localhost:5173' }
    const response = await app.send({ headers })
    expectRefused(app, response, 429, 'address-limit.exceeded')
    expect(response.headers.get('access-control-allow-origin')).toBe('http://localhost:5173')
    expect(response.headers.get('access-control-expose-headers')).toContain('Retry-After')
  })

  it.each([
    ['addresses of one IPv6 network', '2001:db8:1:2::1', '2001:db8:1:2:ffff:ffff:ffff:ffff', true],
    ['the same address written out', '2001:db8:1:2::1', '2001:0db8:0001:0002:0:0:0:0001', true],
    ['an IPv4 address mapped into IPv6', '198.51.100.1', '::ffff:198.51.100.1', true],
    ['the next IPv6 network', '2001:db8:1:2::1', '2001:db8:1:3::1', false],
    ['the next IPv4 address', '198.51.100.1', '198.51.100.2', false],
  ])('counts %s: %s and %s together is %s', async (_name, peer, other, isOne) => {
    const app = limitedApp()
    await useUp(app, peer)
    const response = await app.send({ ...STRANGER, peer: other })
    if (isOne) expectRefused(app, response, 429, 'address-limit.exceeded')
    else expectRefused(app, response, 401, 'authenticate.missing')
  })
})

describe('threat: a noisy neighbour, everybody behind one address is locked out', () => {
  it('serves a live key however noisy its address is', async () => {
    const app = limitedApp()
    await useUp(app)
    for (let count = 0; count < 2 * LIMIT; count += 1) expectServed(await app.send())
    expectRefused(app, await app.send(STRANGER), 429, 'address-limit.exceeded')
  })

  it.each([
    ['an expired key', { expiresAt: daysFromNow(-1) }],
    ['a revoked key', { revokedAt: daysFromNow(-1) }],
    ['a key that is revoked from tomorrow', { revokedAt: daysFromNow(1) }],
    ['a key of another network', { allowedCidrs: ['192.0.2.0/24'] }],
    ['a key that is not valid yet', { createdAt: daysFromNow(1) }],
  ])('serves %s no more than a stranger', async (_name, record) => {
    const { file, keys } = keyFile(record, {})
    const [dead = '', live = ''] = keys
    const app = limitedApp({ env: { MCP_API_KEYS_FILE: file } })
    await useUp(app)
    const response = await app.send({ headers: { authorization: `Bearer ${dead}` } })
    expectRefused(app, response, 429, 'address-limit.exceeded', { canary: dead })
    expectServed(await app.send({ headers: { authorization: `Bearer ${live}` } }))
  })

  it.each([
    ['the key and something after it', (key: string) => `Bearer ${key} x`],
    ['the key twice', (key: string) => `Bearer ${key}, Bearer ${key}`],
    ['the key with another end', (key: string) => `Bearer ${key.slice(0, -1)}`],
    ['the key under another scheme', (key: string) => `Basic ${key}`],
    ['the key alone', (key: string) => key],
  ])('does not take %s for a live key', async (_name, write) => {
    const app = limitedApp()
    await useUp(app)
    const response = await app.send({ headers: { authorization: write(app.key) } })
    expectRefused(app, response, 429, 'address-limit.exceeded')
  })
})
