import type { AuditTrail } from './audit/trail.ts'
import type { LastingParts } from './lasting.ts'
import type { PublicListener } from './listen.ts'

export interface DrainOptions {
  readonly listener: Pick<PublicListener, 'drain'> & {
    readonly server: Pick<PublicListener['server'], 'closeAllConnections'>
  }
  readonly lasting: Pick<LastingParts, 'calls' | 'holds' | 'store'> & {
    readonly mcp: Pick<LastingParts['mcp'], 'close'>
  }
  /** Ends what runs in the background for the policies in force. */
  readonly close: () => void
  readonly trail: AuditTrail
  readonly drainSeconds: number
  readonly cause: 'signal' | 'crash'
  /** When nobody wants to wait any longer: what still runs is answered within a second. */
  readonly forced: Promise<void>
}

/** The end of the drain time that is kept for answering calls which did not finish, ms. */
const ANSWER_MS = 1000

/**
 * Ends the process without losing an accepted call: each one finishes, or is answered "shutting down"
 * within the drain time. The order matters: new requests are refused first; calls end before the
 * SDK's handlers, which would abort them without an answer; the trail is the last to close.
 */
export async function drain(options: DrainOptions): Promise<void> {
  const { listener, lasting, close, trail, drainSeconds, cause, forced } = options
  const callsEnd = moment()
  const allEnds = moment()
  const endIn = (ms: number): void => {
    callsEnd.in(ms - ANSWER_MS)
    allEnds.in(ms)
  }
  endIn(drainSeconds * 1000)
  void forced.then(() => endIn(ANSWER_MS))

  const { answered, closed } = listener.drain()
  // A request that was accepted may not have become a call yet.
  const quiet = answered.then(() => lasting.calls.idle())
  await Promise.race([quiet, callsEnd.passed])
  lasting.calls.end()
  await Promise.race([quiet, allEnds.passed])
  await lasting.mcp.close()
  await Promise.race([closed, allEnds.passed])
  listener.server.closeAllConnections()
  await within(ANSWER_MS, closed) // What was cut leaves its record, too.
  close()
  lasting.holds.close()
  trail.write({ event: 'server.stop', cause })
  await trail.close()
  await within(ANSWER_MS, lasting.store.close())
}

/** A moment in the future that can be brought forward. */
function moment(): { readonly passed: Promise<void>; in(ms: number): void } {
  const { promise: passed, resolve } = Promise.withResolvers<void>()
  let timer: NodeJS.Timeout | undefined
  return {
    passed,
    in(ms) {
      clearTimeout(timer)
      timer = setTimeout(resolve, Math.max(0, ms)).unref() // The caller ends the process anyway.
    },
  }
}

/** Waits for something, but no longer than that. */
async function within(ms: number, something: Promise<void>): Promise<void> {
  const end = moment()
  end.in(ms)
  await Promise.race([something, end.passed])
}
