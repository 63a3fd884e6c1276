import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { type CredentialSource, credentialOf } from '../../src/controls/authenticate.ts'
import { Denied } from '../../src/errors.ts'
import type { RawHeaders } from '../../src/raw-headers.ts'
import { type TestApp, type TestAppOptions, testApp, type WireHeaders } from '../app.ts'
import { expectRefused, expectServed } from '../expect-refused.ts'
import { daysFromNow, keyFile } from '../key-file.ts'

const METADATA =
  'resource_metadata="https://mcp.example.com/.well-known/oauth-protected-resource/mcp"'
const MISSING = `Bearer scope="mcp:use", ${METADATA}`
const INVALID = `Bearer error="invalid_token", scope="mcp:use", ${METADATA}`

function appWith(
  limits: { authFailuresPerMinute: number },
  options: TestAppOptions & { header?: string } = {},
): TestApp {
  return testApp({
    ...options,
    policies: (shipped) => ({
      ...shipped,
      auth: {
        ...shipped.auth,
        apiKeys: { ...shipped.auth.apiKeys, header: options.header ?? null },
      },
      limits: { ...shipped.limits, address: { ...shipped.limits.address, ...limits } },
    }),
  })
}

const app = appWith({ authFailuresPerMinute: 10_000 })
const withHeader = appWith({ authFailuresPerMinute: 10_000 }, { header: 'x-api-key' })
const { key } = app
const CANARY = 'canary-value'
const address = '192.0.2.1'
const sourceOf = (headers: RawHeaders): CredentialSource => ({
  headers,
  address,
  clientCertificate: undefined,
})

describe('threat: no credential, a stranger gets in', () => {
  it.each<[string, Record<string, string | null>]>([
    ['nothing', {}],
    ['a key in another header', { 'x-api-key': key }],
    ['a key in a cookie', { cookie: `access_token=${CANARY}; Authorization=${CANARY}` }],
    ['basic credentials for a proxy', { 'proxy-authorization': `Bearer ${CANARY}` }],
    ['a key in a forwarded header', { 'x-forwarded-authorization': `Bearer ${CANARY}` }],
    ['a key in the referrer', { referer: `https://mcp.example.com/?key=${CANARY}` }],
    ['a session id', { 'mcp-session-id': CANARY }],
  ])('refuses %s', async (_name, headers) => {
    const response = await app.send({ headers: { authorization: null, ...headers } })
    expectRefused(app, response, 401, 'authenticate.missing', { canary: CANARY })
    expect(response.headers.get('www-authenticate')).toBe(MISSING)
    expect(response.bodyRead).toBe(false)
  })

  it.each([
    ['form fields', `access_token=${key}`, 'application/x-www-form-urlencoded'],
    ['JSON', JSON.stringify({ access_token: key }), 'application/json'],
  ])('does not look for a key in a body of %s', async (_name, body, type) => {
    const headers = { authorization: null, 'content-type': type }
    const response = await app.send({ headers, body })
    expectRefused(app, response, 401, 'authenticate.missing')
    expect(response.bodyRead).toBe(false)
  })

  it.each(['access_token', 'token', 'api_key', 'authorization'])(
    'does not take a key from the query, as %s',
    async (name) => {
      const target = `/mcp?${name}=${key}`
      const response = await app.send({ target, headers: { authorization: null } })
      expectRefused(app, response, 400, 'route.query')
    },
  )
})

describe('threat: a credential that two parsers read differently, the wrong one is verified', () => {
  it.each([
    ['the empty value', ''],
    ['the scheme alone', 'Bearer'],
    ['the scheme and a space', 'Bearer '],
    ['the scheme in upper case alone', 'BEARER'],
    ['a space first', ` Bearer ${key}`],
    ['a space last', `Bearer ${key} `],
    ['a colon after the scheme', `Bearer: ${key}`],
    ['a tab between', `Bearer\t${key}`],
    ['a tab last', `Bearer ${key}\t`],
    ['a no-break space between', `Bearer\u00a0${key}`],
    ['two tokens', `Bearer ${key} ${key}`],
    ['two tokens with a comma', `Bearer ${key},${key}`],
    ['two credentials with a comma', `Bearer ${key}, Bearer ${key}`],
    ['another scheme after it', `Bearer ${key}, Basic dXNlcjpwYXNz`],
    ['a parameter after it', `Bearer ${key}; realm="x"`],
    ['a parameter', `Bearer token="${key}"`],
    ['quotation marks', `Bearer "${key}"`],
    ['angle brackets', `Bearer <${key}>`],
    ['the scheme twice', `Bearer Bearer ${key}`],
    ['a zero byte', `Bearer ${key}\0`],
    ['a line of its own', `Bearer ${key}\nX-Admin: 1`],
    ['padding inside', 'Bearer abc=def'],
    ['padding alone', 'Bearer ='],
    ['a full-width letter', `Bearer ${key}\uff21`],
    ['a percent escape', 'Bearer a%20b'],
    ['an asterisk', 'Bearer *'],
  ])('refuses as malformed: %s', async (_name, authorization) => {
    const response = await app.send({ headers: { authorization } })
    expectRefused(app, response, 400, 'authenticate.malformed')
    expect(response.headers.has('www-authenticate')).toBe(false)
    expect(response.bodyRead).toBe(false)
  })

  it.each([
    ['Basic', 'Basic dXNlcjpwYXNz'],
    ['Basic with a live key', `Basic ${key}`],
    ['Digest', 'Digest username="a"'],
    ['DPoP', `DPoP ${key}`],
    ['Negotiate', 'Negotiate abc'],
    ['ApiKey', `ApiKey ${key}`],
    ['a scheme that ends alike', `XBearer ${key}`],
    ['a scheme that begins alike', `Bearerx ${key}`],
    ['a scheme that begins alike, with a hyphen', `Bearer-Token ${key}`],
    ['the key without a scheme', key],
    ['null', 'null'],
    ['undefined', 'undefined'],
    ['a property of all objects', 'constructor'],
    ['one letter', 'Bearer a'],
    ['null as the token', 'Bearer null'],
    ['undefined as the token', 'Bearer undefined'],
    ['a property of all objects as the token', 'Bearer __proto__'],
    ['a prefix of a live key', `Bearer ${key.slice(0, -1)}`],
    ['the first half of a live key', `Bearer ${key.slice(0, 30)}`],
    ['one character more', `Bearer ${key}x`],
    ['padding after a live key', `Bearer ${key}=`],
    ['a live key in upper case', `Bearer ${key.toUpperCase()}`],
    ['a live key without its prefix', `Bearer ${key.slice(5)}`],
    ['a live key with another prefix', `Bearer xmcpk${key.slice(4)}`],
    ['another key of the right form', `Bearer mcpk_abcdefghijkl_${'A'.repeat(43)}_AAAAAA`],
    ['an unsigned token', 'Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiJ9.'],
    ['three dots', 'Bearer ...'],
    ['8 KiB', `Bearer ${'a'.repeat(8192)}`],
    ['one over 8 KiB', `Bearer ${'a'.repeat(8193)}`],
    ['a live key and 8 KiB', `Bearer ${key}${'a'.repeat(8192)}`],
  ])('refuses with the one answer for a bad credential: %s', async (_name, authorization) => {
    const response = await app.send({ headers: { authorization } })
    expectRefused(app, response, 401, 'authenticate.rejected')
    expect(response.headers.get('www-authenticate')).toBe(INVALID)
    expect(response.bodyRead).toBe(false)
  })

  it.each([
    ['Bearer', `Bearer ${key}`],
    ['lower case', `bearer ${key}`],
    ['upper case', `BEARER ${key}`],
    ['mixed case', `bEaReR ${key}`],
    ['two spaces', `Bearer  ${key}`],
  ])('lets a live key through: %s', async (_name, authorization) => {
    expectServed(await app.send({ headers: { authorization } }))
  })

  it('takes a token of 8 KiB for one, and no longer one', () => {
    const credential = (bytes: number) =>
      credentialOf(sourceOf(new Map([['authorization', [`Bearer ${'a'.repeat(bytes)}`]]])), null)
    expect(credential(8192)?.token).toHaveLength(8192)
    expect(() => credential(8193)).toThrow(new Denied('authenticate.rejected'))
  })

  it('does not echo a credential', async () => {
    const response = await app.send({ headers: { authorization: `Bearer ${CANARY}` } })
    expectRefused(app, response, 401, 'authenticate.rejected', { canary: CANARY })
  })
})

describe('threat: two credentials, one is checked and the other one is used', () => {
  const send = (target: TestApp, ...headers: WireHeaders) =>
    target.send({ wire: [['Host', 'mcp.example.com'], ...headers] })

  it.each([
    ['the same twice', `Bearer ${key}`],
    ['a bad one', 'Bearer x'],
    ['an empty one', ''],
    ['another scheme', 'Basic dXNlcjpwYXNz'],
  ])('refuses two Authorization headers: %s', async (_name, other) => {
    for (const values of [
      [`Bearer ${key}`, other],
      [other, `Bearer ${key}`],
    ]) {
      const response = await send(app, ...values.map((value) => ['Authorization', value] as const))
      expectRefused(app, response, 400, 'wire-guard.duplicate-header')
    }
  })

  it.each([
    ['a live key', withHeader.key],
    ['a bad one', 'x'],
    ['an empty one', ''],
  ])('refuses Authorization and the key header: %s', async (_name, value) => {
    const response = await withHeader.send({ headers: { 'x-api-key': value } })
    expectRefused(withHeader, response, 400, 'authenticate.two-credentials')
    expect(withHeader.verified()).toBe(0)
  })

  it('refuses them in one header list too', () => {
    const headers = new Map([['authorization', ['Bearer a', 'Bearer b']]])
    expect(() => credentialOf(sourceOf(headers), null)).toThrow(
      new Denied('authenticate.two-credentials'),
    )
  })
})

describe('threat: the key header, it carries what it must not or works where it is off', () => {
  const alone = (value: string) => ({ headers: { authorization: null, 'x-api-key': value } })

  it('lets a live key through where policy names the header', async () => {
    expectServed(await withHeader.send(alone(withHeader.key)))
  })

  it('does not see it where policy names none', async () => {
    expectRefused(app, await app.send(alone(key)), 401, 'authenticate.missing')
  })

  it.each([
    ['a token', 'eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiJ9.x', 401, 'authenticate.rejected'],
    ['a scheme', `Bearer ${withHeader.key}`, 401, 'authenticate.rejected'],
    ['null', 'null', 401, 'authenticate.rejected'],
    ['the prefix alone', 'mcpk_', 401, 'authenticate.rejected'],
    ['a key in upper case', withHeader.key.toUpperCase(), 401, 'authenticate.rejected'],
    ['two keys', `${withHeader.key}, ${withHeader.key}`, 401, 'authenticate.rejected'],
    ['a space after', `${withHeader.key} `, 401, 'authenticate.rejected'],
    ['8 KiB', `mcpk_${'a'.repeat(8192)}`, 401, 'authenticate.rejected'],
    ['the empty value', '', 400, 'authenticate.malformed'],
  ] as const)('refuses in it %s', async (_name, value, status, reason) => {
    const response = await withHeader.send(alone(value))
    expectRefused(withHeader, response, status, reason)
  })
})

describe('contract: the one credential of a request', () => {
  const of = (...headers: WireHeaders) =>
    credentialOf(sourceOf(new Map(headers.map(([name, value]) => [name, [value]]))), 'x-api-key')

  it('knows it by its digest', () => {
    const digest = createHash('sha256').update(key).digest('hex')
    const credential = { scheme: 'bearer', token: key, digest, address, certificate: undefined }
    expect(of(['authorization', `Bearer ${key}`])).toEqual(credential)
    expect(of(['x-api-key', key])).toEqual(credential)
  })

  it.each(['eyJhbGciOiJFUzI1NiJ9.e30.c2ln', 'x', 'MCPK_x', ` ${key}`])(
    'takes no token in the key header, whoever could verify it: %j',
    (value) => {
      expect(() => of(['x-api-key', value])).toThrow(new Denied('authenticate.rejected'))
    },
  )

  it('finds none in other headers', () => {
    expect(of(['cookie', key], ['proxy-authorization', `Bearer ${key}`])).toBeUndefined()
  })
})

describe('threat: a dead key, somebody who was locked out goes on', () => {
  it.each([
    ['expired', 'expired', { expiresAt: daysFromNow(-1) }],
    ['expired a second ago', 'expired', { expiresAt: daysFromNow(-1 / 86_400) }],
    ['revoked', 'revoked', { revokedAt: daysFromNow(-1) }],
    ['revoked from tomorrow', 'revoked', { revokedAt: daysFromNow(1) }],
    ['not valid yet', 'not-yet-valid', { createdAt: daysFromNow(1) }],
    ['of another network', 'address', { allowedCidrs: ['198.51.100.0/24', '2001:db8::/32'] }],
    ['with another digest', 'unknown', { sha256: '0123456789abcdef'.repeat(4) }],
    ['with the id of another key', 'unknown', { id: 'abcdefghijkl' }],
  ])('refuses a key that is %s, and says why in the trail alone', async (...row) => {
    const [, cause, record] = row
    const { file, keys } = keyFile(record, {})
    const [dead = '', live = ''] = keys
    const server = testApp({ env: { MCP_API_KEYS_FILE: file } })
    const response = await server.send({ headers: { authorization: `Bearer ${dead}` } })

    expectRefused(server, response, 401, 'authenticate.rejected', { canary: dead })
    expect(response.headers.get('www-authenticate')).toBe(INVALID)
    expect(response.events).toContainEqual(
      expect.objectContaining({ event: 'authn.fail', reason: 'authenticate.rejected', cause }),
    )
    expectServed(await server.send({ headers: { authorization: `Bearer ${live}` } }))
  })

  it('lets a key through from its own network', async () => {
    const { file, keys } = keyFile({ allowedCidrs: ['203.0.113.0/24'] })
    const server = testApp({ env: { MCP_API_KEYS_FILE: file } })
    const headers = { authorization: `Bearer ${keys[0]}` }
    expectServed(await server.send({ headers, peer: '203.0.113.255' }))
    expectServed(await server.send({ headers, peer: '::ffff:203.0.113.1' }))
    const outside = await server.send({ headers, peer: '203.0.114.0' })
    expectRefused(server, outside, 401, 'authenticate.rejected')
  })
})

describe('threat: guessing, one address tries many credentials', () => {
  const LIMIT = 3
  const guess = { headers: { authorization: `Bearer mcpk_abcdefghijkl_${'A'.repeat(43)}_AAAAAA` } }

  async function useUp(server: TestApp, peer = '203.0.113.7'): Promise<void> {
    for (let count = 0; count < LIMIT; count += 1) {
      expectRefused(server, await server.send({ ...guess, peer }), 401, 'authenticate.rejected')
    }
  }

  it('says 429 to one guess too many', async () => {
    const server = appWith({ authFailuresPerMinute: LIMIT })
    await useUp(server)
    const response = await server.send(guess)

    expectRefused(server, response, 429, 'authenticate.throttled')
    expect(response.headers.get('retry-after')).toMatch(/^(59|60)$/)
    expect(response.headers.get('ratelimit-policy')).toBe('"address-auth";q=3;w=60')
    expect(response.headers.get('ratelimit')).toMatch(/^"address-auth";r=0;t=(59|60)$/)
    expect(response.headers.has('www-authenticate')).toBe(false)
  })

  it('counts guesses of one IPv6 network together, and other networks apart', async () => {
    const server = appWith({ authFailuresPerMinute: LIMIT })
    await useUp(server, '2001:db8:1:2::1')
    const near = await server.send({ ...guess, peer: '2001:db8:1:2:abcd::1' })
    expectRefused(server, near, 429, 'authenticate.throttled')
    const far = await server.send({ ...guess, peer: '2001:db8:1:3::1' })
    expectRefused(server, far, 401, 'authenticate.rejected')
  })

  it('lets guesses through again after a minute, and not before', async () => {
    let now = 0
    const server = appWith({ authFailuresPerMinute: LIMIT }, { now: () => now })
    await useUp(server)
    now = 59_999
    expectRefused(server, await server.send(guess), 429, 'authenticate.throttled')
    now = 60_000
    expectRefused(server, await server.send(guess), 401, 'authenticate.rejected')
  })

  it('never locks out a live key behind the same address', async () => {
    const server = appWith({ authFailuresPerMinute: LIMIT })
    await useUp(server)
    for (let count = 0; count < 2 * LIMIT; count += 1) expectServed(await server.send())
    expectRefused(server, await server.send(guess), 429, 'authenticate.throttled')
  })

  it.each([
    ['a request without credential', { authorization: null }, 401, 'authenticate.missing'],
    ['a malformed credential', { authorization: 'Bearer' }, 400, 'authenticate.malformed'],
  ] as const)('does not count %s', async (_name, headers, status, reason) => {
    const server = appWith({ authFailuresPerMinute: LIMIT })
    for (let count = 0; count < 2 * LIMIT; count += 1) {
      expectRefused(server, await server.send({ headers }), status, reason)
    }
    expectRefused(server, await server.send(guess), 401, 'authenticate.rejected')
  })
})

describe('threat: an issuer that is down, good tokens are called bad or bad ones good', () => {
  const issuer = 'http://127.0.0.1:1'
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')
  const token = [
    part({ alg: 'ES256', typ: 'at+jwt', kid: 'a' }),
    part({ iss: issuer, aud: 'https://mcp.example.com/mcp', sub: 'a', iat: 1, exp: 9_999_999_999 }),
    'c2lnbmF0dXJl',
  ].join('.')

  it('says that it is us, counts no failure, and still knows API keys', async () => {
    const server = testApp({
      policies: (shipped) => ({
        ...shipped,
        auth: {
          ...shipped.auth,
          issuers: [
            {
              issuer,
              why: 'a test',
              verification: 'jwt',
              algorithms: ['ES256'],
              tokenTypes: ['at+jwt'],
              senderConstraint: 'none',
              scopeClaim: 'scope',
              scopeFormat: 'string',
              clientIdClaims: ['client_id'],
              rolesClaim: null,
              tenantClaim: null,
              clockToleranceSeconds: 30,
              maxTokenLifetimeSeconds: 86_400,
              jwksUri: `${issuer}/jwks`,
              introspection: null,
            },
          ],
        },
        limits: {
          ...shipped.limits,
          address: { ...shipped.limits.address, authFailuresPerMinute: 1 },
        },
      }),
    })
    for (let count = 0; count < 3; count += 1) {
      const response = await server.send({ headers: { authorization: `Bearer ${token}` } })
      expectRefused(server, response, 503, 'authenticate.keys-unavailable', { canary: token })
      expect(response.headers.get('retry-after')).toMatch(/^\d+$/)
      expect(response.headers.has('www-authenticate')).toBe(false)
    }
    expectServed(await server.send())
    server.close()
  })
})
