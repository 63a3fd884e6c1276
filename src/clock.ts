/** Time that only moves forward, for lifetimes and intervals. Tests pass one that they turn. */
export interface Clock {
  /** Since some fixed moment, ms. */
  now(): number
  /**
   * Runs something once, later. Does not keep the process alive.
   *
   * @returns a function that calls it off
   */
  after(delayMs: number, run: () => void): () => void
}

export const systemClock: Clock = {
  now() {
    return performance.now()
  },
  after(delayMs, run) {
    const timer = setTimeout(run, delayMs).unref()
    return () => clearTimeout(timer)
  },
}
