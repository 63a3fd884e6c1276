import { describe, expect, it } from 'vitest'
import { Denied } from '../../src/errors.ts'
import { insured } from '../../src/stores/insurance.ts'
import { memoryStore } from '../../src/stores/memory.ts'
import type { Store } from '../../src/stores/store.ts'
import { describeStore } from './contract.ts'

/** A store that fails with what `failure` holds; one that works while that is `undefined`. */
function failing(failure: { error?: unknown }): Store {
  const store = memoryStore()
  const attempt = async <Result>(run: () => Promise<Result>): Promise<Result> => {
    if (failure.error !== undefined) throw failure.error
    return run()
  }
  return {
    ...store,
    limiter(options) {
      const limiter = store.limiter(options)
      return { hit: (key) => attempt(() => limiter.hit(key)) }
    },
    once: (key, ttlSeconds) => attempt(() => store.once(key, ttlSeconds)),
    get: (space, key) => attempt(() => store.get(space, key)),
  }
}

const AWAY = new Denied('store.unavailable', { headers: { 'retry-after': '5' } })
const budget = (store: Store, limit: number) =>
  store.limiter({ name: 'test', limit, windowSeconds: 60 })

describeStore('an insured store that works', async () => {
  let now = 0
  return {
    store: insured(
      memoryStore(() => now),
      memoryStore(() => now),
    ),
    exactMs: 1,
    async advance(ms) {
      now += ms
    },
  }
})

describe('threat: an outage of the store lifts every limit', () => {
  it.each([
    [1, 1],
    [3, 1],
    [4, 1],
    [8, 2],
    [30, 7],
    [1200, 300],
  ])('allows of %i only %i in one process while it is away', async (limit, allowed) => {
    const limiter = budget(insured(failing({ error: AWAY }), memoryStore()), limit)
    for (let count = 0; count < allowed; count += 1) {
      expect(await limiter.hit('a')).toMatchObject({ allowed: true })
    }
    expect(await limiter.hit('a')).toMatchObject({ allowed: false, remaining: 0 })
    expect(await limiter.hit('b')).toMatchObject({ allowed: true })
  })

  it('counts in the store again when that is back, and on in memory at the next outage', async () => {
    const failure: { error?: unknown } = {}
    const limiter = budget(insured(failing(failure), memoryStore()), 4)
    expect(await limiter.hit('a')).toMatchObject({ allowed: true, remaining: 3 })
    failure.error = AWAY
    expect(await limiter.hit('a')).toMatchObject({ allowed: true, remaining: 0 })
    delete failure.error
    expect(await limiter.hit('a')).toMatchObject({ allowed: true, remaining: 2 })
    failure.error = AWAY
    expect(await limiter.hit('a')).toMatchObject({ allowed: false })
  })

  it('keeps its counts over a reload', async () => {
    const memory = memoryStore()
    const store = failing({ error: AWAY })
    await budget(insured(store, memory), 4).hit('a')
    expect(await budget(insured(store, memory), 4).hit('a')).toMatchObject({ allowed: false })
  })

  it('insures neither marks nor values', async () => {
    const store = insured(failing({ error: AWAY }), memoryStore())
    await expect(store.once('a', 60)).rejects.toBe(AWAY)
    await expect(store.get('space', 'key')).rejects.toBe(AWAY)
  })

  it('hides no bug', async () => {
    const error = new TypeError('a bug')
    await expect(budget(insured(failing({ error }), memoryStore()), 4).hit('a')).rejects.toBe(error)
  })
})
