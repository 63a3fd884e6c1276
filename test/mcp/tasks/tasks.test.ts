// optional: tasks
import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest'
import { CredentialFault } from '../../../src/auth/strategy.ts'
import { Denied } from '../../../src/errors.ts'
import { createLogger } from '../../../src/log.ts'
import type { Policies } from '../../../src/policy.ts'
import { authPolicy } from '../../../src/policy-schemas.ts'
import { memoryStore } from '../../../src/stores/memory.ts'
import { redisStore } from '../../../src/stores/redis.ts'
import type { Store } from '../../../src/stores/store.ts'
import { type TestClock, testClock } from '../../clock.ts'
import { type Issuer, jws, startIssuer } from '../../identity/issuer.ts'
import { describeRedis, type Redis, startRedis } from '../../redis.ts'
import { type Endpoint, type EndpointOptions, startEndpoint } from '../endpoint.ts'
import { call, open, request, type SendOptions, send } from '../wire.ts'
import {
  about,
  begin,
  bounds,
  CATALOG,
  FOLLOWS,
  gate,
  gates,
  LARGE,
  seen,
  started,
  until,
} from './client.ts'

const YES = { action: 'accept', content: { confirm: true } }
const NOT_FOUND = { jsonrpc: '2.0', id: 7, error: { code: -32602, message: 'Task not found' } }
const TEXT = (text: unknown, isError?: true) => ({
  result: { ...(isError && { isError }), content: [{ type: 'text', text }] },
})

afterEach(() => {
  vi.useRealTimers()
  for (const { resolve } of gates.values()) resolve()
  gates.clear()
})

/** A server with the tools of these tests, until the test ends. */
async function server(options: EndpointOptions = {}): Promise<Endpoint> {
  const endpoint = await startEndpoint({ catalog: CATALOG, ...options })
  onTestFinished(() => endpoint[Symbol.asyncDispose]())
  return endpoint
}

/** A store of the test, which lives as long as the test and not as long as a server. */
function lasting(store: Store = memoryStore()): Store {
  return { ...store, async close() {} }
}

/** Everything that a task id lets do. */
const WAYS = ['get', 'update', 'cancel'] as const

describe.each(WAYS)(
  'threat: a task of somebody else, tasks/%s reads, answers or ends it',
  (way) => {
    let issuer: Issuer
    let at: Endpoint
    beforeAll(async () => {
      issuer = await startIssuer()
      at = await startEndpoint({ catalog: CATALOG, policies: trusting })
    })
    afterAll(async () => {
      await at[Symbol.asyncDispose]()
      await issuer.down()
    })

    function trusting(shipped: Policies): Policies {
      const trusted = { issuer: issuer.url, audiences: ['test'], why: 'the issuer of the test' }
      const { issuers } = authPolicy('development').parse({ ...shipped.auth, issuers: [trusted] })
      return { ...shipped, auth: { ...shipped.auth, issuers } }
    }

    function token(claims: Readonly<Record<string, unknown>>): SendOptions {
      const { key } = issuer
      const iat = Math.floor(Date.now() / 1000)
      const more = { aud: 'test', scope: 'mcp:use', iat, exp: iat + 600, ...claims }
      const all = { iss: issuer.url, sub: 'ann', client_id: 'desktop', ...more }
      const text = jws(key, { alg: key.alg, kid: key.kid, typ: 'at+jwt' }, all)
      return { headers: { authorization: `Bearer ${text}` } }
    }

    it.each<readonly [string, () => SendOptions]>([
      ['another subject', () => token({ sub: 'bob' })],
      ['another client of the same subject', () => token({ client_id: 'web' })],
      ['the same subject of another issuer', () => ({ subject: 'ann' })],
    ])('knows nothing of it for %s', async (_name, other) => {
      const taskId = await started(at, 'waits', token({}))
      const { status, json } = await about(at, way, taskId, other())
      expect({ status, json }).toEqual({ status: 200, json: NOT_FOUND })
      expect((await about(at, 'get', taskId, token({}))).json.result.status).toBe('working')
      await about(at, 'cancel', taskId, token({}))
      await seen(at, taskId, 'cancelled', token({}))
    })

    it.each([
      ['one that was never given out', 'A'.repeat(22)],
      ['a short one', 'A'],
      ['constructor', 'constructor'],
      ['one of the other names of the store', 'x/../tasks'],
    ])('answers alike for an id that is %s', async (_name, taskId) => {
      expect((await about(at, way, taskId)).json).toEqual(NOT_FOUND)
      await until(() => at.audited.some((e) => e.event === 'request' && e.reason !== undefined))
      const refused = at.audited.findLast(({ event }) => event === 'request')
      expect(refused).toMatchObject({ reason: 'handler.task-not-found' })
    })

    it('answers alike for a part of a good id, and for one in another case', async () => {
      const taskId = await started(at, 'waits')
      const swapped = taskId.replace(/[a-z]/i, (letter) =>
        letter === letter.toLowerCase() ? letter.toUpperCase() : letter.toLowerCase(),
      )
      for (const near of [taskId.slice(0, -1), `${taskId}A`, swapped]) {
        expect((await about(at, way, near)).json).toEqual(NOT_FOUND)
      }
      await about(at, 'cancel', taskId)
    })

    it('refuses what is no id', async () => {
      const message = request('modern', `tasks/${way}`, { taskId: 'A'.repeat(65) }, FOLLOWS)
      const { json } = await send(at, message, { headers: { 'mcp-name': 'A'.repeat(65) } })
      expect(json.error.code).toBe(-32602)
    })
  },
)

describe('threat: a caller without rights any more, the result of a task is read', () => {
  it('knows nothing of the task for a caller who may no longer use its tool', async () => {
    const store = lasting()
    const before = await server({ store })
    const taskId = await started(before, 'answers')
    await seen(before, taskId, 'completed')
    const after = await server({ store, access: { scopes: ['jobs:run'] } })
    expect((await about(after, 'get', taskId)).json).toEqual(NOT_FOUND)
    const same = await server({ store })
    expect((await about(same, 'get', taskId)).json.result.status).toBe('completed')
  })

  it.each([
    ['revoked', 'The credential of this call was revoked'],
    ['expired', undefined],
  ] as const)('when its credential is %s', async (fault, text) => {
    const at = await server()
    const taskId = await started(at, 'waitsForGate')
    at.lasting.holds.use({
      async recheck() {
        throw new Denied('authenticate.rejected', { cause: new CredentialFault(fault) })
      },
      denies: () => false,
    })
    await at.lasting.holds.check()
    gate('').resolve()
    const task = await seen(at, taskId, 'completed')
    if (text === undefined) expect(task).toMatchObject(TEXT('done'))
    else expect(task).toMatchObject(TEXT(expect.stringContaining(text), true))
    expect(at.outcomes()).toMatchObject([{ outcome: text === undefined ? 'ok' : 'revoked' }])
  })
})

describe('threat: a flood of tasks, a caller fills memory or keeps a tool busy', () => {
  const policies = bounds({ ttlSeconds: 60, perPrincipal: 2 })

  it('begins no more than a caller may have, also at the same time', async () => {
    const store = memoryStore()
    /** Slow enough for all of them to be on their way at once. */
    async function list(space: string): Promise<readonly string[]> {
      const keys = await store.list(space)
      await new Promise((resolve) => setTimeout(resolve, 20))
      return keys
    }
    const at = await server({ policies, store: { ...store, list } })
    const all = await Promise.all(Array.from({ length: 8 }, () => begin(at, 'waits')))
    const results = all.map(({ json }) => json.result)
    expect(results.filter(({ resultType }) => resultType === 'task')).toHaveLength(2)
    const refused = results.filter(({ isError }) => isError)
    expect(refused).toHaveLength(6)
    expect(JSON.stringify(refused[0])).toContain('Too many tasks')
    // Somebody else has tasks of his own, and one that ends makes room.
    await started(at, 'waits', { subject: 'bob' })
    const { taskId } = results.find(({ resultType }) => resultType === 'task')
    await about(at, 'cancel', taskId)
    await seen(at, taskId, 'cancelled')
    await started(at, 'waits')
    await until(() => at.outcomes().filter(({ outcome }) => outcome === 'not-run').length === 6)
  })

  it('drops the oldest task that has ended, with its result, and none that runs', async () => {
    const store = memoryStore()
    const dropped: string[] = []
    const at = await server({
      policies,
      store: {
        ...store,
        async delete(space, key) {
          dropped.push(space)
          return store.delete(space, key)
        },
      },
    })
    const runs = await started(at, 'waits')
    const oldest = await started(at, 'answers')
    await seen(at, oldest, 'completed')
    const newest = await started(at, 'answers')
    await seen(at, newest, 'completed')
    expect((await about(at, 'get', oldest)).json).toEqual(NOT_FOUND)
    expect(dropped.some((space) => space.endsWith(oldest) && space.includes('result'))).toBe(true)
    expect((await about(at, 'get', runs)).json.result.status).toBe('working')
  })

  it('holds the slot of the tool until the task has ended', async () => {
    const at = await server({ access: { concurrentCallsPerPrincipal: 1 } })
    const taskId = await started(at, 'waits')
    const second = await begin(at, 'answers')
    expect(second.status).toBe(429)
    await about(at, 'cancel', taskId)
    await until(async () => (await begin(at, 'answers')).status === 200)
  })
})

describe('threat: a task without an end, it works for nobody', () => {
  it('ends at the deadline of its tool, also when it ignores its signal', async () => {
    const at = await server({ access: { timeoutSeconds: 0.2 } })
    const task = await seen(at, await started(at, 'ignores'), 'completed')
    expect(task).toMatchObject(TEXT(expect.stringContaining('did not finish within'), true))
    expect(at.outcomes()).toMatchObject([{ outcome: 'timed-out' }])
  })

  it('ends when its owner cancels it, and stays cancelled', async () => {
    const at = await server()
    const taskId = await started(at, 'waits')
    expect((await about(at, 'cancel', taskId)).json.result.resultType).toBe('complete')
    await seen(at, taskId, 'cancelled')
    expect((await about(at, 'cancel', taskId)).json.result.resultType).toBe('complete')
    expect((await about(at, 'get', taskId)).json.result.status).toBe('cancelled')
    expect(at.outcomes()).toMatchObject([{ outcome: 'cancelled' }])
  })

  it('cancels nothing that has ended', async () => {
    const at = await server()
    const taskId = await started(at, 'answers')
    await seen(at, taskId, 'completed')
    await about(at, 'cancel', taskId)
    expect((await about(at, 'get', taskId)).json.result).toMatchObject(TEXT('done'))
  })

  it('fails when its process was lost, and not while that process says it works', async () => {
    vi.useFakeTimers({ toFake: ['Date'] })
    const clock = testClock()
    const [store, begun] = [lasting(), Date.now()]
    const lost = await server({ store, clock })
    const other = await server({ store })
    const taskId = await started(lost, 'waits')
    vi.setSystemTime(begun + 50_000)
    clock.advance(10_000)
    await until(async () => (await about(lost, 'get', taskId)).json.result.status === 'working')
    vi.setSystemTime(begun + 100_000)
    expect((await about(other, 'get', taskId)).json.result.status).toBe('working')
    vi.setSystemTime(begun + 111_000)
    expect((await about(other, 'get', taskId)).json.result).toMatchObject({
      status: 'failed',
      statusMessage: 'The task was lost with its process',
      error: { code: -32603, message: 'Internal error' },
    })
  })

  it('forgets it when its time is over', async () => {
    vi.useFakeTimers({ toFake: ['Date', 'performance'] })
    const policies = bounds({ ttlSeconds: 60, perPrincipal: 2 })
    const at = await server({ policies, access: { timeoutSeconds: 10 } })
    const taskId = await started(at, 'answers')
    expect((await seen(at, taskId, 'completed')).ttlMs).toBe(70_000)
    vi.advanceTimersByTime(60_000)
    expect((await about(at, 'get', taskId)).json.result).toMatchObject(TEXT('done'))
    vi.advanceTimersByTime(11_000)
    expect((await about(at, 'get', taskId)).json).toEqual(NOT_FOUND)
  })
})

describe('threat: a task is lost or told twice, nobody can say what it did', () => {
  it('keeps the result for a client whose connections are gone', async () => {
    const at = await server()
    const taskId = await started(at, 'waitsForGate')
    at.server.closeAllConnections()
    gate('').resolve()
    expect(await seen(at, taskId, 'completed')).toMatchObject(TEXT('done'))
  })

  it('leaves one decision and one outcome, of one request', async () => {
    const at = await server()
    await seen(at, await started(at, 'answers'), 'completed')
    const records = at.audited.filter(({ event }) => event === 'decision' || event === 'outcome')
    expect(records).toMatchObject([
      { event: 'decision', allowed: true, name: 'job' },
      { event: 'outcome', outcome: 'ok', name: 'job' },
    ])
    const ids = new Set(records.map((event) => ('requestId' in event ? event.requestId : '')))
    expect(ids.size).toBe(1)
  })

  it('leaves one outcome when its client left before it had an id', async () => {
    const store = memoryStore()
    const reached = Promise.withResolvers<void>()
    const at = await server({
      store: {
        ...store,
        async put(...value) {
          reached.resolve()
          await gate('store').promise
          await store.put(...value)
        },
      },
    })
    const leaving = new AbortController()
    const message = call('modern', 'job', { way: 'answers' }, FOLLOWS)
    const answer = open(at, message, { signal: leaving.signal }).catch(() => 'left')
    await reached.promise
    leaving.abort()
    expect(await answer).toBe('left')
    await until(() => at.audited.some(({ event }) => event === 'request'))
    gate('store').resolve()
    await until(() => at.outcomes().length > 0)
    await at.drain(1)
    expect(at.outcomes()).toMatchObject([{ outcome: 'ok' }])
  })

  it('says that it ended with the server, and the store knows before it is closed', async () => {
    const store = lasting()
    let isClosed = false
    const at = await server({
      store: {
        ...store,
        async put(...value) {
          await new Promise((resolve) => setTimeout(resolve, 50))
          if (isClosed) throw new Error('The store is closed')
          await store.put(...value)
        },
        async close() {
          isClosed = true
        },
      },
    })
    const taskId = await started(at, 'waits')
    await at.drain(1)
    const next = await server({ store })
    const { result } = (await about(next, 'get', taskId)).json
    expect(result.status).toBe('completed')
    expect(result).toMatchObject(TEXT(expect.stringContaining('shutting down'), true))
  })

  it('tells nothing of why a tool broke', async () => {
    const at = await server()
    const task = await seen(at, await started(at, 'breaks'), 'failed')
    expect(task).toMatchObject({
      statusMessage: expect.stringMatching(/^The tool failed \(reference [0-9a-f-]{36}\)$/),
      error: { code: -32603, message: 'Internal error' },
    })
    expect(JSON.stringify(task)).not.toContain('CANARY')
  })

  it('goes on when the store loses its result: it is not found, and nothing breaks', async () => {
    const store = memoryStore()
    const at = await server({ store })
    const taskId = await started(at, 'answers')
    await seen(at, taskId, 'completed')
    await store.delete(`task-result.${taskId}`, '0')
    expect((await about(at, 'get', taskId)).json).toEqual(NOT_FOUND)
  })

  it('stays as it ended, whatever its tool does afterwards', async () => {
    const at = await server()
    const taskId = await started(at, 'asksWhenItHasEnded')
    await seen(at, taskId, 'completed')
    gate('late').resolve()
    await gate('refused').promise
    expect((await about(at, 'get', taskId)).json.result).toMatchObject(TEXT('done'))
  })
})

/** What holds in one process and in several. */
function contract(openStore: () => Promise<Store>): void {
  it('gives a result that is larger than one value of the store, byte for byte', async () => {
    const at = await server({ store: await openStore() })
    const task = await seen(at, await started(at, 'large'), 'completed')
    expect(task.result.content[0].text === LARGE).toBe(true)
  })

  it('asks while it runs, and goes on with the answer', async () => {
    const at = await server({ store: await openStore() })
    const taskId = await started(at, 'confirms')
    const { inputRequests } = await seen(at, taskId, 'input_required')
    const [name = ''] = Object.keys(inputRequests)
    expect(inputRequests[name]).toMatchObject({
      method: 'elicitation/create',
      params: { message: 'Go on?' },
    })
    await about(at, 'update', taskId, {}, { inputResponses: { unasked: YES } })
    expect((await about(at, 'get', taskId)).json.result.status).toBe('input_required')
    await about(at, 'update', taskId, {}, { inputResponses: { [name]: YES } })
    expect(await seen(at, taskId, 'completed')).toMatchObject(TEXT('agreed'))
  })

  it('asks two things at a time under two names, and waits for both answers', async () => {
    const at = await server({ store: await openStore() })
    const taskId = await started(at, 'confirmsTwice')
    let names: string[] = []
    await until(async () => {
      names = Object.keys((await about(at, 'get', taskId)).json.result.inputRequests ?? {})
      return names.length === 2
    })
    const [one = '', two = ''] = names
    await about(at, 'update', taskId, {}, { inputResponses: { [one]: YES } })
    await until(async () => {
      const { inputRequests } = (await about(at, 'get', taskId)).json.result
      return Object.keys(inputRequests).join() === two
    })
    await about(at, 'update', taskId, {}, { inputResponses: { [two]: { action: 'decline' } } })
    expect(await seen(at, taskId, 'completed')).toMatchObject(TEXT('true,false'))
  })

  it('is cancelled while it asks', async () => {
    const at = await server({ store: await openStore() })
    const taskId = await started(at, 'confirms')
    await seen(at, taskId, 'input_required')
    await about(at, 'cancel', taskId)
    const task = await seen(at, taskId, 'cancelled')
    expect(task).not.toHaveProperty('inputRequests')
  })

  it('says how far it is, also to a client that asked for no notifications', async () => {
    const at = await server({ store: await openStore() })
    const taskId = await started(at, 'progresses')
    await until(async () => {
      const { statusMessage } = (await about(at, 'get', taskId)).json.result
      return statusMessage === '3/10: reading'
    })
    await about(at, 'cancel', taskId)
  })
}

describe('contract: tasks in one process', () => {
  contract(async () => memoryStore())

  it('asks first, and becomes a task with the answer, which is asked for once', async () => {
    const at = await server()
    const args = { way: 'confirms' }
    const params = { name: 'asks_first', arguments: args }
    const first = (await send(at, request('modern', 'tools/call', params, FOLLOWS))).json.result
    expect(first.resultType).toBe('input_required')
    const { requestState, inputRequests } = first
    const [name = ''] = Object.keys(inputRequests)
    const answered = { ...params, requestState, inputResponses: { [name]: YES } }
    const { json } = await send(at, request('modern', 'tools/call', answered, FOLLOWS))
    expect(json.result).toMatchObject({ resultType: 'task', status: 'working' })
    const task = await seen(at, json.result.taskId, 'completed')
    expect(task).toMatchObject(TEXT('agreed'))
  })

  it('is declared where there is such a tool, to clients of 2026-07-28', async () => {
    const at = await server()
    const { json } = await send(at, request('modern', 'server/discover'))
    expect(json.result.capabilities.extensions).toEqual({ 'io.modelcontextprotocol/tasks': {} })
  })
})

describeRedis('threat: a task in another process, it cannot be ended, or is read by others', () => {
  let redis: Redis
  beforeAll(async () => {
    redis = await startRedis()
  })
  afterAll(() => redis[Symbol.asyncDispose]())

  const store = (): Promise<Store> => redisStore({ url: redis.url, logger: createLogger('silent') })

  /** Two processes on one Redis. The clock is that of the first one. */
  async function pair(): Promise<readonly [Endpoint, Endpoint, TestClock]> {
    const clock = testClock()
    const here = await server({ store: await store(), clock })
    return [here, await server({ store: await store() }), clock]
  }

  describe('contract: tasks on Redis', () => contract(store))

  it('is seen there by its owner, and by nobody else', async () => {
    const [here, there] = await pair()
    const taskId = await started(here, 'answers')
    expect(await seen(there, taskId, 'completed')).toMatchObject(TEXT('done'))
    expect((await about(there, 'get', taskId, { subject: 'bob' })).json).toEqual(NOT_FOUND)
  })

  it('is cancelled from there', async () => {
    const [here, there, clock] = await pair()
    const taskId = await started(here, 'waits')
    await about(there, 'cancel', taskId, { subject: 'bob' })
    clock.advance(1000)
    expect((await about(there, 'get', taskId)).json.result.status).toBe('working')
    await about(there, 'cancel', taskId)
    clock.advance(1000)
    await seen(there, taskId, 'cancelled')
    await until(() => here.outcomes().length === 1)
    expect(here.outcomes()).toMatchObject([{ outcome: 'cancelled' }])
  })

  it('is answered from there', async () => {
    const [here, there, clock] = await pair()
    const taskId = await started(here, 'confirms')
    const { inputRequests } = await seen(there, taskId, 'input_required')
    const [name = ''] = Object.keys(inputRequests)
    await about(there, 'update', taskId, {}, { inputResponses: { [name]: YES } })
    clock.advance(1000)
    expect(await seen(there, taskId, 'completed')).toMatchObject(TEXT('agreed'))
  })
})
