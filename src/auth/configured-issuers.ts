// optional: oauth (jose)
import type { AuditTrail } from '../audit/trail.ts'
import type { Clock } from '../clock.ts'
import type { Logger } from '../log.ts'
import { type Outbound, OutboundError } from '../outbound.ts'
import { dpop } from './dpop.ts' // optional: dpop
import { createKeySet } from './key-set.ts'
import { type KeySetPool, keySetPool } from './key-set-pool.ts'
import { oauth } from './oauth.ts'
import type { AuthStrategy, StrategyParts } from './strategy.ts'

/** JWTs of the issuers in policy. No issuer: no strategy. */
export function configuredIssuers(parts: StrategyParts): readonly AuthStrategy[] {
  const { policy, publicUrl, clock, keySets } = parts
  if (policy.issuers.length === 0) return []
  const issuers = policy.issuers
    .filter(({ verification }) => verification === 'jwt')
    .map((issuer) => ({
      policy: issuer,
      keys: keySets.take({ ...issuer, ...policy.jwks }),
    }))
  const { verificationCacheSeconds } = policy
  return [
    oauth({
      issuers,
      publicUrl,
      verificationCacheSeconds,
      clock,
      proveSender: dpop(parts), // optional: dpop
    }),
  ]
}

/** A new set is on record; a fetch that fails, at most one in `cooldownSeconds`, is in the log. */
export function watchedKeySets(parts: {
  readonly outbound: Outbound
  readonly clock: Clock
  readonly trail: AuditTrail
  readonly logger: Logger
}): KeySetPool {
  const { outbound, clock, trail, logger } = parts
  return keySetPool((options) => {
    const { issuer } = options
    return createKeySet(
      options,
      outbound,
      clock,
      (keyIds) => trail.write({ event: 'jwks.change', issuer, keyIds }),
      (error) => {
        const reason = error instanceof OutboundError ? error.fault : 'document'
        logger.warn('The keys of an issuer could not be fetched', { issuer, reason, error })
      },
    )
  })
}
