import { describe, expect, it } from 'vitest'
import { memoryStore } from '../../src/stores/memory.ts'
import { type Store, VALUE_BYTES } from '../../src/stores/store.ts'
import { describeStore, type StoreUnderTest } from './contract.ts'

function makeStore(): StoreUnderTest {
  let now = 0
  const store = memoryStore(() => now)
  return {
    store,
    exactMs: 1,
    async advance(ms) {
      now += ms
    },
  }
}

describeStore('memory', async () => makeStore())

describe('threat: a replay, after so many other marks that the first is forgotten', () => {
  const MARKS = 200_000
  async function fill(store: Store, purpose: string): Promise<void> {
    for (let index = 0; index < MARKS; index += 1) await store.once(`${purpose}:${index}`, 60)
  }
  const refusal = expect.objectContaining({
    reason: 'store.unavailable',
    headers: { 'retry-after': '5' },
  })

  it('refuses one more than 200,000 live marks, and forgets none of them', async () => {
    const { store } = makeStore()
    await fill(store, 'dpop')
    await expect(store.once('dpop:one too many', 60)).rejects.toEqual(refusal)
    expect(await store.once('dpop:0', 60)).toBe(false)
    expect(await store.once(`dpop:${MARKS - 1}`, 60)).toBe(false)
  })

  it('refuses marks of that purpose alone', async () => {
    const { store } = makeStore()
    await fill(store, 'dpop')
    expect(await store.once('request-state:a', 300)).toBe(true)
    expect(await store.once('request-state:a', 300)).toBe(false)
  })

  it('takes as many again as have ended', async () => {
    const { store, advance } = makeStore()
    await store.once('dpop:first', 60)
    await advance(1)
    for (let index = 1; index < MARKS; index += 1) await store.once(`dpop:${index}`, 60)
    await advance(59_999)
    expect(await store.once('dpop:one', 60)).toBe(true)
    await expect(store.once('dpop:two', 60)).rejects.toEqual(refusal)
    await advance(1)
    expect(await store.once('dpop:two', 60)).toBe(true)
  })
})

describe('threat: keys that an attacker chooses, tables grow until the process ends', () => {
  it('forgets the least recently seen of 100,000 keys of a limiter', async () => {
    const { store } = makeStore()
    const limiter = store.limiter({ name: 'test', limit: 1, windowSeconds: 60 })
    await limiter.hit('first')
    await limiter.hit('second')
    for (let index = 2; index < 100_000; index += 1) await limiter.hit(`key ${index}`)
    expect(await limiter.hit('first')).toMatchObject({ allowed: false })
    await limiter.hit('one too many')
    expect(await limiter.hit('first')).toMatchObject({ allowed: false })
    expect(await limiter.hit('second')).toMatchObject({ allowed: true })
  })

  it('keeps 10,000 owners', async () => {
    const { store } = makeStore()
    for (let index = 0; index <= 10_000; index += 1) await store.put(`owner ${index}`, 'a', 'b', 60)
    expect(await store.get('owner 0', 'a')).toBeUndefined()
    expect(await store.get('owner 1', 'a')).toBe('b')
    expect(await store.get('owner 10000', 'a')).toBe('b')
  })

  it('does not count owners whose values have expired', async () => {
    const { store, advance } = makeStore()
    await store.put('witness', 'a', 'b', 86_400)
    for (let index = 0; index < 10_000; index += 1) {
      await store.put(`owner ${index}`, 'a', 'b', 1)
      await advance(1000)
      await store.list(`owner ${index}`)
    }
    expect(await store.get('witness', 'a')).toBe('b')
  })

  it('keeps 256 MiB in all, and drops the owner that was seen last the longest ago', async () => {
    const { store } = makeStore()
    const value = 'x'.repeat(VALUE_BYTES)
    for (let owner = 0; owner < 16; owner += 1) {
      for (let key = 0; key < 64; key += 1) await store.put(`owner ${owner}`, `${key}`, value, 60)
    }
    expect(await store.list('owner 0')).toHaveLength(64)
    await store.put('owner 2', 'one too many', 'x', 60)
    expect(await store.list('owner 1')).toEqual([])
    expect(await store.list('owner 0')).toHaveLength(64)
    expect(await store.list('owner 2')).toHaveLength(65)
  })

  it.each<[string, (store: Store, advance: (ms: number) => Promise<void>) => Promise<unknown>]>([
    ['deleted', (store) => store.delete('owner', 'key')],
    ['replaced', (store) => store.put('owner', 'key', '', 60)],
    [
      'expired',
      async (store, advance) => {
        await advance(60_000)
        await store.list('owner')
      },
    ],
  ])('counts no value that was %s', async (_name, drop) => {
    const { store, advance } = makeStore()
    const value = 'x'.repeat(VALUE_BYTES)
    await store.put('witness', 'key', 'value', 86_400)
    for (let count = 0; count < 1100; count += 1) {
      await store.put('owner', 'key', value, 60)
      await drop(store, advance)
    }
    expect(await store.get('witness', 'key')).toBe('value')
  })

  it('is empty after it was closed', async () => {
    const { store } = makeStore()
    await store.put('owner', 'key', 'value', 60)
    await store.once('mark', 60)
    await store.close()
    expect(await store.get('owner', 'key')).toBeUndefined()
    expect(await store.once('mark', 60)).toBe(true)
  })
})
