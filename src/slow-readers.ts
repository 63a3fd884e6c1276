import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { type Clock, systemClock } from './clock.ts'
import { whenClosed } from './when-closed.ts'

/** What may wait for a reader as long as the reader takes some of it, bytes. */
const WAITING_BYTES = 1_048_576
/** How often open answers are looked at, ms. */
const INTERVAL_MS = 1000

/** Watches one answer until it has ended. */
export type WatchReader = (outgoing: ServerResponse) => void

/**
 * Cuts readers that hold memory: one that takes nothing for `slowReaderMs` while bytes wait for it,
 * and one for which more than 1 MiB has waited for so long, however it dawdles. What a tool says on
 * the way is held back long before (`mcp/notifier.ts`), so only a result is ever that large.
 *
 * @param clock monotonic
 */
export function slowReaders(slowReaderMs: number, clock: Clock = systemClock): WatchReader {
  /** Since when too much has waited, ms; `undefined` while it has not. */
  const open = new Map<ServerResponse, number | undefined>()

  function look(): void {
    for (const [outgoing, since] of open) {
      if (outgoing.writableLength <= WAITING_BYTES) open.set(outgoing, undefined)
      else if (since === undefined) open.set(outgoing, clock.now())
      else if (clock.now() - since >= slowReaderMs) outgoing.destroy()
    }
    clock.after(INTERVAL_MS, look)
  }
  clock.after(INTERVAL_MS, look)

  return function watchReader(outgoing) {
    open.set(outgoing, undefined)
    whenClosed(outgoing, () => open.delete(outgoing))
    outgoing.on('timeout', cutStalledReader)
  }
}

/** A connection that is silent while its call runs is fine; one that has bytes waiting and takes none is cut. */
function cutStalledReader(socket: Socket): void {
  if (socket.writableLength > 0) socket.destroy()
}
