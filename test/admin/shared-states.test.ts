import { afterEach, describe, expect, it, vi } from 'vitest'
import { sharedStates } from '../../src/admin/shared-states.ts'
import type { Reload } from '../../src/audit/trail.ts'

const NOW = Date.parse('2026-06-01T12:00:00Z')
const applied = { refusedSince: () => undefined }

const shared = (reachable: boolean, ageSeconds: number) => ({
  shared: { reachable: () => reachable, revokedAgeSeconds: () => ageSeconds },
})

afterEach(() => {
  vi.useRealTimers()
})

describe('threat: a revocation that is not in force, and nobody knows', () => {
  it.each([
    ['no shared store', {}, { store: 'memory' }],
    ['a good one', shared(true, 12), { store: 'ok', revocations: 'ok' }],
    ['one that was away for a moment', shared(true, 29.9), { store: 'ok', revocations: 'ok' }],
    [
      'a list that cannot be read',
      shared(true, 30),
      { store: 'ok', revocations: 'stale since 2026-06-01T11:59:30.000Z' },
    ],
    [
      'a store that is away',
      shared(false, 3600),
      { store: 'unreachable', revocations: 'stale since 2026-06-01T11:00:00.000Z' },
    ],
  ])('says of %s', (_name, store, states) => {
    vi.useFakeTimers({ now: NOW })
    expect(sharedStates(store, applied)).toEqual({ ...states, policies: 'ok', keys: 'ok' })
  })

  it.each<[Reload['event'], object]>([
    ['policy.reload', { policies: 'refused since 2026-06-01T12:00:00.000Z', keys: 'ok' }],
    ['keys.reload', { policies: 'ok', keys: 'refused since 2026-06-01T12:00:00.000Z' }],
  ])('says of a %s that was refused since when', (refused, states) => {
    const live = { refusedSince: (event: string) => (event === refused ? NOW : undefined) }
    expect(sharedStates({}, live)).toEqual({ store: 'memory', ...states })
  })
})
