// optional: oauth (jose)
import { errors } from 'jose'
import { LRUCache } from 'lru-cache'
import type { Clock } from '../clock.ts'
import type { Identity } from '../context.ts'
import { Denied } from '../errors.ts'
import type { IssuerPolicy } from '../policy.ts'
import { decodeToken, tokenFault, type Verification, verifyToken } from './access-token.ts'
import type { ProveSender } from './dpop.ts' // optional: dpop
import type { KeySet } from './key-set.ts'
import { type AuthStrategy, type Credential, CredentialFault } from './strategy.ts'
import { identityOf } from './token-claims.ts'

const MAX_CACHED_TOKENS = 10_000

/** One issuer whose tokens are accepted, with its keys. */
export interface TrustedIssuer {
  readonly policy: IssuerPolicy
  readonly keys: KeySet
}

export interface OAuthOptions {
  readonly issuers: readonly TrustedIssuer[]
  /** The audience of issuers whose policy names none. */
  readonly publicUrl: string
  readonly verificationCacheSeconds: number
  readonly proveSender: ProveSender // optional: dpop
  /** For the life of cache entries. */
  readonly clock: Clock
}

/** What a cache entry says: this issuer signed this payload with this key, of that generation of keys. */
interface Verified extends Verification {
  readonly issuer: TrustedIssuer
  readonly generation: number
}

interface Caller {
  readonly identity: Identity
  readonly verified: Verified
}

/**
 * Threat:  Forged, stolen, expired or foreign tokens; tokens of another kind or for another resource;
 *          tokens that choose their own key or algorithm.
 * Rule:    JWT access tokens of configured issuers. The issuer, and with it keys, algorithms and
 *          audiences, is looked up by the exact `iss`; nothing else in an unverified token has any
 *          effect. Signature, `iss`, `aud` and `typ` are checked once and remembered until the keys
 *          change, at most `verificationCacheSeconds`; times, claims and what the token is bound to
 *          on every request.
 * Policy:  policies/auth.yaml `issuers`, `verificationCacheSeconds`
 * Refuses: 401 `authenticate.rejected`, 503 `authenticate.keys-unavailable`
 * Source:  RFC 9068 §4; RFC 8725 §3; RFC 8707 §2; MCP 2026-07-28 Authorization, Token Handling
 *
 * A token that its issuer revokes keeps working until it expires: `maxTokenLifetimeSeconds` bounds
 * how long that can be.
 */
export function oauth(options: OAuthOptions): AuthStrategy {
  const { publicUrl, verificationCacheSeconds, clock } = options
  const { proveSender } = options // optional: dpop
  const issuers = new Map(options.issuers.map((issuer) => [issuer.policy.issuer, issuer]))
  const cache = new LRUCache<string, Verified>({
    max: MAX_CACHED_TOKENS,
    perf: clock,
    ttlResolution: 0,
  })

  function recall({ digest }: Credential): Verified | undefined {
    const verified = cache.get(digest)
    if (verified === undefined) return undefined
    return verified.generation === verified.issuer.keys.generation() ? verified : undefined
  }

  function remember({ digest }: Credential, verified: Verified, nowMs: number): void {
    const { exp = 0 } = verified.payload
    const ttl = Math.floor(Math.min(verificationCacheSeconds * 1000, exp * 1000 - nowMs))
    if (ttl > 0) cache.set(digest, verified, { ttl })
  }

  async function verifyAnew(token: string, nowMs: number): Promise<Verified> {
    const { header, iss } = decodeToken(token)
    const issuer = issuers.get(iss)
    if (issuer === undefined) throw new CredentialFault('issuer')
    const { policy, keys } = issuer
    const generation = keys.generation()
    const audiences = policy.audiences ?? [publicUrl]
    const { payload, key } = await verifyToken(token, header, { ...policy, audiences }, keys, nowMs)
    // The keys changed meanwhile, as they do while the first call waits for them.
    if (generation !== keys.generation()) return verifyAnew(token, nowMs)
    return { issuer, payload: Object.freeze(payload), key, generation }
  }

  /** All but the proof of possession. */
  async function check(credential: Credential, nowMs: number): Promise<Caller> {
    const known = recall(credential)
    const verified = known ?? (await verifyAnew(credential.token, nowMs))
    const identity = identityOf(verified.payload, verified.issuer.policy, credential, nowMs)
    if (typeof identity === 'string') throw new CredentialFault(identity)
    if (known === undefined) remember(credential, verified, nowMs)
    return { identity, verified }
  }

  return {
    recall(credential, nowMs) {
      const verified = credential.scheme === 'bearer' ? recall(credential) : undefined
      if (verified === undefined) return undefined
      const identity = identityOf(verified.payload, verified.issuer.policy, credential, nowMs)
      return typeof identity === 'string' ? undefined : identity
    },

    async verify(presented, nowMs) {
      if (isApiKey(presented)) return undefined
      try {
        const caller = await check(presented, nowMs)
        await proveSender(presented, caller.verified, nowMs) // optional: dpop
        return caller.identity
      } catch (error) {
        throw refusalOf(error)
      }
    },

    async recheck(credential, nowMs) {
      if (isApiKey(credential)) return undefined
      try {
        return (await check(credential, nowMs)).identity
      } catch (error) {
        throw refusalOf(error)
      }
    },

    available() {
      return options.issuers.some(({ keys }) => keys.available())
    },

    close() {
      for (const { keys } of options.issuers) keys.close()
    },
  }
}

/** Leaves API keys to their own strategy. */
function isApiKey({ token }: Credential): boolean {
  return token.startsWith('mcpk_')
}

/** One answer for every fault of a token. What is no fault of the token stays what it is. */
function refusalOf(error: unknown): unknown {
  const cause = error instanceof errors.JOSEError ? new CredentialFault(tokenFault(error)) : error
  return cause instanceof CredentialFault ? new Denied('authenticate.rejected', { cause }) : error
}
