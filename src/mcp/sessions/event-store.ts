// optional: legacy-sessions
import { randomUUID } from 'node:crypto'
import type { EventStore, JSONRPCMessage } from '@modelcontextprotocol/server'
import type { Clock } from '../../clock.ts'

/** What one session may keep, bytes of JSON. */
export const SESSION_BYTES = 4_194_304
/** What all sessions may keep together, bytes of JSON. */
const TOTAL_BYTES = 67_108_864
/** A client that comes back does so at once. What is older is forgotten, ms. */
const KEPT_MS = 300_000

/** What all sessions of the process keep, bytes of JSON. */
export interface EventBudget {
  used: number
}

/** The last events of one session, for a client that comes back with `Last-Event-ID`. */
export interface SessionEvents extends EventStore {
  /** Forgets what is too old. */
  sweep(): void
  /** Forgets everything. */
  clear(): void
}

interface Kept {
  readonly streamId: string
  readonly message: JSONRPCMessage
  readonly bytes: number
  readonly at: number
}

/**
 * Bounded by events of a stream, by bytes of a session and of all sessions, and by age. What does not
 * fit pushes out the oldest events of its own session, never those of another. So whatever is still
 * known by its id is followed by everything that came after it on its stream: a client either gets all
 * that it missed or is refused.
 *
 * Ids are found in the session they belong to and nowhere else, and its owner has been checked before.
 */
export function sessionEvents(
  eventsPerStream: number,
  budget: EventBudget,
  clock: Clock,
): SessionEvents {
  /** By id, oldest first. */
  const events = new Map<string, Kept>()
  /** Ids by stream, oldest first. */
  const streams = new Map<string, Set<string>>()
  const prefix = randomUUID()
  let used = 0
  let sequence = 0

  function drop(id: string, { streamId, bytes }: Kept): void {
    const ids = streams.get(streamId)
    ids?.delete(id)
    if (ids?.size === 0) streams.delete(streamId)
    events.delete(id)
    used -= bytes
    budget.used -= bytes
  }

  /** Drops the oldest events, one by one, as long as they are too much. */
  function dropWhile(isTooMuch: (oldest: Kept) => boolean): void {
    for (const [id, event] of events) {
      if (!isTooMuch(event)) return
      drop(id, event)
    }
  }

  function sweep(): void {
    dropWhile(({ at }) => clock.now() - at > KEPT_MS)
  }

  return {
    async storeEvent(streamId, message) {
      sequence += 1
      const id = `${prefix}.${sequence}`
      const bytes = Buffer.byteLength(JSON.stringify(message))
      const ids = streams.get(streamId) ?? new Set()
      streams.set(streamId, ids.add(id))
      events.set(id, { streamId, message, bytes, at: clock.now() })
      used += bytes
      budget.used += bytes
      const [oldest = id] = ids
      const first = events.get(oldest)
      if (ids.size > eventsPerStream && first !== undefined) drop(oldest, first)
      sweep()
      dropWhile(() => used > SESSION_BYTES || budget.used > TOTAL_BYTES)
      return id
    },
    async getStreamIdForEventId(id) {
      return events.get(id)?.streamId
    },
    async replayEventsAfter(lastId, { send }) {
      const streamId = events.get(lastId)?.streamId
      const ids = [...(streams.get(streamId ?? '') ?? [])]
      if (streamId === undefined) throw new Error('The event is not kept')
      for (const id of ids.slice(ids.indexOf(lastId) + 1)) {
        const message = events.get(id)?.message
        // An event that only gave the client an id to come back with is no message.
        if (message !== undefined && 'jsonrpc' in message) await send(id, message)
      }
      return streamId
    },
    sweep,
    clear() {
      dropWhile(() => true)
    },
  }
}
