import { setTimeout as sleep } from 'node:timers/promises'
import type { Assembly } from './assemble.ts'
import type { AuditTrail } from './audit/trail.ts'
import type { PublicListener } from './listen.ts'

export interface DrainOptions {
  readonly listener: PublicListener
  readonly assembly: Pick<Assembly, 'calls' | 'mcp' | 'close'>
  readonly trail: AuditTrail
  readonly drainSeconds: number
  readonly cause: 'signal' | 'crash'
}

/** The end of the drain time that is kept for answering calls which did not finish, ms. */
const ANSWER_MS = 1000

/**
 * Ends the process without losing an accepted call: each one finishes, or is answered "shutting down"
 * within the drain time. The order matters: new requests are refused first; calls end before the
 * SDK's handlers, which would abort them without an answer; the trail is the last to close.
 */
export async function drain(options: DrainOptions): Promise<void> {
  const { listener, assembly, trail, drainSeconds, cause } = options
  const endsMs = performance.now() + drainSeconds * 1000
  const left = (): number => Math.max(0, endsMs - performance.now())

  const { answered, closed } = listener.drain()
  // A request that was accepted may not have become a call yet.
  const quiet = answered.then(() => assembly.calls.idle())
  await within(left() - ANSWER_MS, quiet)
  assembly.calls.end()
  await within(left(), quiet)
  await assembly.mcp.close()
  await within(left(), closed)
  listener.server.closeAllConnections()
  await within(ANSWER_MS, closed) // What was cut leaves its record, too.
  assembly.close()
  trail.write({ event: 'server.stop', cause })
  await trail.close()
}

/** Waits for something, but no longer than that. */
async function within(ms: number, something: Promise<void>): Promise<void> {
  const timeout = new AbortController()
  const pause = sleep(Math.max(0, ms), undefined, { signal: timeout.signal }).catch(() => undefined)
  await Promise.race([something, pause])
  timeout.abort()
}
