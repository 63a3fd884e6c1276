import { setTimeout as sleep } from 'node:timers/promises'
import type { AuditTrail } from './audit/trail.ts'
import type { LastingParts } from './lasting.ts'
import type { PublicListener } from './listen.ts'

export interface DrainOptions {
  readonly listener: PublicListener
  readonly lasting: Pick<LastingParts, 'calls' | 'mcp' | 'holds' | 'store'>
  /** Ends what runs in the background for the policies in force. */
  readonly close: () => void
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
  const { listener, lasting, close, trail, drainSeconds, cause } = options
  const endsMs = performance.now() + drainSeconds * 1000
  const left = (): number => Math.max(0, endsMs - performance.now())

  const { answered, closed } = listener.drain()
  // A request that was accepted may not have become a call yet.
  const quiet = answered.then(() => lasting.calls.idle())
  await within(left() - ANSWER_MS, quiet)
  lasting.calls.end()
  await within(left(), quiet)
  await lasting.mcp.close()
  await within(left(), closed)
  listener.server.closeAllConnections()
  await within(ANSWER_MS, closed) // What was cut leaves its record, too.
  close()
  lasting.holds.close()
  trail.write({ event: 'server.stop', cause })
  await trail.close()
  await within(ANSWER_MS, lasting.store.close())
}

/** Waits for something, but no longer than that. */
async function within(ms: number, something: Promise<void>): Promise<void> {
  const timeout = new AbortController()
  const pause = sleep(Math.max(0, ms), undefined, { signal: timeout.signal }).catch(() => undefined)
  await Promise.race([something, pause])
  timeout.abort()
}
