// optional: legacy-sse
import type { Route } from '../../controls/route.ts'

/** The two paths of the transport of 2024-11-05. Messages name their session in the query. */
export const SSE_ROUTES: readonly [string, Route][] = [
  ['/sse', { methods: ['GET'] }],
  ['/messages', { methods: ['POST'], query: /^sessionId=[\w-]{1,64}$/ }],
]
