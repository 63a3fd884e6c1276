import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { type Clock, systemClock } from './clock.ts'
import { whenClosed } from './when-closed.ts'

/** What may wait for a reader as long as the reader takes some of it, bytes. */
const WAITING_BYTES = 1_048_576
/** What may wait for all readers who have more than that waiting, bytes. */
const WAITING_TOTAL_BYTES = 67_108_864
/** How often open answers are looked at, ms. */
const INTERVAL_MS = 250

/** Watches one answer until it has ended. */
export type WatchReader = (outgoing: ServerResponse) => void

/**
 * Cuts readers that hold memory: one that takes nothing for `slowReaderMs` while bytes wait for it,
 * and one for which more than 1 MiB has waited for so long, however it dawdles. What a tool says on
 * the way is held back long before (`mcp/notifier.ts`), so only a result is ever that large: once all
 * of those together are more than 64 MiB, readers are cut until they are not, the ones first for which
 * so much has waited longest. Whoever takes its answer at once is not among them.
 *
 * @param clock monotonic
 */
export function slowReaders(slowReaderMs: number, clock: Clock = systemClock): WatchReader {
  /** Since when too much has waited, ms; `undefined` while it has not. */
  const open = new Map<ServerResponse, number | undefined>()

  function look(): void {
    let waiting = 0
    const holding: { readonly outgoing: ServerResponse; readonly since: number }[] = []
    for (const [outgoing, before] of open) {
      const isHolding = outgoing.writableLength > WAITING_BYTES
      const since = isHolding ? (before ?? clock.now()) : undefined
      open.set(outgoing, since)
      if (since === undefined) continue
      if (clock.now() - since >= slowReaderMs) {
        outgoing.destroy()
        continue
      }
      waiting += outgoing.writableLength
      holding.push({ outgoing, since })
    }
    holding.sort((a, b) => a.since - b.since)
    for (const { outgoing } of holding) {
      if (waiting <= WAITING_TOTAL_BYTES) break
      waiting -= outgoing.writableLength
      outgoing.destroy()
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
