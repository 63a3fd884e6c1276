import type { MiddlewareHandler } from 'hono'
import type { AppEnv, Identity } from '../context.ts'
import { Denied } from '../errors.ts'
import { ownerKey } from '../owner-key.ts'
import type { LimitsPolicy } from '../policy.ts'
import { concurrencyHeaders, rateLimitHeaders } from '../rate-limit-headers.ts'
import type { SlotTables } from '../slots.ts'
import type { Store } from '../stores/store.ts'
import { whenDone } from '../when-closed.ts'

/**
 * Threat:  One authenticated caller takes the capacity of all the others.
 * Rule:    requests a minute, and as many at the same time as calls, by principal. The slot is held
 *          until the answer has ended; a call gives it back for one of its own (`principal-calls`), a
 *          stream that is opened too (`call-limit`).
 * Policy:  policies/limits.yaml `principal.requestsPerMinute`, `principal.concurrentCalls`
 * Refuses: 429 `principal-limit.rate`, `principal-limit.concurrency`
 * Source:  MCP 2026-07-28 Tools, Security; OWASP API Security API4:2023 and API6:2023
 */
export function principalLimit(
  store: Store,
  policy: Pick<LimitsPolicy, 'principal'>,
  slotsOf: SlotTables,
): MiddlewareHandler<AppEnv> {
  const { concurrentCalls } = policy.principal
  const countRequest = requestCounter(store, policy)
  const requests = slotsOf('principal-requests', concurrentCalls)

  return async function principalLimit(c, next) {
    const identity = c.get('identity')
    await countRequest(identity)
    const release = requests.take(ownerKey(identity.principal))
    if (release === undefined) {
      throw new Denied('principal-limit.concurrency', {
        headers: concurrencyHeaders('principal', concurrentCalls),
      })
    }
    c.set('release', release)
    whenDone(c.env.outgoing, release)
    await next()
  }
}

/** Counts a message, on whatever transport. @throws {Denied} `principal-limit.rate` */
export type CountRequest = (identity: Pick<Identity, 'principal'>) => Promise<void>

export function requestCounter(
  store: Store,
  policy: Pick<LimitsPolicy, 'principal'>,
): CountRequest {
  const { requestsPerMinute: limit } = policy.principal
  const limiter = store.limiter({ name: 'principal', limit, windowSeconds: 60 })

  return async function countRequest({ principal }) {
    const budget = await limiter.hit(ownerKey(principal))
    if (budget.allowed) return
    throw new Denied('principal-limit.rate', {
      headers: rateLimitHeaders('principal', limit, 60, budget),
    })
  }
}
