import type { IssuerPolicy } from '../policy.ts'

const WELL_KNOWN = '/.well-known/oauth-protected-resource'

/** Protected resource metadata: what an OAuth client has to know of this server. */
export interface ResourceMetadata {
  readonly resource: string
  /** Absent when no issuer is configured: then there is nowhere to get a token. */
  readonly authorization_servers?: readonly string[]
  readonly scopes_supported: readonly string[]
  readonly bearer_methods_supported: readonly ['header']
  /** There when an issuer binds its tokens to client certificates (RFC 8705 §3.3). */
  readonly tls_client_certificate_bound_access_tokens?: true
}

/**
 * The public document of RFC 9728 §2.
 *
 * `offline_access` is left out: it is between a client and its issuer (MCP 2026-07-28 Authorization,
 * Refresh tokens).
 */
export function protectedResourceMetadata(
  publicUrl: string,
  issuers: readonly Pick<IssuerPolicy, 'issuer' | 'senderConstraint'>[],
  scopes: readonly string[],
): ResourceMetadata {
  return {
    resource: publicUrl,
    ...(issuers.length > 0 && { authorization_servers: issuers.map(({ issuer }) => issuer) }),
    scopes_supported: scopes.filter((scope) => scope !== 'offline_access').toSorted(),
    bearer_methods_supported: ['header'],
    ...(issuers.some(({ senderConstraint }) => senderConstraint === 'mtls') && {
      tls_client_certificate_bound_access_tokens: true,
    }),
  }
}

/** Where the document is: the well-known part stands between host and path (RFC 9728 §3.1). */
export function metadataUrl(publicUrl: string): string {
  const { origin, pathname } = new URL(publicUrl)
  return `${origin}${WELL_KNOWN}${pathname === '/' ? '' : pathname}`
}

/**
 * A value of `WWW-Authenticate` (RFC 6750 §3, RFC 9728 §5.1).
 *
 * @param scopes what the client should ask for, all at once; none leaves the attribute out
 * @param error absent when the request carried no credential (RFC 6750 §3.1)
 * @throws {TypeError} for a value that does not fit into a quoted string as it is.
 */
export function challenge(
  metadata: string,
  scopes: readonly string[],
  error?: 'invalid_token' | 'insufficient_scope' | 'use_dpop_nonce',
  scheme: 'Bearer' | 'DPoP' = 'Bearer',
): string {
  const attributes: string[] = []
  if (error !== undefined) attributes.push(`error="${error}"`)
  if (scopes.length > 0) attributes.push(`scope=${quoted(scopes.join(' '))}`)
  attributes.push(`resource_metadata=${quoted(metadata)}`)
  return `${scheme} ${attributes.join(', ')}`
}

/** quoted-string without escapes (RFC 9110 §5.6.4), which not every client reads. */
function quoted(value: string): string {
  if (!/^[\x20\x21\x23-\x5b\x5d-\x7e]*$/.test(value)) throw new TypeError('not a quotable value')
  return `"${value}"`
}
