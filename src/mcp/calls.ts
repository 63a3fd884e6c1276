import type { AuditEvent, AuditTrail } from '../audit/trail.ts'
import type { Operation } from '../context.ts'

/** How a call ended without a result of its own. */
export type CallEnd = 'cancelled' | 'timed-out' | 'shut-down'

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

/** Calls that are running, so that shutdown can end them with an answer. */
export interface Calls {
  /**
   * Runs `work` under the deadline of its rule, the signal of its caller and shutdown, and writes
   * its one outcome record. `work` is left alone when it ignores its signal: the call ends anyway.
   *
   * @param conclude turns the value, or the error, into the answer and its record. It must not throw.
   */
  run<Value, Answer>(
    operation: Operation,
    caller: AbortSignal,
    work: (signal: AbortSignal) => Promise<Value>,
    conclude: (result: { value: Value } | { error: unknown }) => Promise<[Answer, Ending]>,
  ): Promise<Answer>
  /** Ends what is running with `shut-down` and refuses to begin more. */
  end(): void
  /** Resolves when nothing runs any more. */
  idle(): Promise<void>
  running(): number
}

/** Tells the author of a tool what went wrong. The caller gets a fixed text instead. */
export type ReportFailure = (facts: Operation['facts'], error: unknown) => void

/** @param reportFailure hears of work that failed after its call had ended */
export function calls(trail: AuditTrail, reportFailure: ReportFailure): Calls {
  const stops = new Set<(end: CallEnd) => void>()
  let waiting: (() => void)[] = []
  let ended = false

  return {
    async run(operation, caller, work, conclude) {
      const { facts, rule } = operation
      const startedAt = performance.now()
      const controller = new AbortController()
      const { promise: stopped, reject } = Promise.withResolvers<never>()
      const stop = (end: CallEnd): void => {
        const reason = new CallEnded(end)
        reject(reason)
        controller.abort(reason)
      }
      const cancel = (): void => stop('cancelled')
      const timer = setTimeout(stop, rule.timeoutSeconds * 1000, 'timed-out')
      operation.started = true
      stops.add(stop)
      caller.addEventListener('abort', cancel, { once: true })
      if (caller.aborted) cancel()
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
        const [answer, ending] = await conclude(result)
        const durationMs = performance.now() - startedAt
        trail.write({ ...facts, ...ending, event: 'outcome', durationMs })
        return answer
      } finally {
        clearTimeout(timer)
        caller.removeEventListener('abort', cancel)
        stops.delete(stop)
        if (stops.size === 0) {
          for (const resolve of waiting) resolve()
          waiting = []
        }
      }
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
  return error instanceof CallEnded || (error instanceof Error && error.name === 'AbortError')
}
