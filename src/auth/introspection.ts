// optional: introspection
import { LRUCache } from 'lru-cache'
import type { Clock } from '../clock.ts'
import type { Identity } from '../context.ts'
import { Denied } from '../errors.ts'
import type { IssuerPolicy } from '../policy.ts'
import { decodeToken, isJwtShaped } from './access-token.ts'
import type { IntrospectionEndpoint } from './introspection-endpoint.ts'
import { type Claims, claimsOf } from './introspection-response.ts'
import { type AuthStrategy, type Credential, CredentialFault, type Fault } from './strategy.ts'
import { identityOf } from './token-claims.ts'

/** In each of the two caches: tokens that somebody invents push no good one out. */
const MAX_CACHED_TOKENS = 10_000
const REFUSED_MS = 10_000

export interface IntrospectionOptions {
  readonly policy: IssuerPolicy
  readonly endpoint: IntrospectionEndpoint
  /** The audience when the issuer's policy names none. */
  readonly publicUrl: string
  readonly verificationCacheSeconds: number
  /** For the life of cache entries. */
  readonly clock: Clock
}

/**
 * Threat:  Forged, expired, revoked or foreign tokens that this server cannot read by itself; tokens
 *          of one issuer, or API keys, that are handed to another.
 * Rule:    one issuer is asked, about tokens that are not JWTs and about JWTs that name it in `iss`.
 *          It must call the token active, and say that it is for this server. A yes is remembered by
 *          the SHA-256 of the token, at most `verificationCacheSeconds` and never beyond its end, a no
 *          for 10 s, and that only ever refuses. Times and claims are checked on every request.
 * Policy:  policies/auth.yaml `issuers`, `verificationCacheSeconds`
 * Refuses: 401 `authenticate.rejected`, 503 `authenticate.introspection-unavailable`
 * Source:  RFC 7662 §2.2 and §4; RFC 8707 §2; MCP 2026-07-28 Authorization, Token Handling
 *
 * A token that its issuer revokes works until the yes is forgotten. Whatever else is sent that is not
 * a JWT reaches this issuer as well, because nothing in it says whose it is.
 */
export function introspection(options: IntrospectionOptions): AuthStrategy {
  const { policy, endpoint, publicUrl, verificationCacheSeconds, clock } = options
  const rules = { issuer: policy.issuer, audiences: policy.audiences ?? [publicUrl] }
  const bounds = { max: MAX_CACHED_TOKENS, perf: clock, ttlResolution: 0 }
  const active = new LRUCache<string, Claims>(bounds)
  const refused = new LRUCache<string, Claims | Fault>({ ...bounds, ttl: REFUSED_MS })

  /** @param told what the issuer says: claims, or why the token is not one for this server */
  function callerOf(told: Claims | Fault, credential: Credential, nowMs: number): Identity | Fault {
    if (typeof told === 'string') return told
    return identityOf(told, policy, credential, nowMs, 'optional')
  }

  async function ask(credential: Credential, nowMs: number): Promise<Identity | Fault> {
    const { token, digest } = credential
    const told = claimsOf(await endpoint.ask(credential), token, rules)
    const caller = callerOf(told, credential, nowMs)
    if (typeof told === 'string' || typeof caller === 'string') {
      refused.set(digest, told)
      return caller
    }
    const endMs = (caller.expiresAt ?? 0) * 1000
    const ttl = Math.floor(Math.min(verificationCacheSeconds * 1000, endMs - nowMs))
    if (ttl > 0) active.set(digest, told, { ttl })
    return caller
  }

  async function judge(credential: Credential, nowMs: number): Promise<Identity | Fault> {
    // A proof of possession is not verified here.
    if (credential.scheme !== 'bearer') return 'sender-constrained'
    const known = active.get(credential.digest)
    if (known !== undefined) return callerOf(known, credential, nowMs)
    const no = refused.get(credential.digest)
    const caller = no === undefined ? undefined : callerOf(no, credential, nowMs)
    return typeof caller === 'string' ? caller : await ask(credential, nowMs)
  }

  async function verify(credential: Credential, nowMs: number): Promise<Identity | undefined> {
    if (!mayBeOf(policy.issuer, credential.token)) return undefined
    const caller = await judge(credential, nowMs)
    if (typeof caller !== 'string') return caller
    throw new Denied('authenticate.rejected', { cause: new CredentialFault(caller) })
  }

  return {
    recall(credential, nowMs) {
      const known = credential.scheme === 'bearer' ? active.get(credential.digest) : undefined
      const caller = known === undefined ? 'unknown' : callerOf(known, credential, nowMs)
      return typeof caller === 'string' ? undefined : caller
    },

    verify,
    recheck: verify,

    available: () => endpoint.available(),

    close() {
      // Nothing runs in the background.
    },
  }
}

/** Whether a token is opaque, or a JWT that says, unverified, that it is of this issuer. */
function mayBeOf(issuer: string, token: string): boolean {
  if (token.startsWith('mcpk_')) return false
  if (!isJwtShaped(token)) return true
  try {
    return decodeToken(token).iss === issuer
  } catch (error) {
    if (error instanceof CredentialFault) return false // Refused by whoever verifies JWTs.
    throw error
  }
}
