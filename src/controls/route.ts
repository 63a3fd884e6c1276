import type { MiddlewareHandler } from 'hono'
import type { AppEnv } from '../context.ts'
import { Denied } from '../errors.ts'

/** Exact paths and the methods each one has. */
export type Routes = ReadonlyMap<string, readonly string[]>

/**
 * Threat:  Path confusion. A path that a check and the router read differently reaches a handler
 *          without its controls.
 * Rule:    the raw path must equal a known one, byte for byte: no decoding, no case folding, no dot
 *          segments, no trailing slash. No known path has a query.
 * Policy:  none: the paths are fixed
 * Refuses: 404 `route.not-found`, 405 `route.method-not-allowed`, 400 `route.query`
 * Source:  RFC 3986 §6.2.2; RFC 9110 §15.5.6; CVE-2026-47676, GHSA-wc8c-qw6v-h7f6
 */
export function route(routes: Routes): MiddlewareHandler<AppEnv> {
  return async function route(c, next) {
    const methods = routes.get(c.get('path'))
    if (methods === undefined) throw new Denied('route.not-found')
    if (!methods.includes(c.env.incoming.method ?? '')) {
      throw new Denied('route.method-not-allowed', { headers: { allow: methods.join(', ') } })
    }
    if (c.env.incoming.url?.includes('?')) throw new Denied('route.query')
    await next()
  }
}

/**
 * The path of a request target exactly as it was sent, without scheme, authority and query.
 *
 * @param target request target in origin-form or absolute-form (RFC 9112 §3.2)
 */
export function rawPath(target: string): string {
  const [path = ''] = target.replace(/^https?:\/\/[^/?]*/, '').split('?', 1)
  return path === '' ? '/' : path
}
