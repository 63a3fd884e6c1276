import type { ServerResponse } from 'node:http'

/** One listener for each answer: Node takes more than ten of them for a leak. */
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
      for (const ended of all) ended()
    })
  }
}
