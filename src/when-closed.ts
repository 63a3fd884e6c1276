import type { ServerResponse } from 'node:http'

/** Runs something once when what was asked for has ended, however it ended; in the order of asking. */
export type WhenEnded = (run: () => void) => void

/**
 * One listener for each answer: Node takes more than ten of them for a leak. Entries are taken out at
 * the end of the answer, because what an old map holds survives every collection but the full one.
 */
const waiting = new WeakMap<ServerResponse, (() => void)[]>()

/**
 * Runs something once when an answer has ended, however it ended; in the order of asking. At once when
 * it has ended already: a client may leave while a control waits for a store, a sink or an issuer, and
 * `close` comes once.
 */
export function whenClosed(outgoing: ServerResponse, run: () => void): void {
  const others = waiting.get(outgoing)
  if (outgoing.closed) {
    run()
  } else if (others !== undefined) {
    others.push(run)
  } else {
    const all = [run]
    waiting.set(outgoing, all)
    outgoing.once('close', () => {
      waiting.delete(outgoing)
      for (const ended of all) ended()
    })
  }
}

/** Work that goes on when its answer has ended, by that answer. */
const going = new WeakMap<ServerResponse, Set<Promise<void>>>()

/**
 * Says that what was asked for goes on until `work` has ended, also when its answer ends before: in a
 * session a call outlives its connection, and a tool may not stop when its caller leaves.
 */
export function outlives(outgoing: ServerResponse, work: Promise<void>): void {
  const all = going.get(outgoing) ?? new Set()
  going.set(outgoing, all.add(work))
  void work.then(() => {
    all.delete(work)
    if (all.size === 0 && going.get(outgoing) === all) going.delete(outgoing)
  })
}

/** Runs something once when an answer has ended, and the work behind it, too. */
export function whenDone(outgoing: ServerResponse, run: () => void): void {
  function unlessGoing(): void {
    const [work] = going.get(outgoing) ?? []
    if (work === undefined) run()
    else void work.then(unlessGoing)
  }
  whenClosed(outgoing, unlessGoing)
}
