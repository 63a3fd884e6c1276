import type { Budget } from './stores/store.ts'

/** Names of the limits, as `RateLimit-Policy` carries them. */
export type RateLimitName = 'address' | 'address-auth' | 'principal' | 'tool'

/** How soon a slot may be free again, seconds. */
const SLOT_SECONDS = 1

/**
 * The headers of a 429 for calls at the same time.
 *
 * Source: draft-ietf-httpapi-ratelimit-headers, quota unit `concurrent-requests`.
 */
export function concurrencyHeaders(name: RateLimitName, limit: number): Record<string, string> {
  return {
    'retry-after': String(SLOT_SECONDS),
    'ratelimit-policy': `"${name}";q=${limit};qu="concurrent-requests"`,
    ratelimit: `"${name}";r=0;t=${SLOT_SECONDS}`,
  }
}

/**
 * The headers of a 429 for a rate: when to come back, which limit it was and what is left of it.
 *
 * Source: RFC 9110 §10.2.3; draft-ietf-httpapi-ratelimit-headers.
 */
export function rateLimitHeaders(
  name: RateLimitName,
  limit: number,
  windowSeconds: number,
  budget: Pick<Budget, 'remaining' | 'resetSeconds'>,
): Record<string, string> {
  const reset = Math.max(1, budget.resetSeconds)
  return {
    'retry-after': String(reset),
    'ratelimit-policy': `"${name}";q=${limit};w=${windowSeconds}`,
    ratelimit: `"${name}";r=${budget.remaining};t=${reset}`,
  }
}
