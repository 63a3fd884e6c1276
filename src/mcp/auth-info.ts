import type { AuthInfo } from '@modelcontextprotocol/server'
import type { Identity } from '../context.ts'

/** The identity as the SDK knows it: a digest stands in for the token. */
export function authInfoOf({ principal, credentialDigest, expiresAt }: Identity): AuthInfo {
  return {
    token: credentialDigest,
    clientId: principal.client || principal.subject,
    scopes: [...principal.scopes],
    ...(expiresAt === null ? {} : { expiresAt }),
  }
}
