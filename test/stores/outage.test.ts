import { hash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { assemble } from '../../src/assemble.ts'
import type { Presented } from '../../src/auth/strategy.ts'
import { defineTool } from '../../src/define.ts'
import { createLogger } from '../../src/log.ts'
import { type LimitsPolicy, loadPolicies, type Policies } from '../../src/policy.ts'
import { prompts } from '../../src/prompts/index.ts'
import { resources } from '../../src/resources/index.ts'
import { redisStore } from '../../src/stores/redis.ts'
import { tools } from '../../src/tools/index.ts'
import { testClock } from '../clock.ts'
import { type Endpoint, startEndpoint } from '../mcp/endpoint.ts'
import { type Answer, call, open, request, send } from '../mcp/wire.ts'
import { describeRedis, type Redis, startRedis } from '../redis.ts'
import { spawnServer, startServer, stopServers } from '../server.ts'

const CAN_ASK = {
  'io.modelcontextprotocol/clientCapabilities': { elicitation: { form: {} } },
}
const YES = { confirm: { action: 'accept', content: { confirm: true } } }

const remember = defineTool({
  name: 'remember',
  title: 'Remember',
  description: 'Asks, then keeps a text.',
  annotations: {},
  input: z.strictObject({}),
  output: z.strictObject({ kept: z.boolean() }),
  longRunning: false,
  async run(_input, { confirm, store }) {
    const kept = await confirm('Keep it?')
    if (kept) await store.put('text', 'secret text', { ttlSeconds: 60 })
    return { kept }
  },
})

let redis: Redis
const clock = testClock()

/** The product on a real Redis, with this answer to its outage. */
async function startOn(
  onStoreFailure: LimitsPolicy['onStoreFailure'],
  requestsPerMinute = 100_000,
): Promise<Endpoint> {
  return startEndpoint({
    store: await redisStore({ url: redis.url, logger: createLogger('silent'), clock }),
    catalog: { tools: [remember] },
    policies: (policies: Policies): Policies => ({
      ...policies,
      limits: {
        ...policies.limits,
        onStoreFailure,
        principal: { ...policies.limits.principal, requestsPerMinute },
      },
    }),
  })
}

const echo = (endpoint: Endpoint): Promise<Answer> =>
  send(endpoint, call('modern', 'echo', { text: 'hello' }))

/** Calls from several clients at once, one after the other each, until `end` has run. */
async function underLoad(
  endpoint: Endpoint,
  end: () => Promise<void>,
): Promise<{ readonly statuses: ReadonlySet<number>; readonly slowestMs: number }> {
  const statuses = new Set<number>()
  let slowestMs = 0
  let ended = false
  const clients = Array.from({ length: 8 }, async () => {
    while (!ended) {
      const startedAt = performance.now()
      statuses.add((await echo(endpoint)).status)
      slowestMs = Math.max(slowestMs, performance.now() - startedAt)
    }
  })
  await end()
  ended = true
  await Promise.all(clients)
  return { statuses, slowestMs }
}

/** That of the first caller, as a strategy gets it. */
const credentialOf = (endpoint: Endpoint): Presented => ({
  scheme: 'bearer',
  token: endpoint.key(),
  digest: hash('sha256', endpoint.key()),
  address: '127.0.0.1',
  certificate: undefined,
  method: 'POST',
  proofs: [],
})

async function restart(endpoint: Endpoint): Promise<void> {
  await redis.start()
  await expect.poll(() => endpoint.store.shared?.reachable(), { timeout: 5000 }).toBe(true)
}

describeRedis('an outage of the shared store', () => {
  beforeEach(async () => {
    redis = await startRedis()
  })
  afterEach(async () => {
    await stopServers()
    await redis[Symbol.asyncDispose]()
  })

  describe('threat: Redis dies under load, and nobody is served, or nothing is limited', () => {
    it('insurance: serves everybody, and limits by a quarter in memory', async () => {
      await using endpoint = await startOn('insurance', 40)
      for (let count = 0; count < 5; count += 1) expect((await echo(endpoint)).status).toBe(200)
      await redis.stop()
      const statuses: number[] = []
      for (let count = 0; count < 12; count += 1) statuses.push((await echo(endpoint)).status)
      expect(statuses.filter((status) => status === 200)).toHaveLength(10)
      expect(statuses.slice(-2)).toEqual([429, 429])

      await restart(endpoint)
      expect((await echo(endpoint)).status).toBe(200)
    })

    it('insurance: loses no call while Redis is killed and comes back', async () => {
      await using endpoint = await startOn('insurance')
      const { statuses, slowestMs } = await underLoad(endpoint, async () => {
        await sleep(200)
        await redis.stop()
        await sleep(300)
        await restart(endpoint)
      })
      expect([...statuses]).toEqual([200])
      expect(slowestMs).toBeLessThan(1500)
    })

    it('insurance: no call waits for a silent Redis longer than once', async () => {
      await using endpoint = await startOn('insurance')
      const { statuses, slowestMs } = await underLoad(endpoint, async () => {
        await sleep(200)
        redis.pause()
        await sleep(1500)
        redis.resume()
      })
      expect([...statuses]).toEqual([200])
      expect(slowestMs).toBeLessThan(1500)
    })

    it('refuse: answers 503 with Retry-After meanwhile, and serves again by itself', async () => {
      await using endpoint = await startOn('refuse')
      const { statuses, slowestMs } = await underLoad(endpoint, async () => {
        await sleep(200)
        await redis.stop()
        await sleep(300)
        const { status, headers, json, text } = await echo(endpoint)
        expect(status).toBe(503)
        expect(headers.get('retry-after')).toBe('5')
        expect(json.error).toEqual({ code: -32603, message: 'Temporarily unavailable' })
        expect(text).not.toMatch(/redis|127\.0\.0\.1:/i)
        await restart(endpoint)
      })
      expect([...statuses].sort()).toEqual([200, 503])
      expect(slowestMs).toBeLessThan(1500)
      expect((await echo(endpoint)).status).toBe(200)
      expect(endpoint.audited).toContainEqual(
        expect.objectContaining({ event: 'request', reason: 'store.unavailable' }),
      )
      expect(endpoint.written()).not.toContain('answer.bug')
    })
  })

  describe('threat: what cannot be remembered is done twice, or an outage tells what it must not', () => {
    it('neither runs a confirmed call nor gives up its confirmation', async () => {
      await using endpoint = await startOn('insurance')
      const message = call('modern', 'remember', {}, CAN_ASK)
      const asked = await send(endpoint, message)
      const { requestState } = asked.json.result
      const confirmed = {
        ...message,
        params: { ...message.params, requestState, inputResponses: YES },
      }
      await redis.stop()
      const { status, json } = await send(endpoint, confirmed)
      expect(status).toBe(200)
      expect(json.result).toMatchObject({
        isError: true,
        content: [{ text: expect.stringMatching(/^The server cannot do this now; call again \(/) }],
      })
      expect(endpoint.outcomes().map(({ outcome }) => outcome)).toEqual(['asked', 'failed'])

      await restart(endpoint)
      const { json: done } = await send(endpoint, confirmed)
      expect(done.result.structuredContent).toEqual({ kept: true })
      const { json: twice } = await send(endpoint, confirmed)
      expect(twice.error).toMatchObject({ code: -32602 })
    })

    it.each([
      [
        'a tool that stores',
        call('modern', 'process_documents', { documents: [{ name: 'a', text: 'b' }] }),
      ],
      [
        'a resource',
        request('modern', 'resources/read', { uri: 'report://aaaaaaaaaaaaaaaaaaaaaa' }),
      ],
      ['a list', request('modern', 'resources/list')],
    ])('answers %s in fixed words', async (_name, message) => {
      await using endpoint = await startOn('insurance')
      await redis.stop()
      const { json, text } = await send(endpoint, message)
      const said = json.error?.message ?? json.result.content[0].text
      expect(said).toMatch(/^(Internal error|The server cannot do this now; call again \(.*\))$/)
      expect(text).not.toMatch(/redis|unavailable|127\.0\.0\.1/i)
      expect(endpoint.written()).not.toMatch(/127\.0\.0\.1:\d+"/)
    })
  })

  describe('threat: a caller is revoked in Redis, and goes on', () => {
    const revoke = (entry: string, list: 'jti' | 'subjects' = 'subjects'): Promise<string> =>
      redis.cli('ZADD', `gatehouse:v1:deny:${list}`, '+inf', entry)

    it('refuses the next request, ends open streams, and keeps to it after a reload', async () => {
      await using endpoint = await startOn('insurance')
      const stream = await open(
        endpoint,
        request('modern', 'subscriptions/listen', { notifications: { toolsListChanged: true } }),
        { subject: 'ann' },
      )
      expect(stream.status).toBe(200)
      const ended = stream.text()

      await revoke('gatehouse ann')
      clock.advance(10_000)
      await expect.poll(() => endpoint.store.shared?.revoked().subjects.size).toBe(1)
      expect((await echo(endpoint)).status).toBe(401)
      expect((await send(endpoint, call('modern', 'whoami'), { subject: 'bob' })).status).toBe(200)
      await endpoint.lasting.holds.check()
      await ended

      await revoke(`gatehouse ${endpoint.key('bob').slice(5, 17)}`, 'jti')
      clock.advance(10_000)
      await expect.poll(() => endpoint.store.shared?.revoked().jti.size).toBe(1)
      expect((await send(endpoint, call('modern', 'whoami'), { subject: 'bob' })).status).toBe(401)
      expect((await send(endpoint, call('modern', 'whoami'), { subject: 'caller-1' })).status).toBe(
        200,
      )

      await redis.stop()
      expect((await echo(endpoint)).status).toBe(401)
      const reloaded = assemble(
        { ...endpoint.lasting, catalog: { tools, resources, prompts } },
        loadPolicies('policies', 'development'),
      )
      await expect(
        reloaded.authenticator.verify(credentialOf(endpoint), Date.now()),
      ).rejects.toMatchObject({ reason: 'authenticate.rejected', cause: { fault: 'denied' } })
      reloaded.close()
    })
  })

  describe('contract: processes that share a Redis', () => {
    it('count together, and say how Redis is without being unready', async () => {
      const env = { REDIS_URL: redis.url }
      const policies = [
        [
          'limits.yaml',
          'principal: { requestsPerMinute: 1200',
          'principal: { requestsPerMinute: 8',
        ],
      ] as const
      const [one, other] = await Promise.all([
        startServer({ env, policies }),
        startServer({ env, policies }),
      ])
      const statuses: number[] = []
      for (let count = 0; count < 5; count += 1) {
        for (const server of [one, other]) {
          statuses.push((await server.call('echo', { text: 'a' })).status)
        }
      }
      expect(statuses).toEqual([...Array.from({ length: 8 }, () => 200), 429, 429])

      const ready = async (): Promise<unknown> => {
        const response = await fetch(`${one.adminUrl}/readyz`)
        return [response.status, z.object({ store: z.string() }).parse(await response.json()).store]
      }
      expect(await ready()).toEqual([200, 'ok'])
      await redis.stop()
      await expect.poll(ready).toEqual([200, 'unreachable'])
      expect((await one.call('echo', { text: 'a' })).status).toBe(200)
      await redis.start()
      await expect.poll(ready, { timeout: 5000 }).toEqual([200, 'ok'])
      expect((await one.call('echo', { text: 'a' })).status).toBe(200)
      expect(one.stderr()).toContain('Redis is away or refuses')
      expect(one.stderr()).toContain('Redis is back')
      expect(one.stderr() + one.stdout()).not.toContain(redis.url)
      expect(await one.stop()).toBe(0)
    })

    it('end with Redis away, in time', async () => {
      const server = await startServer({ env: { REDIS_URL: redis.url } })
      redis.pause()
      expect(await server.stop()).toBe(0)
    })

    it('do not start without it, and say why', async () => {
      await redis.cli('CONFIG', 'SET', 'requirepass', 'other')
      const wrong = spawnServer({ env: { REDIS_URL: redis.url.replace('//', '//:canary@') } })
      expect(await wrong.exited).toBe(78)
      expect(wrong.stderr()).toContain('REDIS_URL: has a user or password that Redis refuses\n')
      expect(wrong.stderr()).not.toContain('canary')

      await redis.stop()
      const alone = spawnServer({ env: { REDIS_URL: redis.url } })
      expect(await alone.exited).toBe(69)
      expect(alone.stderr()).toMatch(/Gatehouse cannot start without its store:\n {2}REDIS_URL: /)
    })
  })
})
