import type { MiddlewareHandler } from 'hono'
import type { AppEnv } from '../context.ts'

/**
 * Threat:  An answer is sniffed, framed, cached or leaked by a browser or an intermediary.
 * Rule:    every answer says what it is, that it is nobody else's, and that nobody keeps it.
 * Policy:  none: the values are the strictest there are, an API needs no others
 * Refuses: nothing
 * Source:  OWASP ASVS 5.0 3.4.1, 3.4.3 to 3.4.6, 14.3.2; RFC 9111 §5.2.2.5; RFC 6797 §7.2 (HSTS only
 *          over TLS: in process here, else from the proxy)
 */
export function securityHeaders(options: { readonly tls: boolean }): MiddlewareHandler<AppEnv> {
  const headers = Object.entries({
    ...SECURITY_HEADERS,
    ...(options.tls ? { 'strict-transport-security': 'max-age=31536000' } : {}),
  })

  return async function securityHeaders(c, next) {
    await next()
    for (const [name, value] of headers) c.res.headers.set(name, value)
  }
}

/** The headers of every answer, also of those that Node refuses before any middleware runs. */
export const SECURITY_HEADERS = {
  'cache-control': 'no-store',
  'content-security-policy': "default-src 'none'; base-uri 'none'; frame-ancestors 'none'",
  'cross-origin-resource-policy': 'same-site',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
} as const
