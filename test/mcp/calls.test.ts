import { once } from 'node:events'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { AuditEvent, AuditTrail } from '../../src/audit/trail.ts'
import type { Operation } from '../../src/context.ts'
import {
  CallEnded,
  type Caller,
  type Calls,
  calls,
  type Ending,
  type Result,
} from '../../src/mcp/calls.ts'
import { type CodeFault, currentCall } from '../../src/mcp/code-faults.ts'

const OK: Ending = { outcome: 'ok', resultSha256: undefined, progressCount: 0 }

const operation = (): Operation => ({
  rule: {
    kind: 'tool',
    name: 'work',
    scopes: [],
    listed: false,
    condition: undefined,
    timeoutSeconds: 30,
    concurrentCallsPerPrincipal: undefined,
    callsPerMinutePerPrincipal: undefined,
  },
  parsed: { value: {} },
  facts: {
    requestId: 'request-1',
    address: '203.0.113.7',
    principal: undefined,
    credentialId: undefined,
    trace: undefined,
    method: 'tools/call',
    name: 'work',
    rpcId: 1,
    era: 'modern',
    argsHmac: '',
    argsBytes: 2,
  },
  started: false,
})

function setUp(): { calls: Calls; audited: AuditEvent[]; reported: CodeFault[] } {
  const audited: AuditEvent[] = []
  const reported: CodeFault[] = []
  const trail: AuditTrail = {
    write: (event) => void audited.push(event),
    async commit() {},
    digest: () => ({ hmac: '', bytes: 0 }),
    ready: () => true,
    async close() {},
  }
  return { calls: calls(trail, (_facts, fault) => reported.push(fault)), audited, reported }
}

/** Answers with the value, or with how the call ended. */
async function conclude(result: Result<string>): Promise<[string, Ending]> {
  if ('value' in result) return [result.value, OK]
  const end = result.error instanceof CallEnded ? result.error.end : 'failed'
  return [end, { ...OK, outcome: end }]
}

const never = (): Promise<string> => new Promise(() => {})
const told = (signal: AbortSignal): Promise<unknown> => once(signal, 'abort')
const callerOf = (signal: AbortSignal): Caller => ({ signal, hold: { onEnd() {} } })
const alive = (): Caller => callerOf(new AbortController().signal)

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
})
afterEach(() => {
  vi.useRealTimers()
})

describe('threat: a call that does not end keeps a place for ever', () => {
  it('ends work that ignores its signal at the deadline, and not before', async () => {
    const { calls, audited, reported } = setUp()
    const answer = calls.run(operation(), alive(), never, conclude)
    vi.advanceTimersByTime(29_999)
    expect(calls.running()).toBe(1)
    vi.advanceTimersByTime(1)
    expect(await answer).toBe('timed-out')
    expect(audited).toMatchObject([{ event: 'outcome', outcome: 'timed-out' }])
    expect(calls.running()).toBe(0)
    vi.advanceTimersByTime(4999)
    expect(reported).toEqual(['timed-out'])
    vi.advanceTimersByTime(1)
    expect(reported).toEqual(['timed-out', 'did-not-stop'])
    expect(vi.getTimerCount()).toBe(0)
  })

  it.each([
    ['timed-out', () => vi.advanceTimersByTime(30_000)],
    ['cancelled', (_calls: Calls, caller: AbortController) => caller.abort()],
    ['shut-down', (all: Calls) => all.end()],
  ] as const)('tells the work that it was %s', async (end, stop) => {
    const { calls, audited } = setUp()
    const caller = new AbortController()
    let reason: unknown
    const work = (signal: AbortSignal): Promise<string> =>
      new Promise((_resolve, reject) =>
        signal.addEventListener('abort', () => {
          reason = signal.reason
          reject(signal.reason)
        }),
      )
    const answer = calls.run(operation(), callerOf(caller.signal), work, conclude)
    stop(calls, caller)
    expect(await answer).toBe(end)
    expect(reason).toMatchObject({ end })
    expect(audited).toMatchObject([{ outcome: end }])
  })

  it.each([
    ['whose caller has left', 'cancelled'],
    ['after shutdown began', 'shut-down'],
  ] as const)('does not begin a call %s', async (when, end) => {
    const { calls, audited } = setUp()
    if (end === 'shut-down') calls.end()
    const caller = when.startsWith('whose') ? callerOf(AbortSignal.abort()) : alive()
    const work = vi.fn(never)
    expect(await calls.run(operation(), caller, work, conclude)).toBe(end)
    expect(work).not.toHaveBeenCalled()
    expect(audited).toMatchObject([{ outcome: end }])
  })

  it('lets a call through that ends in time, and leaves nothing behind', async () => {
    const { calls, audited, reported } = setUp()
    const caller = new AbortController()
    const removed = vi.spyOn(caller.signal, 'removeEventListener')
    expect(
      await calls.run(operation(), callerOf(caller.signal), async () => 'done', conclude),
    ).toBe('done')
    expect(audited).toMatchObject([{ event: 'outcome', outcome: 'ok' }])
    expect(removed).toHaveBeenCalledTimes(1)
    expect(vi.getTimerCount()).toBe(0)
    caller.abort()
    expect(audited).toHaveLength(1)
    expect(reported).toEqual([])
  })
})

describe('threat: callers leave and call again, more work goes on than a limit allows', () => {
  /** A call whose caller leaves at once, and whether its slots are still held. */
  function left(work: (signal: AbortSignal) => Promise<string>) {
    const { calls, reported } = setUp()
    const leaving = new AbortController()
    let isHeld = true
    const outlives = (going: Promise<void>): void =>
      void going.then(() => {
        isHeld = false
      })
    const caller = { ...callerOf(leaving.signal), outlives }
    const answer = calls.run(operation(), caller, work, conclude)
    leaving.abort()
    return { answer, calls, reported, isHeld: () => isHeld }
  }
  const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

  it('holds the slots of work that does not stop until its deadline, and no longer', async () => {
    const { answer, calls, reported, isHeld } = left(never)
    expect(await answer).toBe('cancelled')
    expect(calls.running()).toBe(0)
    vi.advanceTimersByTime(29_999)
    await turn()
    expect(isHeld()).toBe(true)
    vi.advanceTimersByTime(1)
    await turn()
    expect(isHeld()).toBe(false)
    expect(reported).toEqual(['did-not-stop'])
    expect(vi.getTimerCount()).toBe(0)
  })

  it.each<[string, (signal: AbortSignal) => Promise<string>]>([
    [
      'stops when it is told to',
      (signal) => told(signal).then(() => Promise.reject(signal.reason)),
    ],
    ['fails then', (signal) => told(signal).then(() => Promise.reject(new TypeError('late')))],
    ['has ended before', async () => 'done'],
  ])('gives them back at once when the work %s', async (_name, work) => {
    const { answer, isHeld } = left(work)
    await answer
    await turn()
    expect(isHeld()).toBe(false)
    expect(vi.getTimerCount()).toBe(0)
  })
})

describe('contract: whose code it is', () => {
  const { facts } = operation()

  it('is known inside of a call, in what it leaves behind, and nowhere else', async () => {
    const { calls } = setUp()
    let behind: Promise<unknown> | undefined
    const work = async (): Promise<string> => {
      behind = new Promise((resolve) => setImmediate(() => resolve(currentCall())))
      await undefined
      return String(currentCall()?.requestId)
    }
    expect(await calls.run(operation(), alive(), work, conclude)).toBe(facts.requestId)
    expect(await behind).toEqual(facts)
    expect(currentCall()).toBeUndefined()
  })

  it('names calls that ran or run, ten at most, those that have ended first, and those once', async () => {
    const { calls } = setUp()
    const names = (): string[] => calls.seen().map(({ name }) => name)
    const named = (name: string): Operation => {
      const own = operation()
      return { ...own, facts: { ...own.facts, name } }
    }
    void calls.run(named('runs'), alive(), never, conclude)
    await calls.run(named('ended'), alive(), async () => '', conclude)
    expect(names()).toEqual(['ended', 'runs'])
    expect(names()).toEqual(['runs'])
    for (let index = 0; index < 12; index++) {
      await calls.run(named(`${index}`), alive(), async () => '', conclude)
    }
    expect(names()).toEqual(Array.from({ length: 10 }, (_, index) => `${index + 2}`))
  })
})

describe('threat: a call without an outcome record, nobody can tell how it ended', () => {
  it('asks for another answer when the first cannot be made', async () => {
    const { calls, audited } = setUp()
    const answer = await calls.run(
      operation(),
      alive(),
      async () => 'done',
      async (result) => {
        if ('value' in result) throw new Error('canary')
        return conclude(result)
      },
    )
    expect(answer).toBe('failed')
    expect(audited).toMatchObject([{ outcome: 'failed' }])
  })

  it('marks the operation as started before the work begins', async () => {
    const { calls } = setUp()
    const own = operation()
    await calls.run(
      own,
      alive(),
      async () => {
        expect(own.started).toBe(true)
        return ''
      },
      conclude,
    )
    expect.assertions(1)
  })
})

describe('contract: late failures are reported, and never escape', () => {
  const hostile = new Proxy(new Error('x'), {
    getPrototypeOf() {
      throw new Error('canary')
    },
  })

  it.each([
    ['an error of its own', new TypeError('late'), ['failed-late']],
    ['something without a readable type', hostile, ['failed-late']],
    ['the abort it was told of', new DOMException('Aborted', 'AbortError'), []],
  ])('work that is told to stop and then throws %s', async (_name, error, reports) => {
    const { calls, reported } = setUp()
    const escaped = vi.fn()
    process.on('unhandledRejection', escaped)
    const caller = new AbortController()
    const { promise, reject } = Promise.withResolvers<string>()
    const answer = calls.run(operation(), callerOf(caller.signal), () => promise, conclude)
    caller.abort()
    await answer
    reject(error)
    await new Promise((resolve) => setImmediate(resolve))
    process.off('unhandledRejection', escaped)
    expect(reported).toEqual(reports)
    expect(escaped).not.toHaveBeenCalled()
  })
})

describe('contract: idle', () => {
  it('resolves at once when nothing runs', async () => {
    await setUp().calls.idle()
  })

  it('waits for the answer of the last call to be handed over', async () => {
    const { calls } = setUp()
    const order: string[] = []
    const { promise, resolve } = Promise.withResolvers<string>()
    // As many turns as a library may take between the answer and its transport.
    const answered = calls
      .run(operation(), alive(), () => promise, conclude)
      .then(async () => {
        for (let turn = 0; turn < 50; turn++) await undefined
        order.push('answered')
      })
    const idle = calls.idle().then(() => order.push('idle'))
    resolve('done')
    await Promise.all([answered, idle])
    expect(order).toEqual(['answered', 'idle'])
  })

  it('covers work without a record, such as a list', async () => {
    const { calls, audited } = setUp()
    const facts = { requestId: 'request-1', trace: undefined, name: 'list' }
    const listed = calls.bounded({ timeoutSeconds: 1 }, facts, alive(), never, async (result) =>
      'error' in result && result.error instanceof CallEnded ? result.error.end : '',
    )
    expect(calls.running()).toBe(1)
    calls.end()
    expect(await listed).toBe('shut-down')
    await calls.idle()
    expect(audited).toEqual([])
  })
})
