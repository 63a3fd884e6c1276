import { configuredIssuers } from './configured-issuers.ts' // optional: oauth
import { configuredKeys } from './configured-keys.ts' // optional: api-key
import type { AuthStrategy, StrategyParts } from './strategy.ts'

/**
 * The ways to prove who is calling. Each owns one kind of credential, so their order does not matter.
 *
 * @throws {Problems} when the key file is not one.
 */
export function strategies(parts: StrategyParts): readonly AuthStrategy[] {
  return [
    ...configuredKeys(parts), // optional: api-key
    ...configuredIssuers(parts), // optional: oauth
  ]
}
