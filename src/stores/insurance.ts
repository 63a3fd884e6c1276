import { Denied } from '../errors.ts'
import type { Store } from './store.ts'

/** What each process allows by itself while the store is away: this part of a limit, at least 1. */
const PART = 1 / 4

/**
 * Threat:  The shared store is down, and either nobody is served, or nothing is limited.
 * Rule:    while the store is away, limits count in the memory of each process, a quarter of each
 *          limit and at least 1: up to four processes keep within the limit of all of them. Counts
 *          begin at zero then. Marks and values are not insured: what not all can remember is
 *          refused.
 * Policy:  policies/limits.yaml `onStoreFailure: insurance`; with `refuse` this is not used
 * Refuses: nothing by itself
 * Source:  OWASP ASVS 5.0 16.5.2, 16.5.3; OWASP API Security API4:2023
 *
 * @param memory counts meanwhile. It outlives a reload, as the counts of the store do.
 */
export function insured(store: Store, memory: Store): Store {
  return {
    ...store,
    limiter(options) {
      const shared = store.limiter(options)
      const own = memory.limiter({
        ...options,
        limit: Math.max(1, Math.floor(options.limit * PART)),
      })
      return {
        async hit(key) {
          try {
            return await shared.hit(key)
          } catch (error) {
            if (!(error instanceof Denied)) throw error
            return own.hit(key)
          }
        },
      }
    },
  }
}
