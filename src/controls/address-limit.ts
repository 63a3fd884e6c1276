import type { MiddlewareHandler } from 'hono'
import { networkOf } from '../client-address.ts'
import type { AppEnv } from '../context.ts'
import { Denied } from '../errors.ts'
import type { LimitsPolicy } from '../policy.ts'
import { rateLimitHeaders } from '../rate-limit-headers.ts'
import type { Store } from '../stores/store.ts'

/**
 * Threat:  A flood from one address uses up what everybody needs, before anything is known of it.
 * Rule:    requests per address (IPv6: per /64) and minute, preflights included. An address over its
 *          limit is still served when its credential is a live key or was verified a moment ago:
 *          that request counts against its principal only, so a noisy neighbour behind the same
 *          address locks nobody out.
 * Policy:  policies/limits.yaml `address.requestsPerMinute`
 * Refuses: 429 `address-limit.exceeded`
 * Source:  OWASP API Security API4:2023; OWASP ASVS 5.0 2.4.1, 6.3.1
 */
export function addressLimit(
  store: Store,
  policy: Pick<LimitsPolicy, 'address'>,
  isKnown: (request: AppEnv['Variables']) => boolean,
): MiddlewareHandler<AppEnv> {
  const limit = policy.address.requestsPerMinute
  const limiter = store.limiter({ name: 'address', limit, windowSeconds: 60 })

  return async function addressLimit(c, next) {
    const budget = await limiter.hit(networkOf(c.get('address')))
    if (!budget.allowed && !isKnown(c.var)) {
      throw new Denied('address-limit.exceeded', {
        headers: rateLimitHeaders('address', limit, 60, budget),
      })
    }
    await next()
  }
}
