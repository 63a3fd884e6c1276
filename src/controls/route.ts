import type { MiddlewareHandler } from 'hono'
import type { AppEnv } from '../context.ts'
import { Denied } from '../errors.ts'

/** What requests for one path look like. */
export interface Route {
  readonly methods: readonly string[]
  /** What the query must be, whole. Without it there is none. */
  readonly query?: RegExp
}

/** By exact path. */
export type Routes = ReadonlyMap<string, Route>

/**
 * Threat:  Path confusion. A path that a check and the router read differently reaches a handler
 *          without its controls.
 * Rule:    the raw path must equal a known one, byte for byte: no decoding, no case folding, no dot
 *          segments, no trailing slash. No known path has a query, but for the one id that the
 *          transport of 2024-11-05 has there.
 * Policy:  none: the paths are fixed
 * Refuses: 404 `route.not-found`, 405 `route.method-not-allowed`, 400 `route.query`
 * Source:  RFC 3986 §6.2.2; RFC 9110 §15.5.6; CVE-2026-47676, GHSA-wc8c-qw6v-h7f6
 */
export function route(routes: Routes): MiddlewareHandler<AppEnv> {
  return async function route(c, next) {
    const route = routes.get(c.get('path'))
    if (route === undefined) throw new Denied('route.not-found')
    const { methods, query } = route
    if (!methods.includes(c.env.incoming.method ?? '')) {
      throw new Denied('route.method-not-allowed', { headers: { allow: methods.join(', ') } })
    }
    if (!hasQuery(c.env.incoming.url ?? '', query)) throw new Denied('route.query')
    await next()
  }
}

function hasQuery(target: string, query: RegExp | undefined): boolean {
  const at = target.indexOf('?')
  return query === undefined ? at < 0 : at >= 0 && query.test(target.slice(at + 1))
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
