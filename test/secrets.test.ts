import { createHash, createHmac, randomBytes } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { type Purpose, secretRing } from '../src/secrets.ts'

const PURPOSES: readonly Purpose[] = ['audit-mac', 'args', 'principal', 'request-state', 'session']
const newest = randomBytes(32)
const older = randomBytes(48)

/** HKDF-SHA256 with one block of output, written down as RFC 5869 §2.2 and §2.3 say it. */
function hkdf(root: Buffer, info: string): Buffer {
  const pseudorandom = createHmac('sha256', Buffer.alloc(32)).update(root).digest()
  return createHmac('sha256', pseudorandom).update(`${info}\u0001`).digest()
}

describe('threat: one key for two purposes, what one part signs another one accepts', () => {
  it.each(PURPOSES)('derives the key for %s as RFC 5869 says', (purpose) => {
    const keys = secretRing([newest, older])(purpose)
    expect(keys.map(({ key }) => key)).toEqual([
      hkdf(newest, `gatehouse/v1/${purpose}`),
      hkdf(older, `gatehouse/v1/${purpose}`),
    ])
  })

  it('gives every purpose and every root a key of its own', () => {
    const ring = secretRing([newest, older])
    const all = PURPOSES.flatMap((purpose) => ring(purpose))
    expect(new Set(all.map(({ key }) => key.toString('hex'))).size).toBe(2 * PURPOSES.length)
    expect(new Set(all.map(({ id }) => id)).size).toBe(2 * PURPOSES.length)
    for (const { key } of all) expect([newest, older]).not.toContainEqual(key)
  })

  it('names a key by its digest, which says nothing of it', () => {
    for (const { id, key } of secretRing([newest])('args')) {
      expect(id).toBe(createHash('sha256').update(key).digest('hex').slice(0, 16))
      expect(key.toString('hex')).not.toContain(id)
    }
  })
})

describe('contract: rotation', () => {
  it('signs with the first, and keeps the rest for verifying', () => {
    const before = secretRing([older])('request-state')
    const after = secretRing([newest, older])('request-state')
    expect(after[0]).not.toEqual(before[0])
    expect(after[1]).toEqual(before[0])
    expect(secretRing([newest])('request-state')).toEqual([after[0]])
  })
})
