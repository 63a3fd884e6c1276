// optional: dpop
import { createHmac, hash, randomBytes } from 'node:crypto'
import { calculateJwkThumbprint, exportJWK, generateKeyPair, SignJWT } from 'jose'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { dpop } from '../../src/auth/dpop.ts'
import { PROOF_ALGORITHMS } from '../../src/auth/dpop-metadata.ts'
import { dpopNonces } from '../../src/auth/dpop-nonce.ts'
import { createKeySet, type KeySet } from '../../src/auth/key-set.ts'
import { oauth } from '../../src/auth/oauth.ts'
import { type AuthStrategy, CredentialFault, type Presented } from '../../src/auth/strategy.ts'
import { Denied } from '../../src/errors.ts'
import type { IssuerPolicy } from '../../src/policy.ts'
import { type SecretRing, secretRing } from '../../src/secrets.ts'
import { memoryStore } from '../../src/stores/memory.ts'
import type { Store } from '../../src/stores/store.ts'
import { type TestClock, testClock } from '../clock.ts'
import { jwksOf, jws, type Members, type SigningKey, signingKey } from '../identity/issuer.ts'
import { proofOf, thumbprint } from '../identity/proof.ts'

const ISSUER = 'https://auth.example.com'
const PLAIN = 'https://plain.example.com'
const URL = 'https://mcp.example.com/mcp'
/** 2026-01-01T00:00:00Z, where a nonce has just become the newest. */
const START_MS = 1_767_225_600_000
const SLOT_MS = 150_000

const POLICY: IssuerPolicy = {
  issuer: ISSUER,
  verification: 'jwt',
  audiences: undefined,
  algorithms: ['ES256', 'EdDSA', 'PS256', 'RS256'],
  tokenTypes: ['at+jwt'],
  senderConstraint: 'dpop',
  scopeClaim: 'scope',
  scopeFormat: 'string',
  clientIdClaims: ['client_id', 'azp'],
  rolesClaim: null,
  tenantClaim: null,
  clockToleranceSeconds: 60,
  maxTokenLifetimeSeconds: 86_400,
  jwksUri: null,
  introspection: null,
  why: 'the issuer of this test',
}

const PROOF_KEYS = (['ES256', 'EdDSA', 'PS256', 'RS256'] as const).map((alg) =>
  signingKey(alg, `client-${alg}`),
)
const issuerKeys = (['ES256', 'EdDSA', 'PS256', 'RS256'] as const).map((alg) =>
  signingKey(alg, alg),
)
const [issuerKey = signingKey('ES256', 'ES256')] = issuerKeys
const client = signingKey('ES256', 'client')
const thief = signingKey('ES256', 'thief')
const root = randomBytes(32)
const ring = secretRing([root])
const nonces = dpopNonces(ring)

let clock: TestClock
let store: Store
let ways: AuthStrategy
const open: KeySet[] = []

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['Date'], now: START_MS })
  clock = testClock()
  store = memoryStore(clock.now)
  ways = strategy()
})
afterEach(() => {
  vi.useRealTimers()
  for (const keys of open.splice(0)) keys.close()
})

function advance(ms: number): void {
  clock.advance(ms)
  vi.setSystemTime(Date.now() + ms)
}

interface Parts {
  readonly store?: Pick<Store, 'once'>
  readonly ring?: SecretRing
  readonly policy?: Partial<IssuerPolicy>
}

/** One issuer that binds its tokens, and one that does not. */
function strategy({ policy = {}, ...parts }: Parts = {}): AuthStrategy {
  const issuers = [
    { ...POLICY, ...policy },
    { ...POLICY, issuer: PLAIN, senderConstraint: 'none' as const },
  ].map((one) => {
    const options = {
      issuer: one.issuer,
      jwksUri: `${one.issuer}/jwks`,
      algorithms: one.algorithms,
      cacheSeconds: 86_400,
      cooldownSeconds: 30,
      staleIfErrorSeconds: 3600,
      timeoutMs: 1000,
    }
    const nothing = (): void => undefined
    const keys = createKeySet(
      options,
      { json: async () => jwksOf(issuerKeys) },
      clock,
      nothing,
      nothing,
    )
    open.push(keys)
    return { policy: one, keys }
  })
  return oauth({
    issuers,
    publicUrl: URL,
    verificationCacheSeconds: 60,
    proveSender: dpop({ publicUrl: URL, ring, store, ...parts }),
    clock,
  })
}
function tokenOf(claims: Members = {}, key: SigningKey = issuerKey): string {
  const now = Math.floor(Date.now() / 1000)
  return jws(
    key,
    { typ: 'at+jwt', alg: key.alg, kid: key.kid },
    {
      iss: ISSUER,
      aud: URL,
      sub: 'user-1',
      client_id: 'client-1',
      scope: 'mcp:use',
      iat: now - 10,
      exp: now + 3600,
      jti: 'token-1',
      cnf: { jkt: thumbprint(client) },
      ...claims,
    },
  )
}

function presented(token: string, proof?: string, changes: Partial<Presented> = {}): Presented {
  return {
    scheme: 'dpop',
    token,
    digest: hash('sha256', token),
    address: '192.0.2.1',
    certificate: undefined,
    method: 'POST',
    proofs: proof === undefined ? [] : [proof],
    ...changes,
  }
}

/** A good proof for this token but for these claims. */
function proofFor(token: string, claims: Members = {}, key = client): string {
  return proofOf({ key, token, url: URL, nonce: nonces.newest(Date.now()), claims })
}

const verify = (sent: Presented, way = ways) => way.verify(sent, Date.now())

/** Why it was refused: the fault of the credential, or the refusal that has another name. */
async function refusal(sent: Presented, way = ways): Promise<string> {
  const error: unknown = await verify(sent, way).catch((caught: unknown) => caught)
  if (!(error instanceof Denied)) throw new Error('was not refused', { cause: error })
  return error.cause instanceof CredentialFault ? error.cause.fault : error.reason
}

describe('contract: a token with the proof of its key', () => {
  it('names the caller', async () => {
    const token = tokenOf()
    const identity = await verify(presented(token, proofFor(token)))
    expect(identity?.principal.subject).toBe('user-1')
    expect(identity?.credentialDigest).toBe(hash('sha256', token))
  })

  it.each(issuerKeys.flatMap((by) => PROOF_KEYS.map((key) => [by.alg, key.alg, by, key] as const)))(
    'lets a token of %s with a proof of %s through',
    async (...[, , by, key]) => {
      const token = tokenOf({ cnf: { jkt: thumbprint(key) } }, by)
      await expect(verify(presented(token, proofFor(token, {}, key)))).resolves.toBeDefined()
    },
  )

  it('takes every algorithm that it names', async () => {
    const named = PROOF_KEYS.map(({ alg }): string => alg).concat('Ed25519')
    expect([...PROOF_ALGORITHMS].sort()).toEqual(named.sort())
    const key = signingKey('EdDSA', 'Ed25519')
    const token = tokenOf({ cnf: { jkt: thumbprint(key) } })
    const nonce = nonces.newest(Date.now())
    const proof = proofOf({ key, token, url: URL, nonce, header: { alg: 'Ed25519' } })
    await expect(verify(presented(token, proof))).resolves.toBeDefined()
  })

  it.each<[string, Members]>([
    ['as old as may be', { iat: START_MS / 1000 - 60 }],
    ['as early as may be', { iat: START_MS / 1000 + 60 }],
    ['with the longest name', { jti: 'x'.repeat(256) }],
    ['for the host in upper case', { htu: 'https://MCP.EXAMPLE.COM/mcp' }],
    ['for the default port', { htu: 'https://mcp.example.com:443/mcp' }],
  ])('lets a proof %s through', async (_name, claims) => {
    const token = tokenOf()
    await expect(verify(presented(token, proofFor(token, claims)))).resolves.toBeDefined()
  })

  it.each(['GET', 'DELETE'])('is for the method of its request alone: %s', async (method) => {
    const token = tokenOf()
    const own = proofFor(token, { htm: method })
    await expect(verify(presented(token, own, { method }))).resolves.toBeDefined()
    expect(await refusal(presented(token, proofFor(token), { method }))).toBe('proof')
    expect(await refusal(presented(token, proofFor(token, { htm: method })))).toBe('proof')
  })

  it('lets a token through for as long after its end as policy says', async () => {
    const token = tokenOf()
    advance(3_659_000)
    await expect(verify(presented(token, proofFor(token)))).resolves.toBeDefined()
    advance(1000)
    expect(await refusal(presented(token, proofFor(token)))).toBe('expired')
  })

  it('finds the audience among several on both sides', async () => {
    const way = strategy({ policy: { audiences: ['other', 'api'] } })
    const token = tokenOf({ aud: ['https://a.example', 'api'] })
    await expect(verify(presented(token, proofFor(token)), way)).resolves.toBeDefined()
    const foreign = tokenOf({ aud: URL })
    expect(await refusal(presented(foreign, proofFor(foreign)), way)).toBe('audience')
  })
})

describe('threat: proofs that are not one, the library takes another one than this server', () => {
  it.each(['ES384', 'RS512'])('refuses one of %s, which is not offered', async (alg) => {
    const { privateKey, publicKey } = await generateKeyPair(alg)
    const jwk = await exportJWK(publicKey)
    const token = tokenOf({ cnf: { jkt: await calculateJwkThumbprint(jwk) } })
    const good = proofFor(token).split('.')[1] ?? ''
    const proof = await new SignJWT(JSON.parse(Buffer.from(good, 'base64url').toString()))
      .setProtectedHeader({ typ: 'dpop+jwt', alg, jwk })
      .sign(privateKey)
    expect(await refusal(presented(token, proof))).toBe('proof')
  })

  it('refuses two in two headers', async () => {
    const token = tokenOf()
    const proofs = [proofFor(token), proofFor(token)]
    expect(await refusal(presented(token, undefined, { proofs }))).toBe('proof')
  })
})

describe('threat: a token that was verified, the thief sends it while it is remembered', () => {
  it('asks for the proof every time, and never takes such a token for a known one', async () => {
    const token = tokenOf()
    await verify(presented(token, proofFor(token)))
    expect(await refusal(presented(token))).toBe('proof')
    expect(await refusal(presented(token, proofFor(token, {}, thief)))).toBe('proof')
    for (const scheme of ['bearer', 'dpop'] as const) {
      expect(ways.recall(presented(token, undefined, { scheme }), Date.now())).toBeUndefined()
    }
    await expect(verify(presented(token, proofFor(token)))).resolves.toBeDefined()
  })

  it.each([
    ['without its proof', () => []],
    ['with its proof', (token: string) => [proofFor(token)]],
  ])('refuses it as Bearer %s, before and after', async (_name, proofsOf) => {
    const token = tokenOf()
    const asBearer = () =>
      presented(token, undefined, { scheme: 'bearer', proofs: proofsOf(token) })
    expect(await refusal(asBearer())).toBe('sender-constrained')
    await verify(presented(token, proofFor(token)))
    expect(await refusal(asBearer())).toBe('sender-constrained')
    expect(ways.recall(asBearer(), Date.now())).toBeUndefined()
  })

  it('checks an open stream without a proof, but all the rest', async () => {
    const token = tokenOf()
    await expect(ways.recheck(presented(token), Date.now())).resolves.toBeDefined()
    const bearer = presented(token, undefined, { scheme: 'bearer' })
    await expect(ways.recheck(bearer, Date.now())).rejects.toThrow(Denied)
    advance(3_660_000)
    await expect(ways.recheck(presented(token), Date.now())).rejects.toThrow(Denied)
  })
})

describe('threat: a token of an issuer that binds none, more is promised than was proven', () => {
  it('refuses it with the scheme DPoP, whatever proof comes along', async () => {
    for (const cnf of [undefined, { jkt: thumbprint(client) }]) {
      const token = tokenOf({ iss: PLAIN, cnf })
      expect(await refusal(presented(token, proofFor(token)))).toBe('sender-constrained')
    }
  })

  it('lets it through as Bearer, and does not read a proof beside it', async () => {
    const token = tokenOf({ iss: PLAIN, cnf: undefined })
    for (const proofs of [[], ['not a proof'], [proofFor(token), proofFor(token)]]) {
      const sent = presented(token, undefined, { scheme: 'bearer', proofs })
      await expect(verify(sent)).resolves.toBeDefined()
    }
  })
})

describe('threat: a recorded proof, it is sent once more', () => {
  it('takes a proof once', async () => {
    const token = tokenOf()
    const sent = presented(token, proofFor(token))
    await verify(sent)
    expect(await refusal(sent)).toBe('replay')
    await expect(verify(presented(token, proofFor(token)))).resolves.toBeDefined()
  })

  it.each([
    ['signed once more', (token: string) => token],
    ['for another token of the same key', () => tokenOf({ jti: 'token-2' })],
  ])('takes its name once, also %s', async (_name, other) => {
    const token = tokenOf()
    await verify(presented(token, proofFor(token, { jti: 'one' })))
    const next = other(token)
    expect(await refusal(presented(next, proofFor(next, { jti: 'one' })))).toBe('replay')
    await expect(verify(presented(next, proofFor(next, { jti: 'two' })))).resolves.toBeDefined()
  })

  it('keeps the names of two keys apart', async () => {
    const [own, other] = [tokenOf(), tokenOf({ cnf: { jkt: thumbprint(thief) } })]
    await verify(presented(other, proofFor(other, { jti: 'one' }, thief)))
    await expect(verify(presented(own, proofFor(own, { jti: 'one' })))).resolves.toBeDefined()
  })

  it('takes one of many at the same moment', async () => {
    const token = tokenOf()
    const sent = presented(token, proofFor(token))
    const results = await Promise.allSettled(Array.from({ length: 20 }, () => verify(sent)))
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
  })

  it('remembers a proof for as long as it could be used', async () => {
    const token = tokenOf()
    const early = proofFor(token, { iat: START_MS / 1000 + 60 })
    await verify(presented(token, early))
    advance(120_000)
    expect(await refusal(presented(token, early))).toBe('replay')
    advance(1000)
    expect(await refusal(presented(token, early))).toBe('proof')
  })

  it('remembers it also for a request that came in time and waits for keys', async () => {
    const token = tokenOf()
    const early = proofFor(token, { iat: START_MS / 1000 + 60 })
    await verify(presented(token, early))
    advance(120_000)
    const lastMomentMs = Date.now()
    advance(20_000)
    await expect(ways.verify(presented(token, early), lastMomentMs)).rejects.toMatchObject({
      cause: { fault: 'replay' },
    })
  })

  it('is noticed by another replica', async () => {
    const token = tokenOf()
    const sent = presented(token, proofFor(token))
    await verify(sent)
    expect(await refusal(sent, strategy())).toBe('replay')
  })

  it('lets nobody through while it cannot be told, and says that it is us', async () => {
    const away = new Denied('store.unavailable', { headers: { 'retry-after': '1' } })
    const way = strategy({ store: { once: () => Promise.reject(away) } })
    const token = tokenOf()
    await expect(verify(presented(token, proofFor(token)), way)).rejects.toBe(away)
  })

  it('keeps nothing of a proof that is refused', async () => {
    const marks: [string, number][] = []
    const way = strategy({
      store: {
        async once(key, ttlSeconds) {
          marks.push([key, ttlSeconds])
          return true
        },
      },
    })
    const token = tokenOf()
    const expired = tokenOf({ exp: START_MS / 1000 - 61, iat: START_MS / 1000 - 120 })
    for (const sent of [
      presented(token, proofFor(token, {}, thief)),
      presented(token, proofFor(token, { ath: 'x' })),
      presented(token, proofFor(token, { nonce: undefined })),
      presented(token, proofFor(token, { iat: 1 })),
      presented(expired, proofFor(expired)),
      presented(tokenOf({ cnf: undefined }), proofFor(token)),
    ]) {
      await refusal(sent, way)
    }
    expect(marks).toEqual([])
    await verify(presented(token, proofFor(token, { jti: 'canary-jti' })), way)
    expect(marks).toEqual([[expect.stringMatching(/^dpop:[0-9a-f]{64}$/), 150]])
  })
})

describe('threat: a proof made in advance, it is used when its maker is gone', () => {
  const nonceError = async (sent: Presented, way = ways): Promise<Denied> => {
    const error: unknown = await verify(sent, way).catch((caught: unknown) => caught)
    if (!(error instanceof Denied)) throw new Error('was not refused', { cause: error })
    expect(error.reason).toBe('authenticate.dpop-nonce')
    return error
  }

  it.each<[string, (token: string) => unknown]>([
    ['none', () => undefined],
    ['the empty one', () => ''],
    ['null', () => null],
    ['a number', () => 1],
    ['a list with a good one', () => [nonces.newest(Date.now())]],
    ['a prefix of a good one', () => nonces.newest(Date.now()).slice(0, -1)],
    ['a good one and more', () => `${nonces.newest(Date.now())}A`],
    ['a good one in lower case', () => nonces.newest(Date.now()).toLowerCase()],
    ['the one before the previous', () => nonces.newest(Date.now() - 2 * SLOT_MS)],
    ['the next one', () => nonces.newest(Date.now() + SLOT_MS)],
    ['one of another secret', () => dpopNonces(secretRing([randomBytes(32)])).newest(Date.now())],
    [
      'one for another purpose',
      () => {
        const slot = String(Date.now() / SLOT_MS)
        return createHmac('sha256', ring('session')[0].key).update(slot).digest('base64url')
      },
    ],
    ['as many bytes that are not ASCII', () => 'é'.repeat(43)],
  ])('asks for a nonce of its own: %s', async (_name, nonceOf) => {
    const token = tokenOf()
    const proof = proofFor(token, { nonce: nonceOf(token) })
    const { headers, cause } = await nonceError(presented(token, proof))
    const sent = nonceOf(token)
    expect(cause).toEqual(sent === undefined ? undefined : new CredentialFault('nonce'))
    expect(headers).toEqual({ 'dpop-nonce': nonces.newest(Date.now()) })
    const next = proofFor(token, { nonce: headers['dpop-nonce'] })
    await expect(verify(presented(token, next))).resolves.toBeDefined()
  })

  it('says nothing of nonces to a proof that is wrong besides', async () => {
    const token = tokenOf()
    for (const claims of [{ ath: 'x' }, { htm: 'GET' }, { iat: 1 }, { jti: '' }]) {
      const proof = proofFor(token, { nonce: undefined, ...claims })
      expect(await refusal(presented(token, proof))).toBe('proof')
    }
  })

  it('takes a nonce until another one has been the newest as long', async () => {
    const token = tokenOf()
    const nonce = nonces.newest(Date.now())
    for (const ms of [SLOT_MS - 1, 1, SLOT_MS - 1]) {
      advance(ms)
      await expect(verify(presented(token, proofFor(token, { nonce })))).resolves.toBeDefined()
    }
    advance(1)
    await nonceError(presented(token, proofFor(token, { nonce })))
  })

  it('takes the nonces of all secrets while they are changed, and gives those of the first', async () => {
    const next = randomBytes(32)
    const changed = secretRing([next, root])
    const way = strategy({ ring: changed })
    const token = tokenOf()
    await expect(verify(presented(token, proofFor(token)), way)).resolves.toBeDefined()
    const { headers } = await nonceError(presented(token, proofFor(token, { nonce: 'x' })), way)
    expect(headers['dpop-nonce']).toBe(dpopNonces(secretRing([next])).newest(Date.now()))
  })
})
