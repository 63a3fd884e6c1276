import type { AuditEvent, AuditTrail } from '../audit/trail.ts'
import type { Operation } from '../context.ts'
import type { Hold } from '../holds.ts'

/** A deadline, and what the log says of work that failed. */
type Bounds = Pick<Operation['rule'], 'timeoutSeconds'>
type WorkFacts = Pick<Operation['facts'], 'requestId' | 'trace' | 'name'>

/** How a call ended without a result of its own. */
export type CallEnd = 'cancelled' | 'timed-out' | 'shut-down' | 'revoked'

export class CallEnded extends Error {
  readonly end: CallEnd

  constructor(end: CallEnd) {
    super(`The call was ${end}`)
    this.name = 'CallEnded'
    this.end = end
  }
}

type Outcome = Extract<AuditEvent, { event: 'outcome' }>

/** What a call reports of its end besides its result. */
export type Ending = Pick<Outcome, 'outcome' | 'resultSha256' | 'progressCount'>

/** What became of the work. The error is anything that was thrown, or a `CallEnded`. */
export type Result<Value> = { readonly value: Value } | { readonly error: unknown }

/** Who waits for a call: gone when the signal aborts, shut out when the credential is revoked. */
export interface Caller {
  readonly signal: AbortSignal
  readonly hold: Hold
}

type Work<Value> = (signal: AbortSignal) => Promise<Value>

/** Calls that are running, so that shutdown can end them with an answer. */
export interface Calls {
  /**
   * Runs `work` under a deadline, the presence and credential of its caller, and shutdown. `work` is left alone when it
   * ignores its signal: the call ends anyway.
   *
   * @param conclude turns the result into the answer, which still counts as running
   */
  bounded<Value, Answer>(
    rule: Bounds,
    facts: WorkFacts,
    caller: Caller,
    work: Work<Value>,
    conclude: (result: Result<Value>) => Promise<Answer>,
  ): Promise<Answer>
  /**
   * Runs an operation in the same bounds and writes its one outcome record.
   *
   * @param conclude turns the result into the answer and its record. When it throws, it is asked
   *   again with an error in place of the result, which it must be able to answer.
   */
  run<Value, Answer>(
    operation: Operation,
    caller: Caller,
    work: Work<Value>,
    conclude: (result: Result<Value>) => Promise<[Answer, Ending]>,
  ): Promise<Answer>
  /** Ends what is running with `shut-down` and refuses to begin more. */
  end(): void
  /** Resolves when nothing runs any more and the last answer was handed over. */
  idle(): Promise<void>
  running(): number
}

/** Tells the author of a tool what went wrong. The caller gets a fixed text instead. */
export type ReportFailure = (facts: WorkFacts, error: unknown) => void

/** @param reportFailure hears of work that failed after its call had ended */
export function calls(trail: AuditTrail, reportFailure: ReportFailure): Calls {
  const stops = new Set<(end: CallEnd) => void>()
  let waiting: (() => void)[] = []
  let ended = false

  const bounded: Calls['bounded'] = async (rule, facts, caller, work, conclude) => {
    const controller = new AbortController()
    const { promise: stopped, reject } = Promise.withResolvers<never>()
    const stop = (end: CallEnd): void => {
      const reason = new CallEnded(end)
      reject(reason)
      controller.abort(reason)
    }
    const cancel = (): void => stop('cancelled')
    const timer = setTimeout(stop, rule.timeoutSeconds * 1000, 'timed-out')
    stops.add(stop)
    caller.signal.addEventListener('abort', cancel, { once: true })
    caller.hold.onEnd((end) => {
      if (end === 'revoked') stop('revoked')
    })
    if (caller.signal.aborted) cancel()
    if (ended) stop('shut-down')
    try {
      const running = controller.signal.aborted ? stopped : work(controller.signal)
      running.catch((error) => {
        if (controller.signal.aborted && !isAbort(error)) reportFailure(facts, error)
      })
      const result = await Promise.race([running, stopped]).then(
        (value) => ({ value }),
        (error: unknown) => ({ error }),
      )
      return await conclude(result)
    } finally {
      clearTimeout(timer)
      caller.signal.removeEventListener('abort', cancel)
      stops.delete(stop)
      if (stops.size === 0) {
        for (const resolve of waiting) setImmediate(resolve)
        waiting = []
      }
    }
  }

  return {
    bounded,
    run(operation, caller, work, conclude) {
      const { facts, rule } = operation
      const startedAt = performance.now()
      operation.started = true
      return bounded(rule, facts, caller, work, async (result) => {
        const [answer, ending] = await conclude(result).catch((cause: unknown) =>
          conclude({ error: new Error('The result could not be answered', { cause }) }),
        )
        const durationMs = performance.now() - startedAt
        trail.write({ ...facts, ...ending, event: 'outcome', durationMs })
        return answer
      })
    },
    end() {
      ended = true
      for (const stop of stops) stop('shut-down')
    },
    idle() {
      return new Promise((resolve) => {
        if (stops.size === 0) resolve()
        else waiting.push(resolve)
      })
    },
    running: () => stops.size,
  }
}

/** Work that stopped because it was told to. */
function isAbort(error: unknown): boolean {
  try {
    return error instanceof CallEnded || (error instanceof Error && error.name === 'AbortError')
  } catch {
    return false // Something whose name cannot even be read.
  }
}
