// optional: redis (@redis/client, rate-limiter-flexible)
import { createHash, randomUUID } from 'node:crypto'
import { RateLimiterRedis, RateLimiterRes } from 'rate-limiter-flexible'
import { z } from 'zod'
import { type Clock, systemClock } from '../clock.ts'
import type { Logger } from '../log.ts'
import { Problems } from '../problems.ts'
import { connectRedis, type RedisConnection, startFault } from './redis-connection.ts'
import { redisEvents } from './redis-events.ts'
import {
  type Limiter,
  type LimiterOptions,
  type Revoked,
  SPACE_KEYS,
  type Store,
  VALUE_BYTES,
} from './store.ts'

/** Of every key. Another version of the layout gets another prefix. */
const PREFIX = 'gatehouse:v1:'
/** How often revocations are read, ms, and how long Redis may take to send them. */
const REVOKED_INTERVAL_MS = 10_000
const REVOKED_TIMEOUT_MS = 5000
/** Entries of each list of revocations. More are an error, not a list that was cut. */
const MAX_REVOKED = 100_000

export interface RedisStoreOptions {
  /** `redis://` or `rediss://`, with user, password and number of the database. */
  readonly url: string
  readonly logger: Logger
  /** For the interval at which revocations are read. */
  readonly clock?: Clock
}

/**
 * Threat:  Several processes forget or forgive what one of them has seen: a confirmation is used
 *          once in each, a limit holds in each by itself, a revoked caller is let in by some.
 * Rule:    counts, marks, values and revocations are in one Redis. Each step is one command or one
 *          script, so it is atomic, and every key that is written expires. What Redis does not
 *          confirm in 500 ms is refused. Revocations are read at start and every 10 s, so that no
 *          request waits for them. While Redis is away, or a list has more entries than are kept,
 *          those read last stay in force, which readiness and metrics show; a process that never
 *          read them does not start. They are never written from here.
 * Config:  `REDIS_URL`
 * Refuses: 503 `store.unavailable`
 * Source:  OWASP ASVS 5.0 8.3.2, 16.5.2, 16.5.3
 *
 * It trusts Redis and whoever may write there: they can forget marks and change values. It does not
 * notice a Redis that lost its memory.
 *
 * @throws {Problems} when Redis refuses the user, the password or a command that is needed
 * @throws {StoreUnreachable} when nothing answers within 5 s
 */
export async function redisStore(options: RedisStoreOptions): Promise<Store> {
  const { url, logger, clock = systemClock } = options
  const redis = await connectRedis(url, logger)
  const store = storeOn(redis)
  const events = await redisEvents(url, `${PREFIX}events`, redis, logger).catch(
    async (error: unknown) => {
      await redis.close()
      throw error
    },
  )
  const revoked = { jti: new Set<string>(), subjects: new Set<string>() }
  const readAtMs = { jti: 0, subjects: 0 }
  let cancel = (): void => undefined
  let closed = false

  async function readList(kind: keyof Revoked): Promise<void> {
    const askedAtMs = clock.now()
    revoked[kind] = await revokedIn(redis, kind)
    readAtMs[kind] = askedAtMs
  }

  /** Each list by itself: when one has too many entries, the other one still counts. */
  async function readRevoked(): Promise<void> {
    await Promise.all([readList('jti'), readList('subjects')])
  }

  function schedule(): void {
    cancel = clock.after(REVOKED_INTERVAL_MS, async () => {
      await readRevoked().catch((error: unknown) => {
        logger.error('Revocations could not be read: those read last stay in force', { error })
      })
      if (!closed) schedule()
    })
  }

  try {
    await rehearse(store)
    await readRevoked()
  } catch (error) {
    events.close()
    await redis.close()
    throw error instanceof Problems ? error : startFault(error)
  }
  schedule()
  return {
    ...store,
    shared: {
      reachable: () => redis.reachable() && events.reachable(),
      events,
      revoked: () => revoked,
      revokedAgeSeconds: () => (clock.now() - Math.min(readAtMs.jti, readAtMs.subjects)) / 1000,
    },
    async close() {
      closed = true
      cancel()
      events.close()
      await redis.close()
    },
  }
}

/**
 * The layout: `limit:<name>:<key>` and `once:<key>`; `value:<space>:<key>`, and `keys:<space>`, a
 * sorted set of the keys of a space, oldest first. A space is named by its digest, a limiter
 * percent-encoded, so that no two names run together.
 */
function storeOn({ ask, close }: RedisConnection): Store {
  const run = (script: string, key: string, words: string[]): Promise<unknown> =>
    ask((client) => client.eval(script, { keys: [key], arguments: words }))

  function limiter({ name, limit, windowSeconds }: LimiterOptions): Limiter {
    const counter = new RateLimiterRedis({
      storeClient: {
        eval: (script: string, of: { readonly keys: string[]; readonly arguments: string[] }) =>
          ask((client) => client.eval(script, { ...of })),
      },
      useRedisPackage: true,
      keyPrefix: `${PREFIX}limit:${encodeURIComponent(name)}`,
      points: limit,
      duration: windowSeconds,
    })
    return {
      async hit(key) {
        const counted = await counter.consume(key).catch((over: unknown) => {
          if (over instanceof RateLimiterRes) return over
          throw over
        })
        return {
          allowed: counted.consumedPoints <= limit,
          remaining: counted.remainingPoints,
          resetSeconds: Math.ceil(counted.msBeforeNext / 1000),
        }
      },
    }
  }

  return {
    limiter,
    async once(key, ttlSeconds) {
      const expiration = { type: 'PX' as const, value: milliseconds(ttlSeconds) }
      const set = await ask((client) =>
        client.set(`${PREFIX}once:${key}`, '1', { condition: 'NX', expiration }),
      )
      return set === 'OK'
    },
    async get(space, key) {
      return (await ask((client) => client.get(valuesOf(space) + key))) ?? undefined
    },
    async put(space, key, value, ttlSeconds) {
      if (Buffer.byteLength(value) > VALUE_BYTES) {
        throw new RangeError(`A value is at most ${VALUE_BYTES} bytes`)
      }
      const ttlMs = String(milliseconds(ttlSeconds))
      await run(PUT, keysOf(space), [valuesOf(space), key, value, ttlMs, String(SPACE_KEYS)])
    },
    async delete(space, key) {
      return (await run(DELETE, keysOf(space), [valuesOf(space), key])) === 1
    },
    async list(space) {
      return z.array(z.string()).parse(await run(LIST, keysOf(space), [valuesOf(space)]))
    },
    close,
  }
}

const PRUNE = `
for _, key in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  if redis.call('EXISTS', ARGV[1] .. key) == 0 then redis.call('ZREM', KEYS[1], key) end
end`

/**
 * The value is first: a Redis that is full refuses the first thing that a script writes, and only that.
 * The set of keys lives as long as the value that lives longest.
 */
const PUT = `
local values, key, value, ttl, most = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
redis.call('SET', values .. key, value, 'PX', ttl)
${PRUNE}
redis.call('ZREM', KEYS[1], key)
while redis.call('ZCARD', KEYS[1]) >= most do
  redis.call('DEL', values .. redis.call('ZPOPMIN', KEYS[1])[1])
end
local newest = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')[2]
redis.call('ZADD', KEYS[1], tonumber(newest or 0) + 1, key)
if redis.call('PTTL', KEYS[1]) < ttl then redis.call('PEXPIRE', KEYS[1], ttl) end`

const DELETE = `
redis.call('ZREM', KEYS[1], ARGV[2])
return redis.call('DEL', ARGV[1] .. ARGV[2])`

const LIST = `${PRUNE}
return redis.call('ZRANGE', KEYS[1], 0, -1)`

function keysOf(space: string): string {
  return `${PREFIX}keys:${digestOf(space)}`
}

/** What the key of a value begins with. */
function valuesOf(space: string): string {
  return `${PREFIX}value:${digestOf(space)}:`
}

function digestOf(space: string): string {
  return createHash('sha256').update(space).digest('base64url')
}

function milliseconds(seconds: number): number {
  return Math.max(1, Math.ceil(seconds * 1000))
}

/** Uses everything once, so that a user of Redis without the rights shows at start. */
async function rehearse(store: Store): Promise<void> {
  const name = `start:${randomUUID()}`
  await store.limiter({ name: 'start', limit: 1, windowSeconds: 1 }).hit(name)
  await store.once(name, 1)
  await store.put(name, 'key', 'value', 1)
  await store.get(name, 'key')
  await store.list(name)
  await store.delete(name, 'key')
}

/** @throws {Problems} when there are more than can be kept: a part would let the others in. */
async function revokedIn({ ask }: RedisConnection, kind: keyof Revoked): Promise<Set<string>> {
  const key = `${PREFIX}deny:${kind}`
  const after = `(${Date.now() / 1000}`
  const page = { BY: 'SCORE' as const, LIMIT: { offset: 0, count: MAX_REVOKED + 1 } }
  const found = await ask((client) => client.zRange(key, after, '+inf', page), REVOKED_TIMEOUT_MS)
  if (found.length <= MAX_REVOKED) return new Set(found)
  const message = `holds more than ${MAX_REVOKED} entries in ${key}`
  throw new Problems([{ field: 'REDIS_URL', message }])
}
