import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { getCACertificates, setDefaultCACertificates } from 'node:tls'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { Denied } from '../../src/errors.ts'
import { createLogger } from '../../src/log.ts'
import { Problems } from '../../src/problems.ts'
import { redisStore } from '../../src/stores/redis.ts'
import { type Store, StoreUnreachable } from '../../src/stores/store.ts'
import { type TestClock, testClock } from '../clock.ts'
import { describeRedis, type Redis, startRedis } from '../redis.ts'
import { describeStore } from './contract.ts'

const GUIDE = readFileSync(join(import.meta.dirname, '../../docs/shared-store.md'), 'utf8')
const logger = createLogger('silent')
const opened: Store[] = []
let redis: Redis

async function open(url = redis.url, clock?: TestClock): Promise<Store> {
  const store = await redisStore({ url, logger, ...(clock === undefined ? {} : { clock }) })
  opened.push(store)
  return store
}

/** Brings the end of every key closer. */
const ADVANCE = `
for _, key in ipairs(redis.call('KEYS', '*')) do
  local left = redis.call('PTTL', key) - ARGV[1]
  if left > 0 then redis.call('PEXPIRE', key, left) else redis.call('DEL', key) end
end`

const limited = (store: Store, limit = 1) =>
  store.limiter({ name: 'test', limit, windowSeconds: 60 })

/** Everything that a store does, each with names of its own. */
const OPERATIONS: readonly [string, (store: Store) => Promise<unknown>][] = [
  ['counting', (store) => limited(store).hit('a')],
  ['marking', (store) => store.once('a', 60)],
  ['keeping', (store) => store.put('space', 'key', 'value', 60)],
  ['reading', (store) => store.get('space', 'key')],
  ['listing', (store) => store.list('space')],
  ['deleting', (store) => store.delete('space', 'key')],
]

/** @returns what it took, ms */
async function refused(operation: Promise<unknown>): Promise<number> {
  const startedAt = performance.now()
  const error = await operation.then(() => undefined).catch((thrown: unknown) => thrown)
  expect(error).toBeInstanceOf(Denied)
  expect(error).toMatchObject({ reason: 'store.unavailable', headers: { 'retry-after': '5' } })
  return performance.now() - startedAt
}

beforeEach(() => redis?.flush())
afterEach(async () => {
  await Promise.all(opened.splice(0).map((store) => store.close()))
})

describeRedis('a store in Redis', () => {
  beforeAll(async () => {
    redis = await startRedis()
  })
  afterAll(() => redis[Symbol.asyncDispose]())

  describeStore('Redis', async () => ({
    store: await open(),
    exactMs: 900,
    async advance(ms) {
      await redis.cli('EVAL', ADVANCE, '0', String(ms))
    },
  }))

  describe('threat: several processes forgive what one has seen', () => {
    it('counts the hits of all of them, at the same time as well', async () => {
      const stores = await Promise.all([open(), open(), open(), open()])
      const hits = await Promise.all(
        Array.from({ length: 40 }, (_, index) => stores[index % 4]).map(
          async (store) => store && limited(store, 10).hit('a'),
        ),
      )
      expect(hits.filter((budget) => budget?.allowed)).toHaveLength(10)
    })

    it('lets one of them use a mark', async () => {
      const stores = await Promise.all([open(), open(), open(), open()])
      const answers = await Promise.all(stores.map((store) => store.once('a', 60)))
      expect(answers.filter(Boolean)).toHaveLength(1)
    })

    it('shows the values of one to the others', async () => {
      const [one, other] = [await open(), await open()]
      await one.put('space', 'key', 'value', 60)
      expect(await other.get('space', 'key')).toBe('value')
      expect(await other.delete('space', 'key')).toBe(true)
      expect(await one.list('space')).toEqual([])
    })

    it('drops the oldest key of a full space when many are put at the same time', async () => {
      const [one, other] = [await open(), await open()]
      await Promise.all(
        Array.from({ length: 150 }, (_, index) =>
          (index % 2 === 0 ? one : other).put('space', `key ${index}`, 'value', 60),
        ),
      )
      expect(await one.list('space')).toHaveLength(100)
      expect(await redis.cli('DBSIZE')).toMatch(/10[0-9]$/)
    })
  })

  describe('threat: what is left behind fills Redis, or is taken for something else', () => {
    it('gives every key the prefix and an end', async () => {
      const store = await open()
      for (const [, run] of OPERATIONS.slice(0, 5)) await run(store)
      const keys = (await redis.cli('--scan')).split('\n')
      expect(keys.length).toBeGreaterThanOrEqual(4)
      for (const key of keys) {
        expect(key).toMatch(/^gatehouse:v1:(?:limit|once|value|keys):/)
        expect(Number(await redis.cli('TTL', key)), key).toBeGreaterThanOrEqual(0)
        expect(Number(await redis.cli('TTL', key)), key).toBeLessThanOrEqual(60)
      }
    })

    it('keeps the keys of a space as long as the value that lives longest', async () => {
      const store = await open()
      await store.put('space', 'long', 'value', 3600)
      await store.put('space', 'short', 'value', 1)
      await redis.cli('EVAL', ADVANCE, '0', '5000')
      expect(await store.list('space')).toEqual(['long'])
    })

    it('never walks through the keys of others', async () => {
      const store = await open()
      await redis.cli('CONFIG', 'RESETSTAT')
      for (const [, run] of OPERATIONS) await run(store)
      expect(await redis.cli('INFO', 'commandstats')).not.toMatch(/cmdstat_(keys|scan)/)
    })
  })

  describe('threat: an outage of Redis opens what it guards, or holds everybody up', () => {
    let own: Redis
    beforeEach(async () => {
      own = await startRedis()
    })
    afterEach(() => own[Symbol.asyncDispose]())

    it.each(OPERATIONS)(
      'refuses %s while it is away, at once, and goes on when it is back',
      async (...row) => {
        const [, run] = row
        const store = await open(own.url)
        await run(store)
        await own.stop()
        expect(await refused(run(store))).toBeLessThan(400)
        expect(await refused(run(store))).toBeLessThan(100)
        expect(store.shared?.reachable()).toBe(false)

        await own.start()
        await expect.poll(() => store.shared?.reachable(), { timeout: 5000 }).toBe(true)
        await run(store)
      },
    )

    it.each(OPERATIONS)(
      'refuses %s after 500 ms when it is silent, and everything else at once',
      async (...row) => {
        const [, run] = row
        const store = await open(own.url)
        own.pause()
        const waited = await refused(run(store))
        expect(waited).toBeGreaterThan(450)
        expect(waited).toBeLessThan(1500)
        const others = await Promise.all(OPERATIONS.map(([, other]) => refused(other(store))))
        expect(Math.max(...others)).toBeLessThan(100)

        own.resume()
        await expect.poll(() => store.shared?.reachable(), { timeout: 5000 }).toBe(true)
        await run(store)
      },
    )

    it('gives up a connection that is silent for 3 s, and comes back when Redis does', async () => {
      const store = await open(own.url)
      own.pause()
      await refused(store.once('a', 60))
      await sleep(4500)
      own.resume()
      await expect.poll(() => store.shared?.reachable(), { timeout: 8000 }).toBe(true)
      expect(await store.once('b', 60)).toBe(true)
      expect(await own.cli('INFO', 'stats')).toMatch(/total_connections_received:[3-9]/)
    })

    it.each([
      ['is full', ['CONFIG', 'SET', 'maxmemory', '1'], ['CONFIG', 'SET', 'maxmemory', '0']],
      ['became a replica', ['REPLICAOF', '127.0.0.1', '9'], ['REPLICAOF', 'NO', 'ONE']],
    ])('refuses what a Redis that %s does not confirm', async (_name, breaks, mends) => {
      const store = await open(own.url)
      await own.cli(...breaks)
      await refused(store.once('a', 60))
      await refused(store.put('space', 'key', 'value', 60))
      await refused(limited(store).hit('a'))
      expect(store.shared?.reachable()).toBe(false)
      await own.cli(...mends)
      expect(await store.once('a', 60)).toBe(true)
      expect(store.shared?.reachable()).toBe(true)
    })

    it('goes on after a late answer that was an error', async () => {
      const store = await open(own.url)
      await own.cli('CONFIG', 'SET', 'maxmemory', '1')
      own.pause()
      await refused(store.once('a', 60))
      own.resume()
      await own.cli('CONFIG', 'SET', 'maxmemory', '0')
      expect(await store.once('a', 60)).toBe(true)
    })

    it('ends in time while it is silent', async () => {
      const store = await redisStore({ url: own.url, logger })
      own.pause()
      const waiting = refused(store.once('a', 60))
      const startedAt = performance.now()
      await store.close()
      expect(performance.now() - startedAt).toBeLessThan(1500)
      await waiting
    })

    it('ends while it is away, and refuses what comes later', async () => {
      const store = await redisStore({ url: own.url, logger })
      await own.stop()
      await refused(store.once('a', 60))
      await store.close()
      await refused(store.once('a', 60))
    })
  })

  describe('threat: a start that looks good, and nothing is shared', () => {
    /** What docs/shared-store.md grants. */
    const RIGHTS = / (resetkeys .*)$/m.exec(GUIDE)?.[1]?.split(' ') ?? []
    const setUser = (...rules: string[]): Promise<string> =>
      redis.cli('ACL', 'SETUSER', 'gatehouse', 'reset', 'on', '>p@ss:word', ...rules)
    const withUser = (user: string): string => redis.url.replace('//', `//${user}@`)
    afterEach(() => redis.cli('ACL', 'DELUSER', 'gatehouse'))

    it('works with a user who may do no more than it needs', async () => {
      expect(RIGHTS.length).toBeGreaterThan(10)
      expect(await setUser(...RIGHTS)).toBe('OK')
      const store = await open(withUser('gatehouse:p%40ss%3Aword'))
      for (const [, run] of OPERATIONS) await run(store)
    })

    it.each([
      [
        'another password',
        RIGHTS,
        'gatehouse:canary',
        /^REDIS_URL: .* password that Redis refuses$/,
      ],
      ['an unknown user', RIGHTS, 'canary:canary', /^REDIS_URL: .* password that Redis refuses$/],
      [
        'a user without rights',
        ['-@all'],
        'gatehouse:p%40ss%3Aword',
        /^REDIS_URL: .* (rights of the user|the rights that are needed)$/,
      ],
      [
        'a user of other keys',
        [...RIGHTS, 'resetkeys', '~canary:*'],
        'gatehouse:p%40ss%3Aword',
        /^REDIS_URL: .* (rights of the user|the rights that are needed)$/,
      ],
      [
        'a user who may not write',
        [...RIGHTS, '-set'],
        'gatehouse:p%40ss%3Aword',
        /^REDIS_URL: .* (rights of the user|the rights that are needed)$/,
      ],
    ])('refuses to start with %s', async (_name, rules, user, words) => {
      await setUser(...rules)
      const failure = await open(withUser(user)).catch((error: unknown) => error)
      expect(failure).toBeInstanceOf(Problems)
      expect(failure).toMatchObject({ message: expect.stringMatching(words) })
      expect(failure).toMatchObject({ message: expect.not.stringMatching(/canary|p@ss|127/) })
    })

    it('refuses to start without the password that Redis asks for', async () => {
      await using guarded = await startRedis({ args: ['--requirepass', 'secret'] })
      await expect(open(guarded.url)).rejects.toThrow(/^REDIS_URL: has no user or password/)
      await open(guarded.url.replace('//', '//:secret@'))
    })

    it('refuses to start when nothing answers in 5 s', async () => {
      await using own = await startRedis()
      await own.stop()
      const startedAt = performance.now()
      const failure = await open(own.url).catch((error: unknown) => error)
      expect(performance.now() - startedAt).toBeLessThan(7000)
      expect(failure).toBeInstanceOf(StoreUnreachable)
      expect(failure).toMatchObject({
        message: expect.stringMatching(/^REDIS_URL: .*ECONNREFUSED/),
      })
    })

    it('waits for a Redis that comes a little later', async () => {
      await using own = await startRedis()
      await own.stop()
      const opening = open(own.url)
      await own.start()
      expect(await (await opening).once('a', 60)).toBe(true)
    })
  })

  describe('threat: somebody between this process and Redis', () => {
    const folder = join(import.meta.dirname, '../tls')
    const tls = (name: string) => ({
      cert: join(folder, `${name}.crt`),
      key: join(folder, `${name}.key`),
      ca: join(folder, 'ca.crt'),
    })
    const trusted = getCACertificates('default')
    afterEach(() => setDefaultCACertificates(trusted))

    it('speaks TLS with a Redis whose certificate is good', async () => {
      setDefaultCACertificates([readFileSync(join(folder, 'ca.crt'), 'utf8')])
      await using secure = await startRedis({ tls: tls('server') })
      expect(secure.url).toMatch(/^rediss:/)
      const store = await open(secure.url)
      expect(await store.once('a', 60)).toBe(true)
    })

    it.each([
      ['of an unknown authority', 'server', () => undefined],
      [
        'that signed itself',
        'stranger',
        () => setDefaultCACertificates([readFileSync(join(folder, 'ca.crt'), 'utf8')]),
      ],
    ])('does not start with a certificate %s', async (_name, certificate, trust) => {
      trust()
      await using secure = await startRedis({ tls: tls(certificate) })
      await expect(open(secure.url)).rejects.toThrow(/^REDIS_URL: .*(CERT|SIGNATURE|ISSUER)/)
    })

    it('does not start with a certificate of another host', async () => {
      setDefaultCACertificates([readFileSync(join(folder, 'ca.crt'), 'utf8')])
      await using secure = await startRedis({ tls: tls('server') })
      const named = secure.url.replace('127.0.0.1', 'localhost')
      await expect(open(named)).rejects.toThrow(/^REDIS_URL: .*ERR_TLS_CERT_ALTNAME_INVALID/)
    })
  })

  describe('threat: a revoked caller is let in by the processes that did not hear of it', () => {
    const SOON = String(Math.floor(Date.now() / 1000) + 3600)
    const revoke = (kind: 'jti' | 'subjects', ...entries: string[]): Promise<string> =>
      redis.cli('ZADD', `gatehouse:v1:deny:${kind}`, ...entries)
    const revoked = (store: Store) => ({
      jti: [...(store.shared?.revoked().jti ?? [])],
      subjects: [...(store.shared?.revoked().subjects ?? [])],
    })

    it('knows who is revoked when it starts', async () => {
      await revoke('jti', SOON, 'a', '+inf', '__proto__')
      await revoke('subjects', SOON, 'https://issuer.example.com bob')
      expect(revoked(await open())).toEqual({
        jti: ['a', '__proto__'],
        subjects: ['https://issuer.example.com bob'],
      })
    })

    it('hears of it within 10 s, and of what was taken back', async () => {
      const clock = testClock()
      const store = await open(redis.url, clock)
      expect(revoked(store)).toEqual({ jti: [], subjects: [] })
      await revoke('subjects', SOON, 'bob')
      clock.advance(9999)
      expect(revoked(store).subjects).toEqual([])
      clock.advance(1)
      await expect.poll(() => revoked(store).subjects).toEqual(['bob'])

      await redis.cli('ZREM', 'gatehouse:v1:deny:subjects', 'bob')
      await expect.poll(() => clock.pending()).toBe(1)
      clock.advance(10_000)
      await expect.poll(() => revoked(store).subjects).toEqual([])
    })

    it('takes what the guide says', async () => {
      const commands = /# a token, by its jti\n[^`]*/.exec(GUIDE)?.[0] ?? ''
      const here = commands.replaceAll(/^redis-cli/gm, `redis-cli -p ${redis.port}`)
      expect(execFileSync('sh', ['-ec', here], { encoding: 'utf8' })).toBe('1\n1\n1\n1\n1\n1\n0\n')
      expect(revoked(await open())).toEqual({
        jti: ['6f1c9a0e', 'https://auth.example.com 6f1c9a0e', 'gatehouse k3yid0123456'],
        subjects: ['https://auth.example.com alice'],
      })
    })

    it('forgets an entry whose time is over', async () => {
      const now = Math.floor(Date.now() / 1000)
      await revoke('jti', String(now - 1), 'over', String(now + 60), 'good')
      expect(revoked(await open()).jti).toEqual(['good'])
    })

    it('keeps what it knows while Redis is away, or holds something else', async () => {
      await using own = await startRedis()
      await own.cli('ZADD', 'gatehouse:v1:deny:jti', SOON, 'a')
      const clock = testClock()
      const store = await open(own.url, clock)
      await own.stop()
      clock.advance(10_000)
      await expect.poll(() => clock.pending()).toBe(1)
      expect(revoked(store).jti).toEqual(['a'])

      await own.start()
      await own.cli('SET', 'gatehouse:v1:deny:jti', 'text')
      await expect.poll(() => store.shared?.reachable(), { timeout: 5000 }).toBe(true)
      clock.advance(10_000)
      await expect.poll(() => clock.pending()).toBe(1)
      expect(revoked(store).jti).toEqual(['a'])

      await own.cli('DEL', 'gatehouse:v1:deny:jti')
      await own.cli('ZADD', 'gatehouse:v1:deny:jti', SOON, 'b')
      clock.advance(10_000)
      await expect.poll(() => revoked(store).jti).toEqual(['b'])
    })

    it('takes 100,000 entries, and does not start with one more', async () => {
      const fill = `for i = 1, ARGV[1] do redis.call('ZADD', KEYS[1], '+inf', i) end`
      await redis.cli('EVAL', fill, '1', 'gatehouse:v1:deny:jti', '100000')
      expect(revoked(await open()).jti).toHaveLength(100_000)
      await revoke('jti', SOON, 'one too many')
      await expect(open()).rejects.toThrow(/^REDIS_URL: holds more than 100000 entries/)
    })

    it('keeps a list that grows too long as it was, shows its age, and goes on with the other', async () => {
      const clock = testClock()
      const store = await open(redis.url, clock)
      const age = (): number => store.shared?.revokedAgeSeconds() ?? Number.NaN
      const tenSeconds = async (): Promise<void> => {
        clock.advance(10_000)
        await expect.poll(() => clock.pending()).toBe(1)
      }
      await revoke('jti', SOON, 'a')
      await tenSeconds()
      expect(age()).toBe(0)

      const fill = `for i = 1, ARGV[1] do redis.call('ZADD', KEYS[1], '+inf', i) end`
      await redis.cli('EVAL', fill, '1', 'gatehouse:v1:deny:jti', '100000')
      await revoke('subjects', SOON, 'bob')
      for (let round = 0; round < 3; round += 1) await tenSeconds()
      expect(revoked(store)).toEqual({ jti: ['a'], subjects: ['bob'] })
      expect(age()).toBe(30)

      await redis.cli('ZREMRANGEBYRANK', 'gatehouse:v1:deny:jti', '1', '-1')
      await tenSeconds()
      expect(revoked(store).jti).toHaveLength(1)
      expect(age()).toBe(0)
    })

    it('reads no more after it was closed', async () => {
      const clock = testClock()
      const store = await open(redis.url, clock)
      expect(clock.pending()).toBe(1)
      await store.close()
      expect(clock.pending()).toBe(0)
    })
  })
})
