import { describe, expect, it } from 'vitest'
import { SPACE_KEYS, type Store, VALUE_BYTES } from '../../src/stores/store.ts'

/** A store that starts empty, and its clock. */
export interface StoreUnderTest {
  readonly store: Store
  /** Lets time pass for the store. */
  advance(ms: number): Promise<void>
  /** How exactly, ms: what real time may pass by itself meanwhile. */
  readonly exactMs: number
}

/** Names that an object would have by inheritance, and others that are easily lost. */
const ODD_NAMES = ['', ' ', 'constructor', '__proto__', 'null', 'a', 'a:b', 'b:a', '\u00e9', '\0']

/** What every store does, wherever it keeps its values. */
export function describeStore(name: string, make: () => Promise<StoreUnderTest>): void {
  const budget = (store: Store, limit = 2, limiter = 'test') =>
    store.limiter({ name: limiter, limit, windowSeconds: 60 })

  describe(`contract: the limiter of ${name}`, () => {
    it('allows as many hits as its limit in one window', async () => {
      const { store, advance } = await make()
      const limiter = budget(store)
      expect(await limiter.hit('a')).toEqual({ allowed: true, remaining: 1, resetSeconds: 60 })
      await advance(20_000)
      expect(await limiter.hit('a')).toEqual({ allowed: true, remaining: 0, resetSeconds: 40 })
      expect(await limiter.hit('a')).toEqual({ allowed: false, remaining: 0, resetSeconds: 40 })
    })

    it('counts in windows of any length', async () => {
      const { store, advance } = await make()
      const limiter = store.limiter({ name: 'test', limit: 1, windowSeconds: 3600 })
      expect(await limiter.hit('a')).toMatchObject({ resetSeconds: 3600 })
      await advance(1)
      expect(await limiter.hit('a')).toMatchObject({ allowed: false, resetSeconds: 3600 })
      await advance(999)
      expect(await limiter.hit('a')).toMatchObject({ allowed: false, resetSeconds: 3599 })
    })

    it('starts a new window with the first hit after the old one, and not before', async () => {
      const { store, advance, exactMs } = await make()
      const limiter = budget(store, 1)
      await limiter.hit('a')
      await advance(60_000 - exactMs)
      expect(await limiter.hit('a')).toEqual({ allowed: false, remaining: 0, resetSeconds: 1 })
      await advance(exactMs)
      expect(await limiter.hit('a')).toEqual({ allowed: true, remaining: 0, resetSeconds: 60 })
    })

    it('does not let hits over the limit make the window longer', async () => {
      const { store, advance } = await make()
      const limiter = budget(store, 1)
      for (let count = 0; count < 10; count += 1) {
        await limiter.hit('a')
        await advance(6000)
      }
      expect(await limiter.hit('a')).toMatchObject({ allowed: true })
    })

    it('counts each key by itself, whatever its name', async () => {
      const { store } = await make()
      const limiter = budget(store, 1)
      for (const key of ODD_NAMES) {
        expect(await limiter.hit(key), JSON.stringify(key)).toMatchObject({ allowed: true })
      }
      for (const key of ODD_NAMES) {
        expect(await limiter.hit(key), JSON.stringify(key)).toMatchObject({ allowed: false })
      }
    })

    it('keeps limiters apart, whatever their names', async () => {
      const { store } = await make()
      for (const name of ['tool', 'tool:a', 'report://{id}', 'constructor', '%3A', '\u00e9']) {
        const limiter = budget(store, 1, name)
        expect(await limiter.hit('a:b'), name).toMatchObject({ allowed: true })
        expect(await limiter.hit('b'), name).toMatchObject({ allowed: true })
      }
    })

    it('shares counters between limiters of one name, and no others', async () => {
      const { store } = await make()
      await budget(store, 1).hit('a')
      expect(await budget(store, 1).hit('a')).toMatchObject({ allowed: false })
      expect(await budget(store, 1, 'other').hit('a')).toMatchObject({ allowed: true })
    })

    it('counts hits that come at the same time', async () => {
      const { store } = await make()
      const limiter = budget(store, 5)
      const hits = await Promise.all(Array.from({ length: 20 }, () => limiter.hit('a')))
      expect(hits.filter(({ allowed }) => allowed)).toHaveLength(5)
    })
  })

  describe(`contract: marks of ${name}`, () => {
    it('says yes to the first caller alone, until the mark expires', async () => {
      const { store, advance, exactMs } = await make()
      expect(await store.once('a', 10)).toBe(true)
      expect(await store.once('a', 10)).toBe(false)
      expect(await store.once('b', 10)).toBe(true)
      await advance(10_000 - exactMs)
      expect(await store.once('a', 10)).toBe(false)
      await advance(exactMs)
      expect(await store.once('a', 10)).toBe(true)
    })

    it('keeps marks apart, whatever their names', async () => {
      const { store } = await make()
      for (const name of ODD_NAMES) expect(await store.once(name, 10)).toBe(true)
      for (const name of ODD_NAMES) expect(await store.once(name, 10)).toBe(false)
    })

    it('says yes to one of many at the same time', async () => {
      const { store } = await make()
      const answers = await Promise.all(Array.from({ length: 20 }, () => store.once('a', 10)))
      expect(answers.filter(Boolean)).toHaveLength(1)
    })

    it('remembers a mark while it lives, whatever else is marked', async () => {
      const { store } = await make()
      await store.once('purpose:first', 60)
      for (let index = 0; index < 2000; index += 1) await store.once(`purpose:${index}`, 60)
      expect(await store.once('purpose:first', 60)).toBe(false)
      expect(await store.once('other:first', 60)).toBe(true)
    })

    it('does not make a mark live longer by asking again', async () => {
      const { store, advance } = await make()
      await store.once('a', 10)
      await advance(5000)
      await store.once('a', 10)
      await advance(5000)
      expect(await store.once('a', 10)).toBe(true)
    })
  })

  describe(`contract: values of ${name}`, () => {
    it('keeps a value until it expires', async () => {
      const { store, advance, exactMs } = await make()
      await store.put('space', 'key', 'value', 10)
      expect(await store.get('space', 'key')).toBe('value')
      expect(await store.list('space')).toEqual(['key'])
      await advance(10_000 - exactMs)
      expect(await store.get('space', 'key')).toBe('value')
      await advance(exactMs)
      expect(await store.get('space', 'key')).toBeUndefined()
      expect(await store.list('space')).toEqual([])
      expect(await store.delete('space', 'key')).toBe(false)
    })

    it('gives a value that is put again its new time and place', async () => {
      const { store, advance } = await make()
      await store.put('space', 'first', 'old', 10)
      await store.put('space', 'second', 'value', 30)
      await advance(5000)
      await store.put('space', 'first', 'new', 10)
      await advance(5000)
      expect(await store.get('space', 'first')).toBe('new')
      expect(await store.list('space')).toEqual(['second', 'first'])
    })

    it('deletes a value once', async () => {
      const { store } = await make()
      await store.put('space', 'key', 'value', 10)
      expect(await store.delete('space', 'key')).toBe(true)
      expect(await store.delete('space', 'key')).toBe(false)
      expect(await store.get('space', 'key')).toBeUndefined()
    })

    it('keeps spaces and keys apart, whatever their names', async () => {
      const { store } = await make()
      for (const space of ODD_NAMES) {
        expect(await store.get(space, 'key')).toBeUndefined()
        expect(await store.list(space)).toEqual([])
        for (const key of ODD_NAMES) await store.put(space, key, `${space}/${key}`, 10)
      }
      for (const space of ODD_NAMES) {
        expect(await store.list(space)).toEqual(ODD_NAMES)
        for (const key of ODD_NAMES) expect(await store.get(space, key)).toBe(`${space}/${key}`)
      }
      await store.delete('', '')
      expect(await store.get(' ', '')).toBe(' /')
    })

    it('drops the oldest key of a full space, and no key of another', async () => {
      const { store } = await make()
      await store.put('other', 'key', 'value', 60)
      for (let index = 0; index <= SPACE_KEYS; index += 1) {
        await store.put('space', `key ${index}`, 'value', 60)
      }
      const keys = await store.list('space')
      expect(keys).toHaveLength(SPACE_KEYS)
      expect([keys[0], keys.at(-1)]).toEqual(['key 1', `key ${SPACE_KEYS}`])
      expect(await store.get('space', 'key 0')).toBeUndefined()
      expect(await store.get('other', 'key')).toBe('value')
    })

    it('drops no key of a full space when one is put again', async () => {
      const { store } = await make()
      for (let index = 0; index < SPACE_KEYS; index += 1) {
        await store.put('space', `key ${index}`, 'value', 60)
      }
      await store.put('space', 'key 5', 'new', 60)
      expect(await store.list('space')).toHaveLength(SPACE_KEYS)
      expect(await store.get('space', 'key 0')).toBe('value')
    })

    it.each([
      ['ASCII', 'x', 1],
      ['characters of two bytes', '\u00e9', 2],
    ])('takes a value of exactly the limit, and none that is larger: %s', async (...row) => {
      const [, character, bytes] = row
      const { store } = await make()
      const largest = character.repeat(VALUE_BYTES / bytes)
      await store.put('space', 'key', largest, 60)
      await expect(store.put('space', 'key', `${largest}x`, 60)).rejects.toThrow(RangeError)
      expect(await store.get('space', 'key')).toBe(largest)
    })
  })
}
