// optional: legacy-sessions
import type { JSONRPCMessage } from '@modelcontextprotocol/server'
import { describe, expect, it } from 'vitest'
import {
  SESSION_BYTES,
  type SessionEvents,
  sessionEvents,
} from '../../../src/mcp/sessions/event-store.ts'
import { testClock } from '../../clock.ts'

function notification(text: string): JSONRPCMessage {
  return { jsonrpc: '2.0', method: 'notifications/message', params: { text } }
}

async function replayedAfter(events: SessionEvents, id: string): Promise<unknown[]> {
  const replayed: unknown[] = []
  await events.replayEventsAfter(id, {
    async send(_id, message) {
      if ('method' in message) replayed.push(message.params?.['text'])
    },
  })
  return replayed
}

describe('threat: events without end, they fill the memory', () => {
  it('keeps so many of a stream, whatever the others hold', async () => {
    const events = sessionEvents(3, { used: 0 }, testClock())
    const quiet = await events.storeEvent('quiet', notification('q'))
    const ids = []
    for (const text of 'abcde') ids.push(await events.storeEvent('busy', notification(text)))
    expect(await replayedAfter(events, ids[2] ?? '')).toEqual(['d', 'e'])
    expect(await events.getStreamIdForEventId?.(ids[1] ?? '')).toBeUndefined()
    expect(await events.getStreamIdForEventId?.(quiet)).toBe('quiet')
    await expect(replayedAfter(events, ids[1] ?? '')).rejects.toThrow()
  })

  it('keeps so many bytes of a session, and counts what all of them keep', async () => {
    const budget = { used: 0 }
    const [events, other] = [1, 2].map(() => sessionEvents(1000, budget, testClock()))
    const big = notification('x'.repeat(SESSION_BYTES / 4))
    const ids: string[] = []
    for (let count = 0; count < 8; count++) ids.push((await events?.storeEvent('s', big)) ?? '')
    expect(budget.used).toBeLessThanOrEqual(SESSION_BYTES)
    const kept = await Promise.all(ids.map((id) => events?.getStreamIdForEventId?.(id)))
    expect(kept).toEqual([...Array(5).fill(undefined), 's', 's', 's'])
    const own = await other?.storeEvent('s', big)
    expect(await other?.getStreamIdForEventId?.(own ?? '')).toBe('s')
    events?.clear()
    other?.clear()
    expect(budget.used).toBe(0)
  })

  it('does not keep what alone is too much, nor anything before it', async () => {
    const budget = { used: 0 }
    const events = sessionEvents(10, budget, testClock())
    const before = await events.storeEvent('s', notification('a'))
    const large = await events.storeEvent('s', notification('x'.repeat(SESSION_BYTES)))
    for (const id of [before, large]) {
      expect(await events.getStreamIdForEventId?.(id)).toBeUndefined()
    }
    expect(budget.used).toBe(0)
  })

  it('never takes from another session, also when all of them keep too much', async () => {
    const budget = { used: 0 }
    const events = sessionEvents(10, budget, testClock())
    const id = await events.storeEvent('s', notification('a'))
    budget.used += 67_108_864 // Of others.
    const crowded = sessionEvents(10, budget, testClock())
    const lost = await crowded.storeEvent('s', notification('b'))
    expect(await crowded.getStreamIdForEventId?.(lost)).toBeUndefined()
    expect(await events.getStreamIdForEventId?.(id)).toBe('s')
  })

  it('forgets what nobody came back for', async () => {
    const clock = testClock()
    const budget = { used: 0 }
    const events = sessionEvents(10, budget, clock)
    const id = await events.storeEvent('s', notification('a'))
    clock.advance(300_000)
    events.sweep()
    expect(await events.getStreamIdForEventId?.(id)).toBe('s')
    clock.advance(1)
    events.sweep()
    expect(await events.getStreamIdForEventId?.(id)).toBeUndefined()
    expect(budget.used).toBe(0)
  })
})
