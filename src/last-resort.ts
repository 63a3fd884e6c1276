import type { AuditTrail } from './audit/trail.ts'
import { callFields, type Logger } from './log.ts'
import { currentCall, outsideCalls } from './mcp/code-faults.ts'

export interface LastResortOptions {
  readonly logger: Logger
  readonly trail: Pick<AuditTrail, 'write'>
  /** Whether the process is ending already, by a signal or by `crash`. */
  readonly isEnding: () => boolean
  /** Drains, and ends the process with 1. */
  readonly crash: () => void
}

/** The exit code of a process that did not mean to end. */
const CRASH = 1

/**
 * Threat:  Code of a tool fails where nobody waits for it, or ends the process: the calls of everybody
 *          are lost, and nobody knows by what.
 * Rule:    a rejection that nobody handles is logged, counted and on record, and the process goes on.
 *          After an exception that nobody caught its state is unknown: it drains and ends with 1. An
 *          exit that is not ours cannot be stopped: calls that run have a decision record without an
 *          outcome, and the exit code is 1 whatever the code said, so that a supervisor starts it
 *          again. Each is logged with the call whose code it was, as far as that can be told.
 * Refuses: nothing
 * Source:  OWASP ASVS 5.0 16.5.4; Node.js, Process: "Warning: Using 'uncaughtException' correctly"
 */
export function lastResort({ logger, trail, isEnding, crash }: LastResortOptions): void {
  process.on('unhandledRejection', (error) => {
    const fields = { ...callFields(currentCall()), reason: 'unhandled-rejection', error }
    logger.error('Background work failed; nobody was waiting for it', fields)
    trail.write({ event: 'fault', cause: 'unhandled-rejection' })
  })
  process.on('uncaughtException', (error) => {
    const fields = { ...callFields(currentCall()), reason: 'uncaught-exception', error }
    logger.fatal('An error escaped every handler; the process drains and ends', fields)
    trail.write({ event: 'fault', cause: 'uncaught-exception' })
    outsideCalls(crash)
  })
  // Before the log's own listener, which writes what waits.
  process.prependListener('exit', () => {
    const call = currentCall()
    if (isEnding() && call === undefined) return
    const fields = { ...callFields(call), reason: 'process-exit' }
    logger.fatal('Code that must not end the process has ended it', fields)
    process.exitCode = CRASH
  })
}
