import { LRUCache } from 'lru-cache'
import { Denied } from '../errors.ts'
import { type Limiter, type LimiterOptions, SPACE_KEYS, type Store, VALUE_BYTES } from './store.ts'

/** Keys that one limiter counts at a time; the least recently seen is forgotten first. */
const LIMITER_KEYS = 100_000
/** Live marks of one purpose, about 30 MB of them. None is forgotten to make room. */
const MARKS = 200_000
/** Owners with values. */
const SPACES = 10_000
/** Size of all stored values together, UTF-8 bytes. */
const TOTAL_BYTES = 268_435_456

interface Window {
  hits: number
  readonly endsMs: number
}

interface Kept {
  readonly value: string
  readonly endsMs: number
}

/**
 * The store of a single process: bounded tables, gone with the process.
 *
 * `rate-limiter-flexible` is not used here: its memory limiter keeps a timer and a record for every
 * key without a bound, and keys are addresses that an attacker chooses.
 *
 * @param now monotonic clock, ms
 */
export function memoryStore(now: () => number = () => performance.now()): Store {
  const tables = new Map<string, LRUCache<string, Window>>()
  /** By purpose; when each mark ends, ms, the first to end first. */
  const marks = new Map<string, Map<string, number>>()
  let totalBytes = 0
  const spaces = new LRUCache<string, Map<string, Kept>>({
    max: SPACES,
    dispose: (space) => {
      for (const kept of space.values()) totalBytes -= Buffer.byteLength(kept.value)
    },
  })

  /** The counters of a name, made with the first hit: the table reserves room for all its keys. */
  function table(name: string): LRUCache<string, Window> {
    const found = tables.get(name) ?? new LRUCache<string, Window>({ max: LIMITER_KEYS })
    tables.set(name, found)
    return found
  }

  function drop(space: Map<string, Kept>, key: string): boolean {
    const kept = space.get(key)
    if (kept === undefined) return false
    totalBytes -= Buffer.byteLength(kept.value)
    return space.delete(key)
  }

  /** The live part of a space, oldest first. */
  function live(name: string): Map<string, Kept> | undefined {
    const space = spaces.get(name)
    if (space === undefined) return undefined
    for (const [key, kept] of space) if (kept.endsMs <= now()) drop(space, key)
    if (space.size === 0) spaces.delete(name)
    return space
  }

  function limiter({ name, limit, windowSeconds }: LimiterOptions): Limiter {
    return {
      async hit(key) {
        const counters = table(name)
        const found = counters.get(key)
        const isOpen = found !== undefined && found.endsMs > now()
        const window = isOpen ? found : { hits: 0, endsMs: now() + windowSeconds * 1000 }
        window.hits += 1
        counters.set(key, window)
        return {
          allowed: window.hits <= limit,
          remaining: Math.max(0, limit - window.hits),
          resetSeconds: Math.ceil((window.endsMs - now()) / 1000),
        }
      },
    }
  }

  return {
    limiter,
    async once(key, ttlSeconds) {
      const purpose = key.slice(0, Math.max(0, key.indexOf(':')))
      const used = marks.get(purpose) ?? new Map<string, number>()
      marks.set(purpose, used)
      for (const [oldest, endsMs] of used) {
        if (endsMs > now()) break
        used.delete(oldest)
      }
      if (used.has(key)) return false
      if (used.size >= MARKS) throw full()
      used.set(key, now() + ttlSeconds * 1000)
      return true
    },
    async get(name, key) {
      return live(name)?.get(key)?.value
    },
    async put(name, key, value, ttlSeconds) {
      const bytes = Buffer.byteLength(value)
      if (bytes > VALUE_BYTES) throw new RangeError(`A value is at most ${VALUE_BYTES} bytes`)
      const space = live(name) ?? new Map<string, Kept>()
      drop(space, key)
      for (const oldest of space.keys()) {
        if (space.size < SPACE_KEYS) break
        drop(space, oldest)
      }
      space.set(key, { value, endsMs: now() + ttlSeconds * 1000 })
      totalBytes += bytes
      spaces.set(name, space)
      while (totalBytes > TOTAL_BYTES && spaces.size > 1) spaces.pop()
    },
    async delete(name, key) {
      const space = live(name)
      return space !== undefined && drop(space, key)
    },
    async list(name) {
      return [...(live(name)?.keys() ?? [])]
    },
    async close() {
      tables.clear()
      marks.clear()
      spaces.clear()
    },
  }
}

/** Soon: a table that was filled in a flood empties as fast. */
function full(): Denied {
  return new Denied('store.unavailable', { headers: { 'retry-after': '5' } })
}
