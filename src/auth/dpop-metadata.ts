// optional: dpop
import type { DenyReason } from '../errors.ts'
import type { AuthPolicy } from '../policy.ts'
import { challenge } from './metadata.ts'
import type { Credential } from './strategy.ts'

/**
 * Algorithms of proofs: those that tokens have by default, and the later name of EdDSA (RFC 9864).
 * Asymmetric all (RFC 9449 §11.6).
 */
export const PROOF_ALGORITHMS = ['ES256', 'EdDSA', 'Ed25519', 'PS256', 'RS256'] as const

const ALGS = `algs="${PROOF_ALGORITHMS.join(' ')}"`

/** What the public document of RFC 9728 §2 says of DPoP; nothing when no issuer requires it. */
export function dpopMetadata({ issuers, apiKeys }: AuthPolicy): {
  readonly dpop_signing_alg_values_supported?: readonly string[]
  readonly dpop_bound_access_tokens_required?: boolean
} {
  if (!issuers.some(isDpop)) return {}
  return {
    dpop_signing_alg_values_supported: PROOF_ALGORITHMS,
    dpop_bound_access_tokens_required: issuers.every(isDpop) && !apiKeys.enabled,
  }
}

/**
 * Adds DPoP to the challenges by refusal (RFC 9449 §7.1): beside `Bearer` and after it, because MCP
 * clients read the first one, and by itself for a proof that lacks its nonce (§9).
 */
export function offerDpop(
  challenges: Map<DenyReason, string>,
  metadata: string,
  { issuers, baseScope }: Pick<AuthPolicy, 'issuers' | 'baseScope'>,
): void {
  if (!issuers.some(isDpop)) return
  for (const [reason, bearer] of challenges) challenges.set(reason, `${bearer}, DPoP ${ALGS}`)
  const nonce = challenge(metadata, [baseScope], 'use_dpop_nonce', 'DPoP')
  challenges.set('authenticate.dpop-nonce', `${nonce}, ${ALGS}`)
}

type ScopeChallenge = (scopes: readonly string[], scheme: Credential['scheme']) => string

/** Answers callers who sent a proof in their own scheme (RFC 9449 §7.1), and others with `bearer`. */
export function scopeChallenge(bearer: ScopeChallenge, metadata: string): ScopeChallenge {
  return (scopes, scheme) =>
    scheme === 'dpop'
      ? `${challenge(metadata, scopes, 'insufficient_scope', 'DPoP')}, ${ALGS}`
      : bearer(scopes, scheme)
}

function isDpop({ senderConstraint }: AuthPolicy['issuers'][number]): boolean {
  return senderConstraint === 'dpop'
}
