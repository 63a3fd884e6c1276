import { configuredIntrospection } from './configured-introspection.ts' // optional: introspection
import { configuredIssuers } from './configured-issuers.ts' // optional: oauth
import { configuredKeys } from './configured-keys.ts' // optional: api-key
import type { AuthStrategy, StrategyParts } from './strategy.ts'

/**
 * The ways to prove who is calling. Each owns one kind of credential; JWTs come last and take what is
 * left.
 *
 * @throws {Problems} when the key file or the file of a client secret is not one.
 */
export function strategies(parts: StrategyParts): readonly AuthStrategy[] {
  return [
    ...configuredIntrospection(parts), // optional: introspection
    ...configuredKeys(parts), // optional: api-key
    ...configuredIssuers(parts), // optional: oauth
  ]
}
