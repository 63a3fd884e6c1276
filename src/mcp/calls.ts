import type { AuditEvent, AuditTrail } from '../audit/trail.ts'
import type { Operation } from '../context.ts'
import type { Hold } from '../holds.ts'
import { inCall, type ReportFailure, type WorkFacts } from './code-faults.ts'
import { type InTurn, largeResults } from './large-results.ts'

/** A deadline. */
type Bounds = Pick<Operation['rule'], 'timeoutSeconds'>

/** What work that was told to stop may take for it before the log says that it did not, ms. */
const STOP_MS = 5000
/** Calls that `seen` names. */
const SEEN = 10

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
  /** Hears of work that may go on when nobody waits for it any more, until its deadline at most. */
  readonly outlives?: ((work: Promise<void>) => void) | undefined
}

type Work<Value> = (signal: AbortSignal) => Promise<Value>

/** Calls that are running, so that shutdown can end them with an answer. */
export interface Calls {
  /**
   * Runs `work` under a deadline, the presence and credential of its caller, and shutdown. `work` is
   * left alone when it ignores its signal: the call ends anyway, but its slots are held until `work`
   * ends or its deadline has passed, so that leaving and calling again gets around no limit.
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
  readonly inTurn: InTurn
  /** Some of the calls that ran since this was asked last, those that have ended first. */
  seen(): readonly WorkFacts[]
}

/** @param reportFailure hears of work that does not end with its call, or fails after it */
export function calls(trail: AuditTrail, reportFailure: ReportFailure): Calls {
  const stops = new Map<(end: CallEnd) => void, WorkFacts>()
  let hasEnded: WorkFacts[] = []
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
    const deadline = Promise.withResolvers<void>()
    const timer = setTimeout(() => {
      if (!controller.signal.aborted) reportFailure(facts, 'timed-out')
      stop('timed-out')
      deadline.resolve()
    }, rule.timeoutSeconds * 1000)
    stops.set(stop, facts)
    caller.signal.addEventListener('abort', cancel, { once: true })
    caller.hold.onEnd((end) => {
      if (end === 'revoked') stop('revoked')
    })
    if (caller.signal.aborted) cancel()
    if (ended) stop('shut-down')
    try {
      const { signal } = controller
      const running = signal.aborted ? stopped : inCall(facts, () => work(signal))
      const settled = watch(running, facts, signal)
      void settled.then(() => clearTimeout(timer))
      caller.outlives?.(Promise.race([settled, deadline.promise]))
      const result = await Promise.race([running, stopped]).then(
        (value) => ({ value }),
        (error: unknown) => ({ error }),
      )
      return await conclude(result)
    } finally {
      timer.unref() // It goes on for slots of work that has not stopped, and for nothing else.
      caller.signal.removeEventListener('abort', cancel)
      stops.delete(stop)
      hasEnded = [...hasEnded, facts].slice(-SEEN)
      if (stops.size === 0) {
        for (const resolve of waiting) setImmediate(resolve)
        waiting = []
      }
    }
  }

  /** Reports work that does not stop when it is told to, or fails then. Resolves when it has ended. */
  async function watch(
    running: Promise<unknown>,
    facts: WorkFacts,
    signal: AbortSignal,
  ): Promise<void> {
    let late: NodeJS.Timeout | undefined
    const expectEnd = (): void => {
      late = setTimeout(reportFailure, STOP_MS, facts, 'did-not-stop').unref()
    }
    signal.addEventListener('abort', expectEnd, { once: true })
    try {
      await running
    } catch (error) {
      if (signal.aborted && !isAbort(error)) reportFailure(facts, 'failed-late', error)
    }
    clearTimeout(late)
    signal.removeEventListener('abort', expectEnd)
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
      for (const stop of stops.keys()) stop('shut-down')
    },
    idle() {
      return new Promise((resolve) => {
        if (stops.size === 0) resolve()
        else waiting.push(resolve)
      })
    },
    running: () => stops.size,
    inTurn: largeResults(),
    seen() {
      const all = [...hasEnded, ...stops.values()]
      hasEnded = []
      return all.slice(0, SEEN)
    },
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
