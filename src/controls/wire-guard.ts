import type { MiddlewareHandler } from 'hono'
import type { AppEnv } from '../context.ts'
import { Denied } from '../errors.ts'
import type { LimitsPolicy } from '../policy.ts'

/**
 * Threat:  Parsers disagree. A doubled header, an odd target or an old protocol version means one
 *          thing to the proxy or to a check, and another to the code that runs.
 * Rule:    HTTP/1.1, at most `headers.count` headers, every header that decides something at most
 *          once, a target that is a path or an absolute URI.
 * Policy:  policies/limits.yaml `headers.count`
 * Refuses: 400 `wire-guard.http-version`, `wire-guard.target`, `wire-guard.duplicate-header`;
 *          431 `wire-guard.too-many-headers`
 * Source:  RFC 9110 §5.3, RFC 9112 §2.3 and §3.2; CVE-2026-58044 (Node dropped headers past a count)
 */
export function wireGuard(policy: Pick<LimitsPolicy, 'headers'>): MiddlewareHandler<AppEnv> {
  const { count } = policy.headers

  return async function wireGuard(c, next) {
    const { httpVersion, rawHeaders, url } = c.env.incoming
    if (httpVersion !== '1.1') throw new Denied('wire-guard.http-version')
    if (rawHeaders.length / 2 > count) throw new Denied('wire-guard.too-many-headers')
    if (!TARGET.test(url ?? '')) throw new Denied('wire-guard.target')
    for (const [name, values] of c.get('headers')) {
      if (values.length > 1 && !REPEATABLE.has(name))
        throw new Denied('wire-guard.duplicate-header')
    }
    await next()
  }
}

/** Origin-form or absolute-form, visible ASCII without fragment and backslash. */
const TARGET = /^(?:https?:\/\/[^/?#\\]+)?\/[!$-[\]-~]*$/

/**
 * Only these may come more than once: lists by definition, or nothing that is read here. Whatever is
 * not known to be harmless counts as a header that decides something.
 */
const REPEATABLE = new Set([
  'accept',
  'accept-encoding',
  'accept-language',
  'baggage',
  'cache-control',
  'connection',
  'cookie',
  'forwarded',
  'pragma',
  'te',
  'tracestate',
  'via',
  'x-forwarded-for',
  'x-forwarded-host',
  'x-forwarded-port',
  'x-forwarded-proto',
])
