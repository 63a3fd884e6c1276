// optional: introspection
import { createHash } from 'node:crypto'
import type { RequestListener } from 'node:http'
import { inspect } from 'node:util'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { introspection } from '../../src/auth/introspection.ts'
import { introspectionEndpoint } from '../../src/auth/introspection-endpoint.ts'
import { type AuthStrategy, CredentialFault, type Presented } from '../../src/auth/strategy.ts'
import { Denied } from '../../src/errors.ts'
import type { LogFields } from '../../src/log.ts'
import { createOutbound } from '../../src/outbound.ts'
import type { IssuerPolicy } from '../../src/policy.ts'
import { type TestClock, testClock } from '../clock.ts'
import { json } from '../http-server.ts'
import {
  INACTIVE,
  type IntrospectionServer,
  startIntrospectionServer,
} from '../identity/introspection-server.ts'

const AUDIENCE = 'https://mcp.example.com/mcp'
/** 2026-01-01T00:00:00Z */
const NOW = 1_767_225_600
const NOW_MS = NOW * 1000
const SECRET = 'secret-4b1d9c'

type Members = Readonly<Record<string, unknown>>

let issuer: IntrospectionServer
let time: TestClock
let logged: { readonly message: string; readonly fields: LogFields | undefined }[]

beforeEach(async () => {
  issuer = await startIntrospectionServer()
  time = testClock()
  logged = []
})
afterEach(() => issuer.down())

function policyOf(changes: Partial<IssuerPolicy> = {}): IssuerPolicy {
  return {
    issuer: issuer.url,
    verification: 'introspection',
    audiences: undefined,
    algorithms: ['ES256'],
    tokenTypes: ['at+jwt'],
    senderConstraint: 'none',
    scopeClaim: 'scope',
    scopeFormat: 'string',
    clientIdClaims: ['client_id', 'azp'],
    rolesClaim: null,
    tenantClaim: null,
    clockToleranceSeconds: 30,
    maxTokenLifetimeSeconds: 86_400,
    jwksUri: null,
    introspection: null,
    why: 'the issuer of this test',
    ...changes,
  }
}

interface Options {
  readonly policy?: Partial<IssuerPolicy>
  readonly verificationCacheSeconds?: number
  readonly clientId?: string
  readonly clientSecret?: string
  readonly timeoutMs?: number
  readonly cooldownSeconds?: number
}

function strategy(options: Options = {}): AuthStrategy {
  const { clientId = 'gatehouse', clientSecret = SECRET } = options
  const { timeoutMs = 2000, cooldownSeconds = 30, verificationCacheSeconds = 60 } = options
  const ignore = (): void => undefined
  const endpoint = introspectionEndpoint(
    {
      issuer: issuer.url,
      url: issuer.endpoint,
      clientId,
      clientSecret,
      timeoutMs,
      cooldownSeconds,
    },
    {
      outbound: createOutbound({ mode: 'development' }),
      clock: time,
      logger: {
        fatal: ignore,
        error: ignore,
        warn: (message, fields) => logged.push({ message, fields }),
        info: ignore,
        debug: ignore,
      },
    },
  )
  const policy = policyOf(options.policy)
  return introspection({
    policy,
    endpoint,
    publicUrl: AUDIENCE,
    verificationCacheSeconds,
    clock: time,
  })
}

function credential(token: string, changes: Partial<Presented> = {}): Presented {
  return {
    scheme: 'bearer',
    token,
    digest: createHash('sha256').update(token).digest('hex'),
    address: '192.0.2.1',
    certificate: undefined,
    method: 'POST',
    proofs: [],
    ...changes,
  }
}

/** What the issuer says of a good token but for these members; `undefined` takes one away. */
function activeToken(changes: Members = {}): RequestListener {
  return json({
    active: true,
    iss: issuer.url,
    aud: AUDIENCE,
    sub: 'user-1',
    client_id: 'client-1',
    scope: 'mcp:use documents:process',
    token_type: 'Bearer',
    iat: NOW - 10,
    exp: NOW + 600,
    jti: 'id-1',
    ...changes,
  })
}

/** Makes the issuer say this of a token. */
function says(token: string, answer: RequestListener): void {
  issuer.answers.set(token, answer)
}

async function errorOf(promise: Promise<unknown>): Promise<Denied> {
  const error = await promise.then(
    () => undefined,
    (caught: unknown) => caught,
  )
  if (error instanceof Denied) return error
  throw new Error('not refused', { cause: error })
}

/** Why a token is rejected. */
async function faultOf(ways: AuthStrategy, token: string | Presented): Promise<string> {
  const presented = typeof token === 'string' ? credential(token) : token
  const { reason, cause } = await errorOf(ways.verify(presented, NOW_MS))
  expect(reason).toBe('authenticate.rejected')
  return cause instanceof CredentialFault ? cause.fault : 'none'
}

/** Seconds after which to ask again, when a token gets no verdict. */
async function retryAfter(ways: AuthStrategy, token: string): Promise<string | undefined> {
  const { reason, headers } = await errorOf(ways.verify(credential(token), NOW_MS))
  expect(reason).toBe('authenticate.introspection-unavailable')
  return headers['retry-after']
}

const fails: RequestListener = (_request, response) => response.writeHead(500).end()

describe('contract: an opaque token of the issuer that is asked', () => {
  it('turns what the issuer says into the caller', async () => {
    says('opaque-1', activeToken())
    const ways = strategy()
    await expect(ways.verify(credential('opaque-1'), NOW_MS)).resolves.toMatchObject({
      principal: {
        kind: 'oauth',
        issuer: issuer.url,
        client: 'client-1',
        subject: 'user-1',
        scopes: ['mcp:use', 'documents:process'],
        roles: [],
        tenant: null,
      },
      credentialDigest: credential('opaque-1').digest,
      credentialId: 'id-1',
      expiresAt: NOW + 600,
    })
  })

  it.each<[string, Members, Partial<IssuerPolicy>]>([
    ['without iss, which is then the one that was asked', { iss: undefined }, {}],
    ['without iat', { iat: undefined }, {}],
    ['without token_type', { token_type: undefined }, {}],
    ['with token_type in another case', { token_type: 'bEARER' }, {}],
    ['with what Keycloak adds', { typ: 'Bearer', azp: 'client-1', username: 'u' }, {}],
    ['with what Ory Hydra adds', { token_use: 'access_token', nbf: NOW - 10, ext: {} }, {}],
    ['for several audiences', { aud: ['https://other.example', AUDIENCE] }, {}],
    ['for an audience of policy', { aud: 'api' }, { audiences: ['api'] }],
    ['with scopes in a list, as policy says', { scope: ['mcp:use'] }, { scopeFormat: 'array' }],
    ['within the tolerance', { exp: NOW - 29, iat: NOW - 600, nbf: NOW + 29 }, {}],
  ])('lets one %s through', async (_name, members, policy) => {
    says('opaque-1', activeToken(members))
    const caller = await strategy({ policy }).verify(credential('opaque-1'), NOW_MS)
    expect(caller?.principal).toMatchObject({ issuer: issuer.url, subject: 'user-1' })
  })

  it('reads roles and tenant as policy says', async () => {
    says('opaque-1', activeToken({ roles: ['bulk'], tid: 'acme' }))
    const ways = strategy({ policy: { rolesClaim: 'roles', tenantClaim: 'tid' } })
    const caller = await ways.verify(credential('opaque-1'), NOW_MS)
    expect(caller?.principal).toMatchObject({ roles: ['bulk'], tenant: 'acme' })
  })

  it('takes a token that is bound to the certificate of the connection', async () => {
    const certificate = createHash('sha256').update('certificate').digest('base64url')
    says('opaque-1', activeToken({ cnf: { 'x5t#S256': certificate } }))
    const ways = strategy({ policy: { senderConstraint: 'mtls' } })
    expect(await faultOf(ways, 'opaque-1')).toBe('certificate')
    // What is remembered of that refusal does not lock out whoever has the certificate.
    const holder = credential('opaque-1', { certificate })
    await expect(ways.verify(holder, NOW_MS)).resolves.toBeDefined()
    expect(ways.recall(holder, NOW_MS)).toBeDefined()
    expect(ways.recall(credential('opaque-1'), NOW_MS)).toBeUndefined()
  })

  it('asks with one form, the client authenticated, and nothing else of the request', async () => {
    says('opaque-1', activeToken())
    await strategy().verify(credential('opaque-1'), NOW_MS)
    const [question, second] = issuer.questions
    expect(second).toBeUndefined()
    expect(question).toMatchObject({
      method: 'POST',
      path: '/introspect',
      body: 'token=opaque-1&token_type_hint=access_token',
    })
    expect(question?.headers).toEqual({
      accept: 'application/json, application/*+json',
      'accept-encoding': 'identity',
      authorization: `Basic ${Buffer.from(`gatehouse:${SECRET}`).toString('base64')}`,
      connection: 'close',
      'content-length': '43',
      'content-type': 'application/x-www-form-urlencoded',
      host: new URL(issuer.url).host,
    })
  })

  // RFC 6749 §2.3.1 and appendix B: each part form-encoded, then joined, then base64.
  it.each([
    ['a colon in the id', 'a:b', 's', 'a%3Ab:s'],
    ['a colon in the secret', 'a', 's:t', 'a:s%3At'],
    ['spaces', 'a b', 's t', 'a+b:s+t'],
    ['a plus and a slash', 'a+b', 's/t=', 'a%2Bb:s%2Ft%3D'],
    ['what was encoded before', 'a%3Ab', '%25', 'a%253Ab:%2525'],
    ['what separates fields', 'a&b=c', ';?#@', 'a%26b%3Dc:%3B%3F%23%40'],
    ['what stays as it is', 'A-z_0.9*', '*-._', 'A-z_0.9*:*-._'],
    ['quotes and the rest', `"'<>\\^`, '`{|}~!$(),[]', undefined],
  ])('authenticates with %s', async (_name, clientId, clientSecret, expected) => {
    says('opaque-1', activeToken())
    await strategy({ clientId, clientSecret }).verify(credential('opaque-1'), NOW_MS)
    const sent = String(issuer.questions[0]?.headers['authorization'])
    expect(sent).toMatch(/^Basic [A-Za-z0-9+/]+=*$/)
    const pair = Buffer.from(sent.slice(6), 'base64').toString()
    if (expected !== undefined) expect(pair).toBe(expected)
    const decoded = pair.split(':').map((part) => new URLSearchParams(`x=${part}`).get('x'))
    expect(decoded).toEqual([clientId, clientSecret])
  })

  it('sends every character of a token', async () => {
    const token = 'a+b/c~d._-=='
    says(token, activeToken())
    await expect(strategy().verify(credential(token), NOW_MS)).resolves.toBeDefined()
    expect(issuer.questions[0]?.body).toBe(
      'token=a%2Bb%2Fc%7Ed._-%3D%3D&token_type_hint=access_token',
    )
  })
})

describe('threat: a token that the issuer does not vouch for, or not for this server', () => {
  it.each<[string, string, Members]>([
    ['an inactive token', 'inactive', { active: false }],
    ['active as a string', 'inactive', { active: 'true' }],
    ['active as 1', 'inactive', { active: 1 }],
    ['active as null', 'inactive', { active: null }],
    ['active as a list', 'inactive', { active: [true] }],
    ['another issuer', 'issuer', { iss: 'https://evil.example' }],
    ['the issuer with a slash', 'issuer', { iss: 'SLASH' }],
    ['an issuer of null', 'issuer', { iss: null }],
    ['no audience', 'audience', { aud: undefined }],
    ['an audience of null', 'audience', { aud: null }],
    ['another audience', 'audience', { aud: 'https://other.example/mcp' }],
    ['an empty list of audiences', 'audience', { aud: [] }],
    ['a prefix of the audience', 'audience', { aud: AUDIENCE.slice(0, -1) }],
    ['the audience as a prefix', 'audience', { aud: `${AUDIENCE}/admin` }],
    ['the audience in capitals', 'audience', { aud: AUDIENCE.toUpperCase() }],
    ['two audiences in one string', 'audience', { aud: `${AUDIENCE} https://a.example` }],
    ['the audience in a nested list', 'audience', { aud: [[AUDIENCE]] }],
    ['the audience as a member', 'audience', { aud: { [AUDIENCE]: true } }],
    ['a list of others', 'audience', { aud: ['https://a.example', 'https://b.example'] }],
    ['no end', 'claims', { exp: undefined }],
    ['an end as a string', 'claims', { exp: String(NOW + 600) }],
    ['an end with a fraction', 'claims', { exp: NOW + 600.5 }],
    ['an end of null', 'claims', { exp: null }],
    ['an end that has passed', 'expired', { exp: NOW - 30, iat: NOW - 600 }],
    ['a beginning that has not come', 'not-yet-valid', { nbf: NOW + 31 }],
    ['a beginning as a string', 'claims', { nbf: String(NOW) }],
    ['an issue that is still to come', 'not-yet-valid', { iat: NOW + 31 }],
    ['an issue as a string', 'claims', { iat: String(NOW) }],
    ['an issue of null', 'claims', { iat: null }],
    ['a life that is too long', 'lifetime', { iat: NOW - 1, exp: NOW + 86_400 }],
    ['a life that is too long, without issue', 'lifetime', { iat: undefined, exp: NOW + 86_401 }],
    ['no subject', 'claims', { sub: undefined }],
    ['a subject that is a number', 'claims', { sub: 1 }],
    ['a line break in the subject', 'claims', { sub: 'user\n1' }],
    ['scopes in a list that policy does not name', 'claims', { scope: ['mcp:use'] }],
    ['a binding to a DPoP key', 'sender-constrained', { cnf: { jkt: 'x' } }],
    ['a binding to a certificate', 'sender-constrained', { cnf: { 'x5t#S256': 'x' } }],
    ['an empty binding', 'sender-constrained', { cnf: {} }],
    ['a refresh token by token_type', 'type', { token_type: 'refresh_token' }],
    ['a token that wants a proof', 'type', { token_type: 'DPoP' }],
    ['a token_type of null', 'type', { token_type: null }],
    ['a refresh token by token_use', 'type', { token_use: 'refresh_token' }],
    ['an ID token by token_use', 'type', { token_use: 'id' }],
    ['a refresh token by typ', 'type', { typ: 'Refresh' }],
    ['an offline token by typ', 'type', { typ: 'Offline' }],
    ['an ID token by typ', 'type', { typ: 'ID' }],
    ['an ID token by its nonce', 'type', { nonce: 'n' }],
    ['an ID token by at_hash', 'type', { at_hash: 'h' }],
    ['a logout token', 'type', { events: {} }],
  ])('refuses %s', async (_name, fault, members) => {
    const changes = members['iss'] === 'SLASH' ? { iss: `${issuer.url}/` } : members
    says('opaque-1', activeToken(changes))
    const ways = strategy()
    expect(await faultOf(ways, 'opaque-1')).toBe(fault)
    // From memory the answer is the same.
    expect(await faultOf(ways, 'opaque-1')).toBe(fault)
    expect(issuer.asked('opaque-1')).toBe(1)
    expect(ways.recall(credential('opaque-1'), NOW_MS)).toBeUndefined()
  })

  it('refuses a token of the scheme DPoP, without asking', async () => {
    says('opaque-1', activeToken({ cnf: { jkt: 'x'.repeat(43) } }))
    const policies = [{}, { senderConstraint: 'dpop' }] as const
    for (const policy of policies) {
      const ways = strategy({ policy })
      const sent = credential('opaque-1', { scheme: 'dpop' })
      expect(await faultOf(ways, sent)).toBe('sender-constrained')
    }
    expect(issuer.questions).toHaveLength(0)
  })
})

/** A JWT as far as its shape goes. */
function jwtOf(header: unknown, payload: unknown): string {
  const parts = [header, payload].map((part) =>
    Buffer.from(typeof part === 'string' ? part : JSON.stringify(part)).toString('base64url'),
  )
  return `${parts.join('.')}.AAAA`
}

describe('threat: tokens of others and keys are handed to the issuer that is asked', () => {
  it.each<[string, () => string]>([
    ['an API key', () => `mcpk_abcdefghijkl_${'a'.repeat(43)}_aaaaaa`],
    ['what begins like an API key', () => 'mcpk_'],
    ['a JWT of another issuer', () => jwtOf({ alg: 'ES256' }, { iss: 'https://other.example' })],
    ['a JWT of the issuer with a slash', () => jwtOf({ alg: 'ES256' }, { iss: `${issuer.url}/` })],
    ['a JWT that names it in a list', () => jwtOf({ alg: 'ES256' }, { iss: [issuer.url] })],
    ['a JWT without issuer', () => jwtOf({ alg: 'ES256' }, { sub: 'user-1' })],
    [
      'a JWT with two issuers',
      () => jwtOf({ alg: 'ES256' }, `{"iss":"https://other.example","iss":"${issuer.url}"}`),
    ],
    ['three parts that are not JSON', () => 'aaaa.bbbb.cccc'],
    ['a JWT with crit', () => jwtOf({ alg: 'ES256', crit: ['x'] }, { iss: issuer.url })],
  ])('does not ask about %s', async (_name, make) => {
    issuer.always = activeToken()
    await expect(strategy().verify(credential(make()), NOW_MS)).resolves.toBeUndefined()
    expect(issuer.questions).toHaveLength(0)
  })

  it.each<[string, () => string]>([
    ['a word', () => 'opaque'],
    ['a JWT of the issuer', () => jwtOf({ alg: 'ES256' }, { iss: issuer.url })],
    ['two parts', () => 'a.b'],
    ['an encrypted token, which has five parts', () => 'a.b.c.d.e'],
    ['what is base64 and not base64url', () => 'a+/b.c.d='],
  ])('asks about %s', async (_name, make) => {
    issuer.always = activeToken()
    await expect(strategy().verify(credential(make()), NOW_MS)).resolves.toBeDefined()
    expect(issuer.questions).toHaveLength(1)
  })
})

describe('contract: what the issuer says is remembered for a moment', () => {
  it('asks once, and knows the token from then on', async () => {
    says('opaque-1', activeToken())
    const ways = strategy()
    expect(ways.recall(credential('opaque-1'), NOW_MS)).toBeUndefined()
    await ways.verify(credential('opaque-1'), NOW_MS)
    await ways.recheck(credential('opaque-1'), NOW_MS)
    expect(ways.recall(credential('opaque-1'), NOW_MS)).toMatchObject({ credentialId: 'id-1' })
    expect(issuer.asked('opaque-1')).toBe(1)
  })

  it('shares one request between callers who come at the same time', async () => {
    says('opaque-1', activeToken())
    const ways = strategy({ verificationCacheSeconds: 0 })
    const calls = Array.from({ length: 50 }, () => ways.verify(credential('opaque-1'), NOW_MS))
    expect((await Promise.all(calls)).every((caller) => caller !== undefined)).toBe(true)
    expect(issuer.asked('opaque-1')).toBe(1)
    await ways.verify(credential('opaque-1'), NOW_MS)
    expect(issuer.asked('opaque-1')).toBe(2)
  })

  it('asks again when a no is 10 s old, and finds what has become active', async () => {
    const ways = strategy()
    expect(await faultOf(ways, 'opaque-1')).toBe('inactive')
    says('opaque-1', activeToken())
    time.advance(9999)
    expect(await faultOf(ways, 'opaque-1')).toBe('inactive')
    time.advance(2)
    await expect(ways.verify(credential('opaque-1'), NOW_MS)).resolves.toBeDefined()
  })
})

describe('threat: a remembered token outlives what made it good', () => {
  it.each([60, 5])('stops a revoked one within the %i s that policy sets', async (seconds) => {
    says('opaque-1', activeToken())
    const ways = strategy({ verificationCacheSeconds: seconds })
    await ways.verify(credential('opaque-1'), NOW_MS)
    says('opaque-1', INACTIVE)
    time.advance(seconds * 1000 - 1)
    await expect(ways.verify(credential('opaque-1'), NOW_MS)).resolves.toBeDefined()
    time.advance(2)
    expect(ways.recall(credential('opaque-1'), NOW_MS)).toBeUndefined()
    expect(await faultOf(ways, 'opaque-1')).toBe('inactive')
    const held = await errorOf(ways.recheck(credential('opaque-1'), NOW_MS))
    expect(held.reason).toBe('authenticate.rejected')
  })

  it.each<[string, Members, number]>([
    ['it has expired', { exp: NOW + 5 }, NOW + 35],
    ['the wall clock went back before its issue', {}, NOW - 3600],
  ])('refuses a remembered one when %s', async (_name, members, later) => {
    says('opaque-1', activeToken(members))
    const ways = strategy()
    await ways.verify(credential('opaque-1'), NOW_MS)
    expect(ways.recall(credential('opaque-1'), later * 1000)).toBeUndefined()
    const { reason } = await errorOf(ways.verify(credential('opaque-1'), later * 1000))
    expect(reason).toBe('authenticate.rejected')
    expect(issuer.asked('opaque-1')).toBe(1)
  })

  it('remembers none beyond its end', async () => {
    says('opaque-1', activeToken({ exp: NOW + 5 }))
    const ways = strategy()
    await ways.verify(credential('opaque-1'), NOW_MS)
    time.advance(5001)
    // The wall clock stands still here: the entry itself is gone.
    expect(ways.recall(credential('opaque-1'), NOW_MS)).toBeUndefined()
  })

  it('hands out claims that nobody can change for the next request', async () => {
    says('opaque-1', activeToken())
    const caller = await strategy().verify(credential('opaque-1'), NOW_MS)
    expect(Object.isFrozen(caller?.claims)).toBe(true)
  })

  it('lets invented tokens push no good one out', async () => {
    const said = { active: true, aud: AUDIENCE, sub: 'user-1', exp: NOW + 600 }
    const ways = introspection({
      policy: policyOf(),
      endpoint: {
        ask: async ({ token }) => (token === 'opaque-1' ? said : { active: false }),
        available: () => true,
      },
      publicUrl: AUDIENCE,
      verificationCacheSeconds: 60,
      clock: time,
    })
    const good = credential('opaque-1')
    await ways.verify(good, NOW_MS)
    for (let index = 0; index < 10_001; index += 1) {
      const invented = { ...good, token: `invented-${index}`, digest: `digest-${index}` }
      await ways.verify(invented, NOW_MS).catch(() => undefined)
    }
    expect(ways.recall(good, NOW_MS)).toBeDefined()
  })
})

describe('threat: an outage of the issuer, callers are told that their tokens are bad', () => {
  const withBody =
    (body: string, type = 'application/json'): RequestListener =>
    (_request, response) =>
      response.writeHead(200, { 'content-type': type }).end(body)

  it.each<[string, string, RequestListener]>([
    ['an error', 'status', fails],
    [
      'our credentials refused',
      'client-authentication',
      (_request, response) => response.writeHead(401).end('{"error":"invalid_client"}'),
    ],
    ['a place that is gone', 'status', (_request, response) => response.writeHead(404).end()],
    ['too many of us', 'status', (_request, response) => response.writeHead(429).end()],
    ['a request it finds bad', 'status', (_request, response) => response.writeHead(400).end()],
    ['no content', 'status', (_request, response) => response.writeHead(204).end()],
    ['a cut connection', 'network', (_request, response) => response.destroy()],
    ['no answer', 'timeout', () => undefined],
    [
      'a redirect',
      'redirect',
      (_request, response) => response.writeHead(307, { location: '/elsewhere' }).end(),
    ],
    ['a page', 'not-json', withBody('<html></html>', 'text/html')],
    ['a good answer as a page', 'not-json', withBody('{"active":true}', 'text/html')],
    ['a signed answer', 'not-json', withBody('a.b.c', 'application/token-introspection+jwt')],
    ['half of an answer', 'not-json', withBody('{"active":true')],
    ['active twice', 'not-json', withBody('{"active":false,"active":true}')],
    ['20 kB', 'too-large', withBody(`{"active":true,"x":"${'x'.repeat(20_000)}"}`)],
    ['a list', 'document', withBody('[{"active":true}]')],
    ['true', 'document', withBody('true')],
    ['null', 'document', withBody('null')],
    ['nothing about active', 'document', withBody('{"error":"server_error"}')],
  ])('gives no verdict on %s, and remembers none', async (_name, reason, answer) => {
    issuer.always = answer
    const ways = strategy({ timeoutMs: 200 })
    expect(await retryAfter(ways, 'opaque-1')).toBe('5')
    expect(logged).toMatchObject([{ fields: { issuer: issuer.url, reason } }])

    issuer.always = activeToken()
    time.advance(5001)
    await expect(ways.verify(credential('opaque-1'), NOW_MS)).resolves.toBeDefined()
    expect(issuer.questions.every(({ path }) => path === '/introspect')).toBe(true)
  })

  it('gives no verdict while nobody listens, and recovers by itself', async () => {
    says('opaque-1', activeToken())
    await issuer.down()
    const ways = strategy()
    expect(ways.available(NOW_MS)).toBe(true)
    expect(await retryAfter(ways, 'opaque-1')).toBe('5')
    expect(ways.available(NOW_MS)).toBe(false)
    await issuer.up()
    expect(await retryAfter(ways, 'opaque-1')).toBe('5')
    time.advance(5001)
    expect(ways.available(NOW_MS)).toBe(true)
    await expect(ways.verify(credential('opaque-1'), NOW_MS)).resolves.toBeDefined()
  })

  it('goes on with what it remembers, good and bad', async () => {
    says('opaque-1', activeToken())
    const ways = strategy()
    await ways.verify(credential('opaque-1'), NOW_MS)
    expect(await faultOf(ways, 'opaque-2')).toBe('inactive')
    await issuer.down()
    await retryAfter(ways, 'opaque-3')
    await expect(ways.verify(credential('opaque-1'), NOW_MS)).resolves.toBeDefined()
    expect(await faultOf(ways, 'opaque-2')).toBe('inactive')
    await issuer.up()
  })

  it('costs the issuer one request in a cool-down, and one at a time until it answers', async () => {
    issuer.always = fails
    const ways = strategy()
    for (let index = 0; index < 20; index += 1) await retryAfter(ways, `a-${index}`)
    expect(issuer.questions).toHaveLength(1)
    expect(logged).toHaveLength(1)

    time.advance(5001)
    const answers = Array.from({ length: 20 }, (_, index) => retryAfter(ways, `b-${index}`))
    expect((await Promise.all(answers)).toSorted()).toEqual([...Array(19).fill('1'), '5'])
    expect(issuer.questions).toHaveLength(2)
    expect(logged).toHaveLength(2)

    issuer.always = INACTIVE
    time.advance(5001)
    await faultOf(ways, 'c-0')
    const after = await Promise.all(
      Array.from({ length: 10 }, (_, index) => faultOf(ways, `d-${index}`)),
    )
    expect(after).toEqual(after.map(() => 'inactive'))
  })

  it('tells the time that is left', async () => {
    issuer.always = fails
    const ways = strategy()
    expect(await retryAfter(ways, 'opaque-1')).toBe('5')
    time.advance(3500)
    expect(await retryAfter(ways, 'opaque-2')).toBe('2')
  })

  it('cools down for less when policy says so', async () => {
    issuer.always = fails
    expect(await retryAfter(strategy({ cooldownSeconds: 1 }), 'opaque-1')).toBe('1')
  })
})

describe('threat: one caller with an odd token, all others are locked out', () => {
  it.each<[string, RequestListener]>([
    ['is no token to the issuer', (_request, response) => response.writeHead(400).end()],
    ['a firewall stops', (_request, response) => response.writeHead(403).end()],
    ['has too much to be said of it', json({ active: true, groups: 'x'.repeat(20_000) })],
    ['is answered without active', json({ error: 'unsupported_token_type' })],
  ])('puts off a token that %s, and no other', async (_name, answer) => {
    says('odd', answer)
    says('opaque-1', activeToken())
    const ways = strategy()
    expect(await retryAfter(ways, 'odd')).toBe('5')
    await expect(ways.verify(credential('opaque-1'), NOW_MS)).resolves.toBeDefined()
    expect(ways.available(NOW_MS)).toBe(true)
    time.advance(2000)
    expect(await retryAfter(ways, 'odd')).toBe('3')
    expect(issuer.asked('odd')).toBe(1)
  })

  it('puts one line into the log, however many come in a cool-down', async () => {
    issuer.always = (_request, response) => response.writeHead(400).end()
    const ways = strategy()
    for (let index = 0; index < 5; index += 1) await retryAfter(ways, `odd-${index}`)
    expect(issuer.questions).toHaveLength(5)
    expect(logged).toHaveLength(1)
    time.advance(5000)
    await retryAfter(ways, 'odd-5')
    expect(logged).toHaveLength(2)
  })
})

describe('threat: a flood of invented tokens, this server or the issuer is exhausted', () => {
  it('has 16 requests under way at most, and tells the others to come back', async () => {
    const waiting: (() => void)[] = []
    issuer.always = (request, response) => waiting.push(() => INACTIVE(request, response))
    const ways = strategy()
    const calls = Array.from({ length: 40 }, (_, index) =>
      errorOf(ways.verify(credential(`invented-${index}`), NOW_MS)),
    )
    const refused = await Promise.all(calls.slice(16))
    expect(new Set(refused.map(({ reason }) => reason))).toEqual(
      new Set(['authenticate.introspection-unavailable']),
    )
    expect(new Set(refused.map(({ headers }) => headers['retry-after']))).toEqual(new Set(['1']))
    await expect.poll(() => waiting.length).toBe(16)
    for (const answer of waiting) answer()
    const answered = await Promise.all(calls.slice(0, 16))
    expect(answered.every(({ reason }) => reason === 'authenticate.rejected')).toBe(true)

    // A flood is no failure, and leaves room when it is over.
    issuer.always = activeToken()
    await expect(ways.verify(credential('opaque-1'), NOW_MS)).resolves.toBeDefined()
    expect(logged).toEqual([])
  })
})

describe('threat: tokens and the secret in errors, records and claims', () => {
  it.each<[string, RequestListener]>([
    ['rejected', INACTIVE],
    ['not answered', fails],
    [
      'answered with what was sent',
      (request, response) => json(request.headers)(request, response),
    ],
    ['cut off', (_request, response) => response.destroy()],
  ])('are in no error of a token that is %s, and not in the log', async (_name, answer) => {
    issuer.always = answer
    const ways = strategy()
    const token = 'canary-6e2f7a'
    const error = await errorOf(ways.verify(credential(token), NOW_MS))
    const everything = inspect([error, logged], { depth: 20, showHidden: true })
    const basic = Buffer.from(`gatehouse:${SECRET}`).toString('base64')
    for (const secret of [token, SECRET, basic]) expect(everything).not.toContain(secret)
  })

  it('keeps no member that repeats the token, such as jti', async () => {
    const token = 'canary-6e2f7a'
    says(token, activeToken({ jti: token, token, access_token: token }))
    const caller = await strategy().verify(credential(token), NOW_MS)
    expect(caller?.credentialId).toBeNull()
    expect(JSON.stringify(caller)).not.toContain(token)
  })
})
