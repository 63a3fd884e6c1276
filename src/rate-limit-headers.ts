import type { Budget } from './stores/store.ts'

/** Names of the limits, as `RateLimit-Policy` carries them. */
export type RateLimitName = 'address' | 'address-auth' | 'principal' | 'tool'

/**
 * The headers of a 429: when to come back, which limit it was and what is left of it.
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
