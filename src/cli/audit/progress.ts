import type { Terminal } from './terminal.ts'

const WIDTH = 30
/** Nothing is shown for work that is shorter, ms. */
const QUIET_MS = 1000
const REDRAW_MS = 100

export interface Progress {
  /** So many bytes more are done. */
  add(bytes: number): void
  end(): void
}

/** A bar on a terminal, for long work. @param total bytes; `undefined` when it is not known */
export function progress({ err, watched }: Terminal, total: number | undefined): Progress {
  const startedMs = performance.now()
  let drawnMs = startedMs + QUIET_MS - REDRAW_MS
  let done = 0
  let drawn = false
  return {
    add(bytes) {
      done += bytes
      const nowMs = performance.now()
      if (!watched || total === undefined || nowMs - drawnMs < REDRAW_MS) return
      drawnMs = nowMs
      drawn = true
      const part = total === 0 ? 1 : Math.min(1, done / total)
      const filled = Math.round(part * WIDTH)
      const bar = '#'.repeat(filled).padEnd(WIDTH, '.')
      err(`\r[${bar}] ${String(Math.floor(part * 100)).padStart(3)} %`)
    },
    end() {
      if (drawn) err(`\r${' '.repeat(WIDTH + 8)}\r`)
    },
  }
}
