// optional: oauth
import { createHash, createHmac, createSign, randomBytes } from 'node:crypto'
import { exportJWK, exportPKCS8, exportSPKI, generateKeyPair, type JWK, SignJWT } from 'jose'
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { dpop } from '../../src/auth/dpop.ts'
import { createKeySet, type KeySet } from '../../src/auth/key-set.ts'
import { oauth } from '../../src/auth/oauth.ts'
import { type AuthStrategy, CredentialFault, type Presented } from '../../src/auth/strategy.ts'
import { Denied } from '../../src/errors.ts'
import type { IssuerPolicy } from '../../src/policy.ts'
import { secretRing } from '../../src/secrets.ts'
import { memoryStore } from '../../src/stores/memory.ts'
import { type TestClock, testClock } from '../clock.ts'

const ISSUER = 'https://auth.example.com'
const OTHER_ISSUER = 'https://other.example.com'
const AUDIENCE = 'https://mcp.example.com/mcp'
/** 2026-01-01T00:00:00Z */
const NOW = 1_767_225_600
const NOW_MS = NOW * 1000

const CLAIMS = {
  iss: ISSUER,
  aud: AUDIENCE,
  sub: 'user-1',
  client_id: 'client-1',
  scope: 'mcp:use documents:process',
  iat: NOW - 10,
  exp: NOW + 600,
  jti: 'id-1',
}

const POLICY: IssuerPolicy = {
  issuer: ISSUER,
  verification: 'jwt',
  audiences: undefined,
  algorithms: ['ES256', 'EdDSA', 'PS256', 'RS256'],
  tokenTypes: ['at+jwt'],
  senderConstraint: 'none',
  scopeClaim: 'scope',
  scopeFormat: 'string',
  clientIdClaims: ['client_id', 'azp'],
  rolesClaim: null,
  tenantClaim: null,
  clockToleranceSeconds: 30,
  maxTokenLifetimeSeconds: 86_400,
  jwksUri: `${ISSUER}/jwks`,
  introspection: null,
  why: 'the issuer of this test',
}

type KeyPair = Awaited<ReturnType<typeof generateKeyPair>>
const ALGORITHMS = ['ES256', 'EdDSA', 'PS256', 'RS256'] as const
const pairs = new Map<string, KeyPair>()
let stranger: KeyPair
let rsaPem: string
let rsaPublicPem: string

beforeAll(async () => {
  for (const alg of [...ALGORITHMS, 'ES384']) {
    pairs.set(alg, await generateKeyPair(alg, { extractable: true }))
  }
  stranger = await generateKeyPair('ES256', { extractable: true })
  rsaPem = await exportPKCS8(pair('RS256').privateKey)
  rsaPublicPem = await exportSPKI(pair('RS256').publicKey)
})

function pair(alg: string): KeyPair {
  const found = pairs.get(alg)
  if (found === undefined) throw new Error(`no key for ${alg}`)
  return found
}

const store = memoryStore()
let published: JWK[]
let fetched: string[]
let down: boolean
let time: TestClock
const open: KeySet[] = []

beforeEach(async () => {
  published = await Promise.all(
    [...pairs].map(async ([alg, { publicKey }]) => ({
      ...(await exportJWK(publicKey)),
      alg,
      kid: alg,
      use: 'sig',
    })),
  )
  fetched = []
  down = false
  time = testClock()
})
afterEach(() => {
  for (const keys of open.splice(0)) keys.close()
})

function keysOf(issuer: string, algorithms: readonly string[]): KeySet {
  const keys = createKeySet(
    {
      issuer,
      jwksUri: `${issuer}/jwks`,
      algorithms,
      cacheSeconds: 600,
      cooldownSeconds: 30,
      staleIfErrorSeconds: 3600,
      timeoutMs: 1000,
    },
    {
      async json(url) {
        fetched.push(url)
        if (down) throw new Error('down')
        return { keys: issuer === ISSUER ? published : [] }
      },
    },
    time,
    () => undefined,
    () => undefined,
  )
  open.push(keys)
  return keys
}

function strategy(policy: Partial<IssuerPolicy> = {}, verificationCacheSeconds = 60): AuthStrategy {
  const first = { ...POLICY, ...policy }
  const other = { ...POLICY, issuer: OTHER_ISSUER }
  return oauth({
    issuers: [first, other].map((one) => ({
      policy: one,
      keys: keysOf(one.issuer, one.algorithms),
    })),
    publicUrl: AUDIENCE,
    verificationCacheSeconds,
    proveSender: dpop({ publicUrl: AUDIENCE, ring: secretRing([randomBytes(32)]), store }),
    clock: time,
  })
}

function credential(token: string): Presented {
  const digest = createHash('sha256').update(token).digest('hex')
  return {
    scheme: 'bearer',
    token,
    digest,
    address: '192.0.2.1',
    certificate: undefined,
    method: 'POST',
    proofs: [],
  }
}

type Claims = Readonly<Record<string, unknown>>
const base64url = (value: unknown): string =>
  Buffer.from(JSON.stringify(value)).toString('base64url')

/** A token of the issuer but for these claims and headers; `undefined` takes one away. */
async function sign(
  claims: Claims = {},
  header: Claims = {},
  { alg = 'ES256', key = pair(alg).privateKey } = {},
): Promise<string> {
  return await new SignJWT({ ...CLAIMS, ...claims })
    .setProtectedHeader({ alg, kid: alg, typ: 'at+jwt', ...header })
    .sign(key)
}

/** Signed whatever the header says, as jose refuses to. */
function forge(header: Claims, claims: Claims = {}): string {
  const input = `${base64url({ alg: 'RS256', kid: 'RS256', typ: 'at+jwt', ...header })}.${base64url({ ...CLAIMS, ...claims })}`
  const signature = createSign('sha256').update(input)
  return `${input}.${signature.sign(rsaPem, 'base64url')}`
}

/** Signs with the public key as if it were a shared secret (RFC 8725 §2.1). */
function confused(alg: string, secret: string): string {
  const input = `${base64url({ alg, kid: 'RS256', typ: 'at+jwt' })}.${base64url(CLAIMS)}`
  return `${input}.${createHmac('sha256', secret).update(input).digest('base64url')}`
}

/** Other bytes at the same place. */
function withPart(token: string, index: 0 | 1 | 2, part: string): string {
  return token
    .split('.')
    .map((old, at) => (at === index ? part : old))
    .join('.')
}

/** The fault of a rejected token, after everything that every rejection has in common is checked. */
async function faultOf(token: string, policy: Partial<IssuerPolicy> = {}): Promise<string> {
  const ways = strategy(policy)
  const error: unknown = await ways.verify(credential(token), NOW_MS).then(
    () => undefined,
    (caught: unknown) => caught,
  )
  if (!(error instanceof Denied)) throw new Error('was not refused', { cause: error })
  expect(error.reason).toBe('authenticate.rejected')
  expect(error.headers).toEqual({})
  expect(ways.recall(credential(token), NOW_MS)).toBeUndefined()
  // One fetch of the configured keys for each issuer, whatever the token says.
  expect(fetched).toEqual([`${ISSUER}/jwks`, `${OTHER_ISSUER}/jwks`])
  if (!(error.cause instanceof CredentialFault)) throw new Error('has no fault')
  expect(error.cause.message).toBe(error.cause.fault)
  expect(error.cause.cause).toBeUndefined()
  return error.cause.fault
}

describe('contract: a good token', () => {
  it('names the caller', async () => {
    const token = await sign()
    const identity = await strategy().verify(credential(token), NOW_MS)
    expect(identity).toEqual({
      principal: {
        kind: 'oauth',
        issuer: ISSUER,
        client: 'client-1',
        subject: 'user-1',
        scopes: ['mcp:use', 'documents:process'],
        roles: [],
        tenant: null,
      },
      credentialDigest: createHash('sha256').update(token).digest('hex'),
      credentialId: 'id-1',
      expiresAt: NOW + 600,
      claims: CLAIMS,
    })
    expect(JSON.stringify(identity)).not.toContain(token)
  })

  it.each(ALGORITHMS)('lets %s through', async (alg) => {
    const token = await sign({}, {}, { alg })
    await expect(strategy().verify(credential(token), NOW_MS)).resolves.toBeDefined()
  })

  it.each<[string, Claims, Claims, Partial<IssuerPolicy>]>([
    ['the audience in a list', { aud: ['https://a.example', AUDIENCE] }, {}, {}],
    ['a configured audience', { aud: 'api' }, {}, { audiences: ['other', 'api'] }],
    ['the type with application/', {}, { typ: 'application/at+jwt' }, {}],
    ['the type in capitals', {}, { typ: 'AT+JWT' }, {}],
    ['a configured type', {}, { typ: 'JWT' }, { tokenTypes: ['at+jwt', 'JWT'] }],
    ['no key id', {}, { kid: undefined }, {}],
    ['one second before its end, tolerance included', { exp: NOW - 29, iat: NOW - 60 }, {}, {}],
    ['nbf at the edge of the tolerance', { nbf: NOW + 30 }, {}, {}],
    ['iat at the edge of the tolerance', { iat: NOW + 30 }, {}, {}],
    ['the longest lifetime', { iat: NOW, exp: NOW + 86_400 }, {}, {}],
    ['a subject of 255 characters', { sub: 'x'.repeat(255) }, {}, {}],
    ['no scope', { scope: undefined }, {}, {}],
    ['an empty scope', { scope: '' }, {}, {}],
    ['key addresses that have no effect', {}, { jku: 'https://evil.example/jwks' }, {}],
  ])('lets %s through', async (_name, claims, header, policy) => {
    const token = await sign(claims, header)
    const identity = await strategy(policy).verify(credential(token), NOW_MS)
    expect(identity?.principal.issuer).toBe(ISSUER)
  })

  it('leaves API keys to their own strategy', async () => {
    const key = 'mcpk_abcdefghijkl_secret'
    await expect(strategy().verify(credential(key), NOW_MS)).resolves.toBeUndefined()
  })

  it.each<[string, Claims, string]>([
    ['client_id', {}, 'client-1'],
    ['azp', { client_id: undefined, azp: 'client-2' }, 'client-2'],
    ['nothing', { client_id: undefined }, ''],
  ])('takes the client from %s', async (_name, claims, client) => {
    const identity = await strategy().verify(credential(await sign(claims)), NOW_MS)
    expect(identity?.principal.client).toBe(client)
  })

  it('reads scopes, roles and tenant where policy says', async () => {
    const identity = await strategy({
      scopeClaim: 'scp',
      scopeFormat: 'array',
      rolesClaim: 'roles',
      tenantClaim: 'tid',
    }).verify(credential(await sign({ scp: ['a', 'b'], roles: ['bulk'], tid: 'tenant-1' })), NOW_MS)
    expect(identity?.principal).toMatchObject({
      scopes: ['a', 'b'],
      roles: ['bulk'],
      tenant: 'tenant-1',
    })
  })

  it('never reads a claim that the token does not have', async () => {
    const identity = await strategy({
      scopeClaim: 'constructor',
      rolesClaim: '__proto__',
      tenantClaim: 'toString',
      clientIdClaims: ['valueOf'],
    }).verify(credential(await sign()), NOW_MS)
    expect(identity?.principal).toMatchObject({ scopes: [], roles: [], tenant: null, client: '' })
  })

  it('finds the right key when the token names none and several may be meant', async () => {
    published.unshift({ ...(await exportJWK(stranger.publicKey)), kid: 'another' })
    const token = await sign({}, { kid: undefined })
    await expect(strategy().verify(credential(token), NOW_MS)).resolves.toBeDefined()
    const byNobody = await generateKeyPair('ES256')
    const forged = await sign({}, { kid: undefined }, { key: byNobody.privateKey })
    fetched = []
    expect(await faultOf(forged)).toBe('signature')
  })
})

describe('threat: forged tokens, an attacker becomes anybody', () => {
  it.each<[string, string, () => Promise<string> | string]>([
    [
      'alg none without a signature',
      'shape',
      () => `${base64url({ alg: 'none', typ: 'at+jwt' })}.${base64url(CLAIMS)}.`,
    ],
    [
      'alg none with a signature',
      'algorithm',
      async () => withPart(await sign(), 0, base64url({ alg: 'none', typ: 'at+jwt' })),
    ],
    [
      'alg nOnE',
      'algorithm',
      async () => withPart(await sign(), 0, base64url({ alg: 'nOnE', typ: 'at+jwt' })),
    ],
    ['no alg', 'algorithm', () => forge({ alg: undefined })],
    ['alg as a list', 'algorithm', () => forge({ alg: ['RS256'] })],
    ['alg __proto__', 'algorithm', () => forge({ alg: '__proto__' })],
    ['HS256 with the public key as the secret', 'algorithm', () => confused('HS256', rsaPublicPem)],
    ['RS256 made by HMAC with the public key', 'signature', () => confused('RS256', rsaPublicPem)],
    ['an algorithm that policy does not list', 'algorithm', () => sign({}, {}, { alg: 'ES384' })],
    ['a key of another algorithm', 'unknown', () => sign({}, { kid: 'RS256' })],
    [
      'a stranger’s key under a known id',
      'signature',
      () => sign({}, {}, { key: stranger.privateKey }),
    ],
    [
      'a key brought along',
      'signature',
      async () =>
        sign({}, { jwk: await exportJWK(stranger.publicKey) }, { key: stranger.privateKey }),
    ],
    [
      'a key address brought along',
      'signature',
      () => sign({}, { jku: 'https://evil.example/jwks' }, { key: stranger.privateKey }),
    ],
    [
      'a certificate address brought along',
      'signature',
      () => sign({}, { x5u: 'https://evil.example/cert' }, { key: stranger.privateKey }),
    ],
    [
      'a certificate brought along',
      'signature',
      () => sign({}, { x5c: ['MIIB'] }, { key: stranger.privateKey }),
    ],
    ['an unknown key id', 'unknown', () => sign({}, { kid: 'unknown' })],
    ['key id __proto__', 'unknown', () => sign({}, { kid: '__proto__' })],
    ['key id constructor', 'unknown', () => sign({}, { kid: 'constructor' })],
    ['a key id that is a path', 'unknown', () => sign({}, { kid: '../../dev/null' })],
    ['a key id that is a URL', 'unknown', () => sign({}, { kid: 'https://evil.example/jwks' })],
    ['a key id that is a query', 'unknown', () => sign({}, { kid: "' OR 1=1 --" })],
    ['a key id that is a number', 'shape', () => forge({ kid: 1 })],
    ['a key id that is null', 'shape', () => forge({ kid: null })],
    ['an unknown critical header', 'shape', () => forge({ crit: ['exp'], exp: 1 })],
    ['an empty critical header', 'shape', () => forge({ crit: [] })],
    ['an unencoded payload', 'shape', () => forge({ crit: ['b64'], b64: false })],
    ['b64 that nothing calls critical', 'shape', () => forge({ b64: false })],
    [
      'a signature of zeros (CVE-2022-21449)',
      'signature',
      async () => withPart(await sign(), 2, Buffer.alloc(64).toString('base64url')),
    ],
    [
      'a shorter signature',
      'signature',
      async () => withPart(await sign(), 2, Buffer.alloc(61, 7).toString('base64url')),
    ],
    [
      'a changed payload',
      'signature',
      async () => withPart(await sign(), 1, base64url({ ...CLAIMS, sub: 'admin' })),
    ],
    [
      'a changed header',
      'signature',
      async () =>
        withPart(await sign(), 0, base64url({ alg: 'ES256', kid: 'ES256', typ: 'at+jwt', x: 1 })),
    ],
    [
      'the signature of another token',
      'signature',
      async () => withPart(await sign(), 2, (await sign({ sub: 'user-2' })).split('.')[2] ?? ''),
    ],
  ])('refuses %s', async (_name, fault, make) => {
    expect(await faultOf(await make())).toBe(fault)
  })
})

describe('threat: what is not a token, the parser is the target', () => {
  it.each<[string, () => Promise<string> | string]>([
    ['a word', () => 'token'],
    ['two parts', async () => (await sign()).split('.').slice(0, 2).join('.')],
    ['an extra dot', async () => `${await sign()}.`],
    ['a dot in front', async () => `.${await sign()}`],
    ['five parts, as encrypted tokens have', async () => `${await sign()}.a.b`],
    ['an empty payload', async () => withPart(await sign(), 1, '')],
    ['a padded part', async () => `${await sign()}=`],
    ['base64 that is not base64url', async () => withPart(await sign(), 1, 'a+/b')],
    ['a space', async () => (await sign()).replace('.', ' .')],
    ['a header that is not JSON', async () => withPart(await sign(), 0, 'AAAA')],
    ['a header that is a list', async () => withPart(await sign(), 0, base64url([]))],
    ['a header that is null', async () => withPart(await sign(), 0, base64url(null))],
    ['a payload that is not JSON', async () => withPart(await sign(), 1, 'AAAA')],
    ['a payload that is a list', async () => withPart(await sign(), 1, base64url([]))],
    ['a payload that is a string', async () => withPart(await sign(), 1, base64url('payload'))],
    ['a payload that is not UTF-8', async () => withPart(await sign(), 1, '_w')],
    ['a payload too deep', () => sign({ nested: JSON.parse('['.repeat(17) + ']'.repeat(17)) })],
    ['one byte over 8 KiB', () => `${'a'.repeat(8189)}.b.c`],
  ])('refuses %s', async (_name, make) => {
    expect(await faultOf(await make())).toBe('shape')
  })

  it('looks at a real token just below the limit and not above it', async () => {
    const token = await sign({ filler: 'x'.repeat(5500) })
    expect(token.length).toBeLessThanOrEqual(8192)
    await expect(strategy().verify(credential(token), NOW_MS)).resolves.toBeDefined()
    fetched = []
    expect(await faultOf(await sign({ filler: 'x'.repeat(6000) }))).toBe('shape')
  })
})

describe('threat: tokens for someone else, of someone else or of another kind', () => {
  it.each<[string, string, Claims]>([
    ['another audience', 'audience', { aud: 'https://other.example/mcp' }],
    ['no audience', 'audience', { aud: undefined }],
    ['an empty audience', 'audience', { aud: '' }],
    ['an empty list of audiences', 'audience', { aud: [] }],
    ['the audience as a prefix', 'audience', { aud: `${AUDIENCE}/admin` }],
    ['a prefix of the audience', 'audience', { aud: AUDIENCE.slice(0, -1) }],
    ['the audience with a slash', 'audience', { aud: `${AUDIENCE}/` }],
    ['the audience as a suffix', 'audience', { aud: `https://evil.example/?${AUDIENCE}` }],
    ['the audience in capitals', 'audience', { aud: AUDIENCE.toUpperCase() }],
    ['the audience inside a nested list', 'audience', { aud: [[AUDIENCE]] }],
    ['two audiences in one string', 'audience', { aud: `${AUDIENCE} https://a.example` }],
    ['an audience that is an object', 'audience', { aud: { 0: AUDIENCE } }],
    ['another issuer', 'issuer', { iss: 'https://evil.example' }],
    ['no issuer', 'issuer', { iss: undefined }],
    ['the issuer with a slash', 'issuer', { iss: `${ISSUER}/` }],
    ['the issuer as a prefix', 'issuer', { iss: `${ISSUER}.evil.example` }],
    ['the issuer in capitals', 'issuer', { iss: ISSUER.toUpperCase() }],
    ['the issuer over http', 'issuer', { iss: ISSUER.replace('https', 'http') }],
    ['the issuer in a list', 'issuer', { iss: [ISSUER] }],
    ['issuer constructor', 'issuer', { iss: 'constructor' }],
    ['issuer __proto__', 'issuer', { iss: '__proto__' }],
  ])('refuses %s', async (_name, fault, claims) => {
    expect(await faultOf(await sign(claims))).toBe(fault)
  })

  it('never tries the keys of one issuer on tokens of another', async () => {
    const ways = strategy()
    const token = credential(await sign({ iss: OTHER_ISSUER }))
    await expect(ways.verify(token, NOW_MS)).rejects.toMatchObject({
      reason: 'authenticate.keys-unavailable',
    })
  })

  it.each<[string, Claims]>([
    ['no type', { typ: undefined }],
    ['type JWT', { typ: 'JWT' }],
    ['a DPoP proof', { typ: 'dpop+jwt' }],
    ['a logout token', { typ: 'logout+jwt' }],
    ['a security event', { typ: 'secevent+jwt' }],
    ['an ID token', { typ: 'id+jwt' }],
    ['a type that begins like ours', { typ: 'at+jwt2' }],
    ['a type with another prefix', { typ: 'text/at+jwt' }],
    ['application/ twice', { typ: 'application/application/at+jwt' }],
    ['a type that is a list', { typ: ['at+jwt'] }],
  ])('refuses %s', async (_name, header) => {
    expect(await faultOf(await sign({}, header))).toBe('type')
  })

  it.each<[string, Claims]>([
    ['an ID token with a nonce', { nonce: 'n' }],
    ['an ID token with a hash of the access token', { at_hash: 'h' }],
    ['an ID token with a hash of the code', { c_hash: 'h' }],
    ['an ID token with a hash of the state', { s_hash: 'h' }],
    ['an ID token by token_use', { token_use: 'id' }],
    ['an ID token by claim typ', { typ: 'ID' }],
    ['a refresh token by claim typ', { typ: 'Refresh' }],
    ['a logout token', { events: { 'http://schemas.openid.net/event/backchannel-logout': {} } }],
    ['a DPoP proof', { htm: 'POST', htu: AUDIENCE }],
  ])('refuses %s although policy lets type JWT through', async (_name, claims) => {
    const token = await sign(claims, { typ: 'JWT' })
    expect(await faultOf(token, { tokenTypes: ['JWT'] })).toBe('type')
  })

  it.each<[string, Claims]>([
    ['token_use access', { token_use: 'access' }],
    ['claim typ Bearer', { typ: 'Bearer' }],
  ])('lets %s through where policy lets type JWT through', async (_name, claims) => {
    const token = credential(await sign(claims, { typ: 'JWT' }))
    const ways = strategy({ tokenTypes: ['JWT'] })
    await expect(ways.verify(token, NOW_MS)).resolves.toBeDefined()
  })
})

describe('threat: tokens out of their time, a stolen one works for ever', () => {
  it.each<[string, string, Claims]>([
    ['an end past the tolerance', 'expired', { exp: NOW - 30, iat: NOW - 60 }],
    ['an end in 1970', 'expired', { exp: 1, iat: 0 }],
    ['a negative end', 'expired', { exp: -1, iat: -2 }],
    ['no end', 'claims', { exp: undefined }],
    ['an end of null', 'claims', { exp: null }],
    ['an end as a string', 'claims', { exp: String(NOW + 600) }],
    ['an end with a fraction', 'claims', { exp: NOW + 600.5 }],
    ['an end beyond all integers', 'claims', { exp: 1e300 }],
    ['an end in milliseconds', 'lifetime', { exp: (NOW + 600) * 1000 }],
    ['an end that is a list', 'claims', { exp: [NOW + 600] }],
    ['no beginning', 'claims', { iat: undefined }],
    ['a beginning as a string', 'claims', { iat: String(NOW) }],
    ['a beginning with a fraction', 'claims', { iat: NOW - 0.5 }],
    ['a beginning past the tolerance', 'not-yet-valid', { iat: NOW + 31 }],
    ['nbf past the tolerance', 'not-yet-valid', { nbf: NOW + 31 }],
    ['nbf as a string', 'claims', { nbf: String(NOW) }],
    ['nbf with a fraction', 'claims', { nbf: NOW - 0.5 }],
    ['a lifetime one second too long', 'lifetime', { iat: NOW, exp: NOW + 86_401 }],
    ['an end before its beginning', 'lifetime', { iat: NOW + 20, exp: NOW + 10 }],
  ])('refuses %s', async (_name, fault, claims) => {
    expect(await faultOf(await sign(claims))).toBe(fault)
  })
})

describe('threat: claims of another shape, they turn into rights', () => {
  const everything = { rolesClaim: 'roles', tenantClaim: 'tid' }

  it.each<[string, string, Claims, Partial<IssuerPolicy>]>([
    ['a token bound to a DPoP key', 'sender-constrained', { cnf: { jkt: 'x' } }, {}],
    ['a token bound to a certificate', 'sender-constrained', { cnf: { 'x5t#S256': 'x' } }, {}],
    ['a binding of null', 'sender-constrained', { cnf: null }, {}],
    ['no subject', 'claims', { sub: undefined }, {}],
    ['an empty subject', 'claims', { sub: '' }, {}],
    ['a subject of 256 characters', 'claims', { sub: 'x'.repeat(256) }, {}],
    ['a line break in the subject', 'claims', { sub: 'user\n1' }, {}],
    ['a line break at the end of the subject', 'claims', { sub: 'user-1\n' }, {}],
    ['a null byte in the subject', 'claims', { sub: 'user-1\u0000' }, {}],
    ['an escape sequence in the subject', 'claims', { sub: '\u001b[2J' }, {}],
    ['a bidirectional control in the subject', 'claims', { sub: 'user\u202e1' }, {}],
    ['a subject that is a number', 'claims', { sub: 1 }, {}],
    ['a subject that is a list', 'claims', { sub: ['user-1'] }, {}],
    ['scopes in a list', 'claims', { scope: ['mcp:use'] }, {}],
    ['scopes that are an object', 'claims', { scope: { 'mcp:use': true } }, {}],
    ['a scope of null', 'claims', { scope: null }, {}],
    ['two spaces between scopes', 'claims', { scope: 'a  b' }, {}],
    ['a space in front of the scopes', 'claims', { scope: ' a' }, {}],
    ['a tab between scopes', 'claims', { scope: 'a\tb' }, {}],
    ['a comma and a quote in scopes', 'claims', { scope: 'a,"b"' }, {}],
    ['a string where policy says list', 'claims', { scope: 'a b' }, { scopeFormat: 'array' }],
    ['a scope with a space in the list', 'claims', { scope: ['a b'] }, { scopeFormat: 'array' }],
    ['a number in the list of scopes', 'claims', { scope: ['a', 1] }, { scopeFormat: 'array' }],
    ['a client that is an object', 'claims', { client_id: {} }, {}],
    ['a client of null', 'claims', { client_id: null }, {}],
    ['an empty client', 'claims', { client_id: '' }, {}],
    ['a line break in the client', 'claims', { client_id: 'a\r\nb' }, {}],
    ['roles that are a string', 'claims', { roles: 'bulk' }, everything],
    ['a number among the roles', 'claims', { roles: ['bulk', 1] }, everything],
    ['a tenant that is a list', 'claims', { tid: ['t'] }, everything],
    ['an empty tenant', 'claims', { tid: '' }, everything],
  ])('refuses %s', async (_name, fault, claims, policy) => {
    expect(await faultOf(await sign(claims), policy)).toBe(fault)
  })
})

describe('contract: verified tokens are remembered for a moment', () => {
  it('knows a token once it was verified', async () => {
    const ways = strategy()
    const token = credential(await sign())
    expect(ways.recall(token, NOW_MS)).toBeUndefined()
    await ways.verify(token, NOW_MS)
    expect(ways.recall(token, NOW_MS)).toBeDefined()
  })

  it('knows a token that had to wait for the first keys', async () => {
    const token = credential(await sign())
    const ways = strategy()
    await ways.verify(token, NOW_MS)
    expect(ways.recall(token, NOW_MS)).toBeDefined()
  })

  it('forgets it after the time that policy sets', async () => {
    const ways = strategy()
    const token = credential(await sign())
    await ways.verify(token, NOW_MS)
    time.advance(59_000)
    expect(ways.recall(token, NOW_MS)).toBeDefined()
    time.advance(2000)
    expect(ways.recall(token, NOW_MS)).toBeUndefined()
  })

  it('remembers nothing when policy says zero seconds', async () => {
    const ways = strategy({}, 0)
    const token = credential(await sign())
    await ways.verify(token, NOW_MS)
    expect(ways.recall(token, NOW_MS)).toBeUndefined()
  })

  it('never remembers a token beyond its end', async () => {
    const ways = strategy({ clockToleranceSeconds: 0 })
    const token = credential(await sign({ exp: NOW + 5 }))
    await ways.verify(token, NOW_MS)
    time.advance(5001)
    // The wall clock stands still here: the entry itself is gone.
    expect(ways.recall(token, NOW_MS)).toBeUndefined()
  })
})

describe('threat: a remembered token outlives what made it good', () => {
  it.each<[string, Claims, number]>([
    ['it has expired', { exp: NOW + 30 }, NOW + 60],
    ['the wall clock went back before its beginning', {}, NOW - 3600],
  ])('refuses it when %s', async (_name, claims, later) => {
    const ways = strategy()
    const token = credential(await sign(claims))
    await ways.verify(token, NOW_MS)
    expect(ways.recall(token, later * 1000)).toBeUndefined()
    await expect(ways.verify(token, later * 1000)).rejects.toMatchObject({
      reason: 'authenticate.rejected',
    })
  })

  it('verifies it again when the keys have changed', async () => {
    const ways = strategy()
    const token = credential(await sign())
    await ways.verify(token, NOW_MS)
    published = published.filter(({ kid }) => kid !== 'ES256')
    time.advance(30_000)
    const unknown = credential(await sign({}, { kid: 'unknown' }))
    await expect(ways.verify(unknown, NOW_MS)).rejects.toThrow()
    expect(ways.recall(token, NOW_MS)).toBeUndefined()
    await expect(ways.verify(token, NOW_MS)).rejects.toMatchObject({
      reason: 'authenticate.rejected',
      cause: { fault: 'unknown' },
    })
  })

  it('does not take another token with the same claims for it', async () => {
    const ways = strategy()
    const token = await sign()
    await ways.verify(credential(token), NOW_MS)
    const forged = credential(withPart(token, 2, Buffer.alloc(64).toString('base64url')))
    expect(ways.recall(forged, NOW_MS)).toBeUndefined()
    await expect(ways.verify(forged, NOW_MS)).rejects.toThrow()
  })

  it('hands out claims that a tool cannot change for the next request', async () => {
    const ways = strategy()
    const identity = await ways.verify(credential(await sign()), NOW_MS)
    expect(Object.isFrozen(identity?.claims)).toBe(true)
  })
})

describe('threat: an outage of the issuer, callers are told that their tokens are bad', () => {
  it('answers 503 for a good token while there are no keys', async () => {
    down = true
    const ways = strategy()
    const verified = ways.verify(credential(await sign()), NOW_MS)
    await expect(verified).rejects.toMatchObject({
      reason: 'authenticate.keys-unavailable',
      headers: { 'retry-after': '30' },
    })
    expect(ways.available(NOW_MS)).toBe(false)
  })

  it('is available while one issuer has keys', async () => {
    const ways = strategy()
    await ways.verify(credential(await sign()), NOW_MS)
    expect(ways.available(NOW_MS)).toBe(true)
  })

  it('stops its key sets when it is closed', async () => {
    const ways = strategy()
    await ways.verify(credential(await sign()), NOW_MS)
    ways.close()
    time.advance(3_600_000)
    expect(fetched).toHaveLength(2)
  })
})
