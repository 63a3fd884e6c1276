import type { Clock } from './clock.ts'
import { callFields, type Logger } from './log.ts'
import type { Calls } from './mcp/calls.ts'
import type { WorkFacts } from './mcp/code-faults.ts'

export interface StallOptions {
  /** Monotonic. */
  readonly clock: Clock
  readonly calls: Pick<Calls, 'seen'>
  readonly logger: Pick<Logger, 'warn'>
  /** What this process has used so far, ms. That of the system unless a test turns its own. */
  readonly cpuMs?: () => number
}

const LOOK_MS = 100
/** A turn of the event loop that is worth a line, ms: everybody else has waited for it. */
const STALL_MS = 500

/**
 * Tells the authors of tools that the event loop stood still. What blocked it cannot be told apart from
 * what ran beside it, so up to ten calls are named, each of them once. A pause of the whole machine
 * names none: the process has used no time of the CPU then.
 */
export function watchStalls(options: StallOptions): void {
  const { clock, calls, logger, cpuMs = processCpuMs } = options
  const named = new WeakSet<WorkFacts>()
  let lookedMs = clock.now()
  let usedMs = cpuMs()

  function look(): void {
    const stalledMs = clock.now() - lookedMs - LOOK_MS
    const isBusy = cpuMs() - usedMs >= stalledMs / 2
    lookedMs = clock.now()
    usedMs = cpuMs()
    const seen = calls.seen()
    if (stalledMs >= STALL_MS && isBusy) {
      for (const call of seen) if (!named.has(call)) name(call, stalledMs)
    }
    clock.after(LOOK_MS, look)
  }
  clock.after(LOOK_MS, look)

  function name(call: WorkFacts, stalledMs: number): void {
    named.add(call)
    logger.warn('The event loop stood still for so many ms, by this call or one beside it', {
      ...callFields(call),
      reason: 'blocked-loop',
      count: Math.round(stalledMs),
    })
  }
}

function processCpuMs(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}
