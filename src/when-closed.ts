import type { ServerResponse } from 'node:http'

/**
 * Runs something once when an answer has ended, however it ended. At once when it has ended already:
 * a client may leave while a control waits for a store, a sink or an issuer, and `close` comes once.
 */
export function whenClosed(outgoing: ServerResponse, run: () => void): void {
  if (outgoing.closed) run()
  else outgoing.once('close', run)
}
