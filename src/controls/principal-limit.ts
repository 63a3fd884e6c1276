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
 * Rule:    requests a minute and calls at the same time, by principal. A slot is held until the
 *          answer has ended, however it ended, and the tool with it: leaving a call whose tool goes on
 *          makes no room for another one before the deadline of that tool. Only a stream gives its
 *          slot back before, for a slot of its own (`call-limit`).
 * Policy:  policies/limits.yaml `principal.requestsPerMinute`, `principal.concurrentCalls`
 * Refuses: 429 `principal-limit.rate`, `principal-limit.concurrency`
 * Source:  MCP 2026-07-28 Tools, Security; OWASP API Security API4:2023 and API6:2023
 */
export function principalLimit(
  store: Store,
  policy: Pick<LimitsPolicy, 'principal'>,
  slotsOf: SlotTables,
): MiddlewareHandler<AppEnv> {
  const limited = principalLimiter(store, policy, slotsOf)

  return async function principalLimit(c, next) {
    const identity = c.get('identity')
    await limited.rate(identity)
    const release = limited.slot(identity)
    c.set('releaseCall', release)
    whenDone(c.env.outgoing, release)
    await next()
  }
}

/** The limits alone, for messages on whatever transport. */
export interface LimitPrincipal {
  /** Counts a message. @throws {Denied} `principal-limit.rate` */
  rate(identity: Pick<Identity, 'principal'>): Promise<void>
  /** @returns the release of a slot for calls. @throws {Denied} `principal-limit.concurrency` */
  slot(identity: Pick<Identity, 'principal'>): () => void
}

export function principalLimiter(
  store: Store,
  policy: Pick<LimitsPolicy, 'principal'>,
  slotsOf: SlotTables,
): LimitPrincipal {
  const { requestsPerMinute: limit, concurrentCalls } = policy.principal
  const limiter = store.limiter({ name: 'principal', limit, windowSeconds: 60 })
  const calls = slotsOf('principal', concurrentCalls)

  return {
    async rate({ principal }) {
      const budget = await limiter.hit(ownerKey(principal))
      if (budget.allowed) return
      throw new Denied('principal-limit.rate', {
        headers: rateLimitHeaders('principal', limit, 60, budget),
      })
    },
    slot({ principal }) {
      const release = calls.take(ownerKey(principal))
      if (release !== undefined) return release
      throw new Denied('principal-limit.concurrency', {
        headers: concurrencyHeaders('principal', concurrentCalls),
      })
    },
  }
}
