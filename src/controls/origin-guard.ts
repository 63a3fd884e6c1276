import type { MiddlewareHandler } from 'hono'
import type { AppEnv } from '../context.ts'
import { Denied } from '../errors.ts'
import { single } from '../raw-headers.ts'

/** Whether a page of this origin may call. The value is the header as sent, also when empty. */
export type AllowedOrigin = (origin: string) => boolean

/**
 * Threat:  DNS rebinding and cross-site calls. A page that the user visits drives this server with
 *          the network position of the user.
 * Rule:    no `Origin` (not a browser) passes, unless the browser says `Sec-Fetch-Site: cross-site`;
 *          any other value must equal an allowed origin, byte for byte. `null` and the empty value
 *          are refused like every other value that is not on the list.
 * Policy:  policies/http.yaml `origins`
 * Refuses: 403 `origin-guard.not-allowed`, `origin-guard.cross-site`
 * Source:  MCP 2026-07-28 Streamable HTTP, Security; RFC 6454 §6.2 and §7; OWASP ASVS 5.0 3.5.1, 3.5.3
 */
export function originGuard(isAllowed: AllowedOrigin): MiddlewareHandler<AppEnv> {
  return async function originGuard(c, next) {
    const origin = single(c.get('headers'), 'origin')
    if (origin !== undefined && !isAllowed(origin)) throw new Denied('origin-guard.not-allowed')
    if (origin === undefined && single(c.get('headers'), 'sec-fetch-site') === 'cross-site') {
      throw new Denied('origin-guard.cross-site')
    }
    await next()
  }
}
