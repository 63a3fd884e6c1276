// optional: introspection
import { readFileSync } from 'node:fs'
import type { AuthPolicy } from '../policy.ts'
import { Problems } from '../problems.ts'
import { introspection } from './introspection.ts'
import { introspectionEndpoint } from './introspection-endpoint.ts'
import type { AuthStrategy, StrategyParts } from './strategy.ts'

/** RFC 6749 appendix A.2. */
const CLIENT_SECRET = /^[\x20-\x7e]{1,4096}$/

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
    const clientSecret = readClientSecret(clientSecretFile, field)
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

/** A final line break is not part of the secret. */
function readClientSecret(file: string, field: string): string {
  let secret: string
  try {
    secret = readFileSync(file, 'utf8').replace(/\r?\n$/, '')
  } catch {
    throw new Problems([{ field, message: 'names no file that can be read' }])
  }
  if (CLIENT_SECRET.test(secret)) return secret
  throw new Problems([{ field, message: 'must hold 1 to 4096 ASCII characters on one line' }])
}
