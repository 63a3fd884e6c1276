import { AsyncLocalStorage } from 'node:async_hooks'
import type { Operation } from '../context.ts'

/** What the log says of a call besides what went wrong. */
export type WorkFacts = Pick<Operation['facts'], 'requestId' | 'trace' | 'name'>

/**
 * What the code of a tool, resource or prompt must not do, as the log names it.
 * `docs/writing-tools.md` has a row for each.
 */
export const CODE_FAULTS = [
  'threw',
  'wrong-shape',
  'not-json',
  'too-large',
  'timed-out',
  'did-not-stop',
  'failed-late',
  'unhandled-rejection',
  'uncaught-exception',
  'process-exit',
  'blocked-loop',
] as const

export type CodeFault = (typeof CODE_FAULTS)[number]

/** Tells the author what went wrong. The caller gets a fixed text instead. */
export type ReportFailure = (facts: WorkFacts, fault: CodeFault, error?: unknown) => void

/** A result that cannot be sent. Its message may name what is in it: only development logs that. */
export class UnfitResult extends Error {
  readonly fault: 'wrong-shape' | 'not-json' | 'too-large'

  constructor(fault: UnfitResult['fault'], message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'UnfitResult'
    this.fault = fault
  }
}

/** What went wrong in code that threw this. */
export function faultOf(error: unknown): CodeFault {
  return error instanceof UnfitResult ? error.fault : 'threw'
}

const current = new AsyncLocalStorage<WorkFacts | undefined>()

/** Runs the code of a call, so that whatever it leaves behind is known to be from it. */
export function inCall<Value>(facts: WorkFacts, work: () => Value): Value {
  return current.run(facts, work)
}

/** The call whose code runs now or began what runs now, also after that call has ended. */
export function currentCall(): WorkFacts | undefined {
  return current.getStore()
}

/** Runs what is not of any call, though the code of one may have led to it. */
export function outsideCalls(work: () => void): void {
  current.run(undefined, work)
}
