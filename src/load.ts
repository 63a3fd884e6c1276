import { totalmem } from 'node:os'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { getHeapStatistics } from 'node:v8'
import type { Clock } from './clock.ts'

/** What there is too little of. */
export type Shortage = 'event-loop' | 'memory'

/** Whether this process has what one more request needs. */
export interface Load {
  /** `undefined` while there is enough of everything. */
  shortage(): Shortage | undefined
}

/** What is measured. Tests pass one that they turn. */
export interface Gauge {
  /** The median time that one turn of the event loop took since the last reading, ms. */
  turnMs(): number
  /** Part of its memory that this process uses, 0 to 1; `undefined` when nothing says how much it has. */
  memoryShare(): number | undefined
}

/** How often the gauge is read, ms. */
const INTERVAL_MS = 2500
/**
 * Readings in a row that decide, so five seconds: a pause of the whole machine, however long, falls
 * into one reading, and one slow tool does not decide for everybody.
 */
const READINGS = 2
/**
 * Where requests begin and cease to be refused. High on purpose: a request waits for several turns, so
 * with half a second for most of them callers wait for seconds and probes time out. A busy or noisy
 * machine is far below.
 */
const TURN_MS = { begin: 500, cease: 250 } as const
/**
 * V8 collects garbage at the latest half way between what is in use and its limit, so 0.9 of the limit
 * means that at least 0.8 are in use. The rest is for the calls that are running.
 */
const MEMORY_SHARE = { begin: 0.9, cease: 0.8 } as const
/**
 * How long requests are refused for memory before some are let in again, ms. A process that is asked
 * for nothing may collect no garbage, so only the next calls show what is free; without this, a
 * replica without traffic would stay unready for good.
 */
const MEMORY_RETRY_MS = 10_000

/**
 * Reads the gauge from now on. Where refusing begins and where it ceases lie apart, so that it does
 * not flicker.
 *
 * @param clock monotonic
 */
export function watchLoad(clock: Clock, gauge: Gauge = processGauge()): Load {
  const short = new Set<Shortage>()
  const inRow = new Map<Shortage, number>()
  let memorySinceMs = 0

  function count(
    what: Shortage,
    value: number,
    { begin, cease }: typeof TURN_MS | typeof MEMORY_SHARE,
  ): void {
    const isShort = short.has(what)
    const differs = isShort ? value < cease : value >= begin
    const row = differs ? (inRow.get(what) ?? 0) + 1 : 0
    inRow.set(what, row % READINGS)
    if (row < READINGS) return
    if (isShort) short.delete(what)
    else short.add(what)
    if (what === 'memory') memorySinceMs = clock.now()
  }

  function read(): void {
    count('event-loop', gauge.turnMs(), TURN_MS)
    count('memory', gauge.memoryShare() ?? 0, MEMORY_SHARE)
    if (clock.now() - memorySinceMs >= MEMORY_RETRY_MS) short.delete('memory')
    clock.after(INTERVAL_MS, read)
  }
  clock.after(INTERVAL_MS, read)

  return {
    shortage() {
      if (short.has('memory')) return 'memory'
      return short.has('event-loop') ? 'event-loop' : undefined
    },
  }
}

/** How often the loop is looked at, ms: the least that a turn seems to take. */
const RESOLUTION_MS = 20

function processGauge(): Gauge {
  const turns = monitorEventLoopDelay({ resolution: RESOLUTION_MS })
  turns.enable()
  const bound = memoryBound()

  return {
    turnMs() {
      const medianMs = turns.count === 0 ? 0 : turns.percentile(50) / 1e6
      turns.reset()
      return medianMs
    },
    memoryShare() {
      const { used_heap_size, heap_size_limit } = getHeapStatistics()
      const heap = used_heap_size / heap_size_limit
      return bound === undefined ? heap : Math.max(heap, process.memoryUsage.rss() / bound)
    },
  }
}

/** What the container may have, bytes; `undefined` without one: then the heap alone has a limit. */
function memoryBound(): number | undefined {
  const bytes = process.constrainedMemory()
  return bytes > 0 && bytes <= totalmem() ? bytes : undefined
}
