// optional: oauth (jose)
import { OutboundError } from '../outbound.ts'
import type { IssuerPolicy } from '../policy.ts'
import { createKeySet, type KeySet } from './key-set.ts'
import { oauth } from './oauth.ts'
import type { AuthStrategy, StrategyParts } from './strategy.ts'

/** Access tokens of the issuers in policy. No issuer: no strategy. */
export function configuredIssuers(parts: StrategyParts): readonly AuthStrategy[] {
  const { policy, publicUrl, clock } = parts
  if (policy.issuers.length === 0) return []
  const issuers = policy.issuers.map((issuer) => ({ policy: issuer, keys: keysOf(issuer, parts) }))
  const { verificationCacheSeconds } = policy
  return [oauth({ issuers, publicUrl, verificationCacheSeconds, clock })]
}

/** A new set is on record; a fetch that fails, at most one in `cooldownSeconds`, is in the log. */
function keysOf(
  source: IssuerPolicy,
  { policy, outbound, clock, trail, logger }: StrategyParts,
): KeySet {
  const { issuer } = source
  return createKeySet(
    { ...source, ...policy.jwks },
    outbound,
    clock,
    (keyIds) => trail.write({ event: 'jwks.change', issuer, keyIds }),
    (error) => {
      const reason = error instanceof OutboundError ? error.fault : 'document'
      logger.warn('The keys of an issuer could not be fetched', { issuer, reason, error })
    },
  )
}
