// optional: api-key
import { describe, expect, it } from 'vitest'
import { announceExpiry, keyState } from '../../src/auth/key-expiry.ts'
import type { KeyRecord } from '../../src/auth/key-file.ts'
import type { LogFields } from '../../src/log.ts'
import { testClock } from '../clock.ts'

const DAY_MS = 86_400_000
const NOW = Date.parse('2026-06-01T00:00:00Z')

function record(id: string, expiresAt: string, revokedAt: string | null = null): KeyRecord {
  return {
    id,
    name: 'name-of-the-key',
    sha256: 'ab'.repeat(32),
    subject: 'subject-of-the-key',
    tenant: null,
    roles: [],
    scopes: [],
    createdAt: '2026-01-01T00:00:00Z',
    expiresAt,
    allowedCidrs: [],
    revokedAt,
  }
}

describe('contract: the state of a key', () => {
  it.each<[string, string, string | null]>([
    ['live', '2026-06-15T00:00:00.001Z', null],
    ['expiring', '2026-06-15T00:00:00Z', null],
    ['expiring', '2026-06-01T00:00:00.001Z', null],
    ['expired', '2026-06-01T00:00:00Z', null],
    ['revoked', '2026-07-01T00:00:00Z', '2026-05-01T00:00:00Z'],
    ['revoked', '2026-05-02T00:00:00Z', '2026-05-01T00:00:00Z'],
  ])('is %s until %s, revoked %s', (state, expiresAt, revokedAt) => {
    expect(keyState({ expiresAt, revokedAt }, NOW)).toBe(state)
  })
})

describe('threat: a key ends unannounced, and with it the service that uses it', () => {
  function announcing(...records: KeyRecord[]) {
    const clock = testClock()
    let day = 0
    const said: { message: string; fields: LogFields | undefined }[] = []
    const none = (): void => {
      throw new Error('not a warning')
    }
    const warn = (message: string, fields?: LogFields): void => {
      said.push({ message, fields })
    }
    const logger = { fatal: none, error: none, warn, info: none, debug: none }
    const nowMs = (): number => NOW + day * DAY_MS
    const stop = announceExpiry(records, { logger, clock, nowMs, nameOf: String })
    return {
      clock,
      stop,
      /** What has been said since it was last asked. */
      said: () => said.splice(0),
      nextDay() {
        day += 1
        clock.advance(DAY_MS)
      },
    }
  }

  it('says the id and the end of each key that has 14 days or less, and nothing else of it', () => {
    const soon = record('aaaaaaaaaaaa', '2026-06-15T00:00:00Z')
    const sooner = record('bbbbbbbbbbbb', '2026-06-02T00:00:00Z')
    const { said } = announcing(soon, record('cccccccccccc', '2026-07-01T00:00:00Z'), sooner)
    const announced = said()
    expect(announced.map(({ fields }) => fields)).toEqual([
      { keyId: 'aaaaaaaaaaaa', expiresAt: '2026-06-15T00:00:00Z' },
      { keyId: 'bbbbbbbbbbbb', expiresAt: '2026-06-02T00:00:00Z' },
    ])
    expect(JSON.stringify(announced)).not.toMatch(/of-the-key|abab/)
  })

  it('says it again each day, from the day on that it is due until the day that the key ends', () => {
    const { said, nextDay } = announcing(record('aaaaaaaaaaaa', '2026-06-17T00:00:00Z'))
    const days = Array.from({ length: 20 }, () => {
      const count = said().length
      nextDay()
      return count
    })
    expect(days).toEqual([0, 0, ...Array.from({ length: 14 }, () => 1), 0, 0, 0, 0])
  })

  it('says nothing in between, and nothing of keys that are revoked or have expired', () => {
    const { said, clock } = announcing(
      record('aaaaaaaaaaaa', '2026-06-02T00:00:00Z', '2026-05-01T00:00:00Z'),
      record('bbbbbbbbbbbb', '2026-05-31T00:00:00Z'),
      record('cccccccccccc', '2026-06-02T00:00:00Z'),
    )
    expect(said()).toHaveLength(1)
    clock.advance(DAY_MS - 1)
    expect(said()).toEqual([])
  })

  it('stops with the keys that it speaks of', () => {
    const { said, stop, nextDay, clock } = announcing(
      record('aaaaaaaaaaaa', '2026-06-10T00:00:00Z'),
    )
    expect(said()).toHaveLength(1)
    stop()
    nextDay()
    expect([said(), clock.pending()]).toEqual([[], 0])
  })
})
