import { closeSync, constants, fstatSync, openSync, readSync, write } from 'node:fs'
import { setImmediate, setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { Problems } from '../problems.ts'

/**
 * `decision` is for records that must not be lost; `bulk` for what anyone can cause in any number.
 * Each lane has a bound of its own, so a flood in one leaves the other alone.
 */
export type Lane = 'decision' | 'bulk'

/** Where audit lines go, in the order they are appended. */
export interface Sink {
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
 * @throws {Problems} when the target cannot be opened, with the code of the error but not the path,
 *   which is the value of a setting.
 */
export function openSink(target: string): Sink {
  const { fd, torn } = open(target)
  const waiting: Record<Lane, number> = { decision: 0, bulk: 0 }
  let filling: Group | undefined
  let leaving: Group | undefined
  let draining: Promise<void> | undefined
  let gathering: NodeJS.Timeout | undefined
  let broken = false
  let closed = false

  function fail(): void {
    broken = true
    leaving?.written.resolve(false)
    filling?.written.resolve(false)
  }

  function createGroup(): Group {
    return {
      lines: [],
      count: { decision: 0, bulk: 0 },
      written: Promise.withResolvers(),
      overdue: setTimeout(fail, OVERDUE_MS).unref(),
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
      await writeAll(Buffer.from(`${group.lines.join('\n')}\n`))
      clearTimeout(group.overdue)
      waiting.decision -= group.count.decision
      waiting.bulk -= group.count.bulk
      broken = false
      group.written.resolve(true)
    }
    leaving = undefined
    draining = undefined
  }

  async function writeAll(bytes: Buffer): Promise<void> {
    let offset = 0
    let pauseMs = FIRST_PAUSE_MS
    while (offset < bytes.length) {
      try {
        const { bytesWritten } = await writeTo(fd, bytes, offset)
        offset += bytesWritten
      } catch (error) {
        if (codeOf(error) === 'EAGAIN') {
          await sleep(FULL_PIPE_PAUSE_MS, undefined, { ref: false })
          continue
        }
        fail()
        await sleep(pauseMs, undefined, { ref: false })
        pauseMs = Math.min(2 * pauseMs, MAX_PAUSE_MS)
      }
    }
  }

  if (torn) draining = writeAll(Buffer.from('\n')).then(drain)

  return {
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

    async close() {
      if (closed) return
      closed = true
      begin()
      const timeout = Promise.withResolvers<void>()
      const timer = setTimeout(timeout.resolve, CLOSE_MS)
      await Promise.race([draining, timeout.promise])
      clearTimeout(timer)
      if (draining === undefined && fd > 2) closeSync(fd)
    },
  }
}

interface Opened {
  readonly fd: number
  /** Whether the file ends within a line, as after a kill. */
  readonly torn: boolean
}

/** Non-blocking: a named pipe without a reader is refused, and a full one is EAGAIN. */
const FLAGS = constants.O_WRONLY | constants.O_APPEND | constants.O_NONBLOCK

function open(target: string): Opened {
  if (target === 'stdout') return { fd: openStandard(1), torn: false }
  if (target === 'stderr') return { fd: openStandard(2), torn: false }
  try {
    const fd = openSync(target, FLAGS | constants.O_CREAT, 0o600)
    return { fd, torn: isTorn(target, fd) }
  } catch (error) {
    const message = `cannot be opened for appending (${codeOf(error)})`
    throw new Problems([{ field: 'MCP_AUDIT_FILE', message }])
  }
}

/**
 * A pipe is opened a second time, to be non-blocking here only: other processes share the flags of
 * the original. A blocking write to a full pipe holds a thread that even `process.exit` waits for.
 * What is no pipe (a file, the socket of a supervisor) or belongs to another user serves as it is.
 */
function openStandard(fd: 1 | 2): number {
  try {
    return fstatSync(fd).isFIFO() ? openSync(`/dev/fd/${fd}`, FLAGS) : fd
  } catch {
    return fd
  }
}

function isTorn(path: string, fd: number): boolean {
  const stats = fstatSync(fd)
  if (!stats.isFile() || stats.size === 0) return false
  const reader = openSync(path, 'r')
  try {
    const last = Buffer.alloc(1)
    readSync(reader, last, 0, 1, stats.size - 1)
    return last.toString() !== '\n'
  } finally {
    closeSync(reader)
  }
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : 'unknown'
}
