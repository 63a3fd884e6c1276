// optional: introspection
import type { AuthPolicy } from '../policy.ts'
import { readSecretFile } from '../secret-file.ts'
import { introspection } from './introspection.ts'
import { introspectionEndpoint } from './introspection-endpoint.ts'
import type { AuthStrategy, StrategyParts } from './strategy.ts'

/**
 * Tokens that one issuer of policy is asked about. None is asked: no strategy.
 *
 * @throws {Problems} when the file of the client secret holds none.
 */
export function configuredIntrospection(
  parts: Pick<StrategyParts, 'policy' | 'publicUrl' | 'outbound' | 'clock' | 'logger'>,
): readonly AuthStrategy[] {
  const { policy, publicUrl, clock } = parts
  const { issuers, jwks, verificationCacheSeconds } = policy
  return issuers.flatMap((issuer, index) => {
    if (issuer.introspection === null) return []
    const { endpoint: url, clientId, clientSecretFile } = issuer.introspection
    const field = `auth.yaml issuers.${index}.introspection.clientSecretFile`
    const clientSecret = readSecretFile(clientSecretFile, field)
    const { timeoutMs, cooldownSeconds } = jwks
    const endpoint = introspectionEndpoint(
      { issuer: issuer.issuer, url, clientId, clientSecret, timeoutMs, cooldownSeconds },
      parts,
    )
    return [introspection({ policy: issuer, endpoint, publicUrl, verificationCacheSeconds, clock })]
  })
}

/** Files that hold the client secrets of a policy. */
export function clientSecretFiles({ issuers }: AuthPolicy): readonly string[] {
  return issuers.flatMap(({ introspection: asked }) => asked?.clientSecretFile ?? [])
}
