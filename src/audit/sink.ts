import { write } from 'node:fs'
import { setImmediate, setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import type { Predecessor } from './chain.ts'
import { codeOf, openTarget } from './sink-target.ts'

/**
 * `decision` is for records that must not be lost; `bulk` for what anyone can cause in any number.
 * Each lane has a bound of its own, so a flood in one leaves the other alone.
 */
export type Lane = 'decision' | 'bulk'

/**
 * Why lines cannot be written: nobody reads the pipe, no space is left, the user lacks the right, the
 * device fails, or writing takes longer than `OVERDUE_MS`.
 */
export type SinkFault = 'no-reader' | 'no-space' | 'no-permission' | 'device' | 'overdue' | 'other'

/** Where audit lines go, in the order they are appended. */
export interface Sink {
  /** What the file held before. Absent where that cannot be known. */
  readonly predecessor?: Predecessor
  /** Whether this lane takes one more line. Ask before `append`. False after `close`. */
  hasRoom(lane: Lane): boolean
  /**
   * Queues one line (without line break). It stays queued until it is written.
   *
   * @param urgent somebody waits for it; other lines wait up to `GATHER_MS` for company
   * @returns `true` once the operating system has it; `false` as soon as it is known that writing
   *   fails, or after `OVERDUE_MS`. Never rejects.
   */
  append(lane: Lane, line: string, urgent: boolean): Promise<boolean>
  /** Whether the last write failed or is overdue. Ends by itself when writing works again. */
  broken(): boolean
  /** Takes no more lines, writes what is queued for at most `CLOSE_MS`, then closes the file. */
  close(): Promise<void>
}

/** Lines that each lane may have waiting. A line is about 1 KB. */
export const LANE_LINES = 4096
/** How long a line may wait before the sink counts as broken, ms. */
export const OVERDUE_MS = 5000
/** How long lines that nobody waits for gather before they are written, ms. */
const GATHER_MS = 10
/** How long `close` waits for what is queued, ms. */
export const CLOSE_MS = 2000
/** Pause before a full pipe is tried again, ms. */
const FULL_PIPE_PAUSE_MS = 2
/** Pause before a failed write is tried again, ms; doubles up to the maximum. */
const FIRST_PAUSE_MS = 50
const MAX_PAUSE_MS = 1000

const writeTo = promisify(write)

const FAULTS: ReadonlyMap<string, SinkFault> = new Map([
  ['EPIPE', 'no-reader'],
  ['ENXIO', 'no-reader'],
  ['ENOSPC', 'no-space'],
  ['EDQUOT', 'no-space'],
  ['EFBIG', 'no-space'],
  ['EACCES', 'no-permission'],
  ['EPERM', 'no-permission'],
  ['EROFS', 'no-permission'],
  ['EIO', 'device'],
])

/** Lines that leave in one write, and the one answer for everybody who waits for them. */
interface Group {
  readonly lines: string[]
  readonly count: Record<Lane, number>
  readonly written: PromiseWithResolvers<boolean>
  readonly overdue: NodeJS.Timeout
}

/**
 * Opens the sink for audit lines: `stdout`, `stderr`, or the path of a file (appended to, created
 * with mode 0600) or named pipe.
 *
 * Lines that come while a write is under way leave together in the next one (group commit). A write
 * that fails (EPIPE, ENOSPC, EIO …) is tried again until it works; no line that was accepted is
 * dropped. Nothing here blocks the event loop, and there is no fsync: a written line survives the
 * process, not the machine. Ship the stream to another system for that.
 *
 * A file that was renamed or removed is left within `LOOK_MS`, between two lines, and its path opened
 * again: rotation needs no signal. Not covered: a file that is copied and truncated (`copytruncate`)
 * loses what is written in between, which the chain then shows.
 *
 * @param changed told once when writing begins to fail, and once (without a fault) when it works again
 * @throws {Problems} when the target cannot be opened, with the code of the error but not the path,
 *   which is the value of a setting.
 */
export function openSink(
  target: string,
  changed: (fault: SinkFault | undefined) => void = () => undefined,
): Sink & { /** Lines that are not written yet. */ waiting(lane: Lane): number } {
  const output = openTarget(target)
  const waiting: Record<Lane, number> = { decision: 0, bulk: 0 }
  let filling: Group | undefined
  let leaving: Group | undefined
  let draining: Promise<void> | undefined
  let gathering: NodeJS.Timeout | undefined
  let broken = false
  let closed = false

  function fail(fault: SinkFault): void {
    if (!broken) changed(fault)
    broken = true
    leaving?.written.resolve(false)
    filling?.written.resolve(false)
  }

  function createGroup(): Group {
    return {
      lines: [],
      count: { decision: 0, bulk: 0 },
      written: Promise.withResolvers(),
      overdue: setTimeout(() => fail('overdue'), OVERDUE_MS).unref(),
    }
  }

  function begin(): void {
    clearTimeout(gathering)
    gathering = undefined
    draining ??= drain()
  }

  /** What comes within one turn of the event loop leaves together. */
  async function drain(): Promise<void> {
    await setImmediate()
    while (filling !== undefined) {
      const group: Group = filling
      leaving = group
      filling = undefined
      await writeAll(`${group.lines.join('\n')}\n`)
      clearTimeout(group.overdue)
      waiting.decision -= group.count.decision
      waiting.bulk -= group.count.bulk
      if (broken) changed(undefined)
      broken = false
      group.written.resolve(true)
    }
    leaving = undefined
    draining = undefined
  }

  async function writeAll(lines: string): Promise<void> {
    let bytes: Buffer | undefined
    let offset = 0
    let pauseMs = FIRST_PAUSE_MS
    while (bytes === undefined || offset < bytes.length) {
      try {
        bytes ??= Buffer.from((await output.follow()) ? `\n${lines}` : lines)
        const { bytesWritten } = await writeTo(output.fd(), bytes, offset)
        offset += bytesWritten
      } catch (error) {
        if (codeOf(error) === 'EAGAIN') {
          await sleep(FULL_PIPE_PAUSE_MS, undefined, { ref: false })
          continue
        }
        fail(FAULTS.get(codeOf(error)) ?? 'other')
        await sleep(pauseMs, undefined, { ref: false })
        pauseMs = Math.min(2 * pauseMs, MAX_PAUSE_MS)
      }
    }
  }

  return {
    ...(output.predecessor === undefined ? {} : { predecessor: output.predecessor }),

    hasRoom: (lane) => !closed && waiting[lane] < LANE_LINES,

    append(lane, line, urgent) {
      filling ??= createGroup()
      filling.lines.push(line)
      filling.count[lane] += 1
      waiting[lane] += 1
      const { promise } = filling.written
      if (urgent) begin()
      else gathering ??= setTimeout(begin, GATHER_MS).unref()
      return broken ? Promise.resolve(false) : promise
    },

    broken: () => broken,
    waiting: (lane) => waiting[lane],

    async close() {
      if (closed) return
      closed = true
      begin()
      const timeout = Promise.withResolvers<void>()
      const timer = setTimeout(timeout.resolve, CLOSE_MS)
      await Promise.race([draining, timeout.promise])
      clearTimeout(timer)
      if (draining === undefined) output.close()
    },
  }
}
