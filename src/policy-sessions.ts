// optional: legacy-sessions
import { between, section } from './policy-shapes.ts'

/** Bounds of the sessions of 2025 clients, and of the connections of 2024 clients. */
export const sessionsPolicy = section({
  /** How long a session lives with no stream open and no call running. */
  idleSeconds: between(10, 86_400),
  absoluteSeconds: between(60, 604_800),
  perPrincipal: between(1, 1000),
  total: between(1, 100_000),
  /** Events of one stream that are kept for a client that comes back with `Last-Event-ID`. */
  eventsPerStream: between(1, 10_000),
})
