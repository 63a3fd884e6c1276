import { describe, expect, it } from 'vitest'
import { slots, slotTables } from '../src/slots.ts'

describe('threat: slots that leak or come back twice, a limit wears off or locks a caller out', () => {
  it('gives each key as many as its limit, and no more', () => {
    const all = slots(2)
    expect(all.take('a')).toBeTypeOf('function')
    expect(all.take('a')).toBeTypeOf('function')
    expect(all.take('a')).toBeUndefined()
    expect(all.take('b')).toBeTypeOf('function')
  })

  it('frees one slot however often it is released', () => {
    const all = slots(2)
    const release = all.take('a')
    all.take('a')
    release?.()
    release?.()
    expect(all.take('a')).toBeTypeOf('function')
    expect(all.take('a')).toBeUndefined()
  })

  it.each(['', 'constructor', '__proto__', 'null'])('counts the key %j like any other', (key) => {
    const all = slots(1)
    const release = all.take(key)
    expect(release).toBeTypeOf('function')
    expect(all.take(key)).toBeUndefined()
    release?.()
    expect(all.take(key)).toBeTypeOf('function')
  })
})

describe('contract: what is taken by all keys', () => {
  it('is counted by name, and nothing for a name that nobody has used', () => {
    const slotsOf = slotTables()
    const streams = slotsOf('streams', 3)
    const release = streams.take('a')
    streams.take('a')
    streams.take('b')
    slotsOf('sessions', 3).take('a')
    expect(slotsOf.taken('streams')).toBe(3)
    release?.()
    expect(slotsOf.taken('streams')).toBe(2)
    expect(slotsOf.taken('principal')).toBe(0)
  })
})

describe('threat: a reload forgets what is in use, and doubles every limit', () => {
  it('counts on under a new limit, by name', () => {
    const slotsOf = slotTables()
    const before = slotsOf('principal', 2)
    const release = before.take('a')
    before.take('a')

    const after = slotsOf('principal', 3)
    expect(slotsOf('tool', 2).take('a')).toBeTypeOf('function')
    expect(after.take('a')).toBeTypeOf('function')
    expect(after.take('a')).toBeUndefined()
    release?.()
    expect(after.take('a')).toBeTypeOf('function')
    expect(before.take('a')).toBeUndefined()
  })
})
