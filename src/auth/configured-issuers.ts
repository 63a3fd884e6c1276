// optional: oauth (jose)
import { createKeySet } from './key-set.ts'
import { oauth } from './oauth.ts'
import type { AuthStrategy, StrategyParts } from './strategy.ts'

/** Access tokens of the issuers in policy. No issuer: no strategy. */
export function configuredIssuers(parts: StrategyParts): readonly AuthStrategy[] {
  const { policy, publicUrl, outbound, clock, trail } = parts
  if (policy.issuers.length === 0) return []
  const issuers = policy.issuers.map((issuer) => ({
    policy: issuer,
    keys: createKeySet({ ...issuer, ...policy.jwks }, outbound, clock, (keyIds) =>
      trail.write({ event: 'jwks.change', issuer: issuer.issuer, keyIds }),
    ),
  }))
  const { verificationCacheSeconds } = policy
  return [oauth({ issuers, publicUrl, verificationCacheSeconds, clock })]
}
