import type { Clock } from '../src/clock.ts'

/** A clock that a test turns. */
export interface TestClock extends Clock {
  /** Moves on and runs what is due. */
  advance(ms: number): void
  /** How many calls are due later. */
  pending(): number
}

export function testClock(): TestClock {
  let now = 1000
  let timers: { readonly at: number; readonly run: () => void }[] = []
  return {
    now: () => now,
    after(delayMs, run) {
      const timer = { at: now + delayMs, run }
      timers.push(timer)
      return () => {
        timers = timers.filter((other) => other !== timer)
      }
    },
    advance(ms) {
      now += ms
      const due = timers.filter(({ at }) => at <= now)
      timers = timers.filter(({ at }) => at > now)
      for (const { run } of due) run()
    },
    pending: () => timers.length,
  }
}
