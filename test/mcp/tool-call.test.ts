import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { z } from 'zod'
import { defineResource, type Tool, type ToolContext, ToolError } from '../../src/define.ts'
import type { CodeFault } from '../../src/mcp/code-faults.ts'
import { type Endpoint, type Outcome, startEndpoint } from './endpoint.ts'
import { call, type Era, open, request, send } from './wire.ts'

const ERAS: readonly Era[] = ['modern', 'legacy']
const SECRET = 'hunter2'
const secret = (): Error => new Error(`Cannot connect to postgres://admin:${SECRET}@db`)

type Run = (context: ToolContext) => Promise<unknown> | unknown

/** A tool that does what its author got wrong. The types of a real one would not let it. */
function bad(name: string, run: Run, output: z.ZodObject = z.strictObject({})): Tool {
  return {
    name,
    title: name,
    description: `Does ${name}.`,
    annotations: {},
    input: z.strictObject({}),
    output,
    longRunning: false,
    run: (_input, context) => run(context) as Promise<Record<string, unknown>>,
  }
}

const anything = z.strictObject({ value: z.unknown() })
const cycle: Record<string, unknown> = {}
cycle['value'] = cycle

/** Says something else each time it is asked. */
function fickle(): object {
  let asked = 0
  return {
    toJSON() {
      asked += 1
      if (asked > 1) throw secret()
      return 'once'
    },
  }
}

const unreadable = Object.defineProperty({}, 'message', {
  get() {
    throw secret()
  },
})
const unclassifiable = new Proxy(
  {},
  {
    getPrototypeOf() {
      throw secret()
    },
  },
)
const unreadableToolError = Object.defineProperty(new ToolError('x'), 'message', {
  get() {
    throw secret()
  },
})

/** Each with what it does; every one of them must be masked. */
const MASKED: readonly [string, CodeFault, Run, z.ZodObject?][] = [
  [
    'throws_secret',
    'threw',
    async () => {
      throw secret()
    },
  ],
  [
    'throws_at_once',
    'threw',
    () => {
      throw secret()
    },
  ],
  [
    'throws_null',
    'threw',
    async () => {
      throw null
    },
  ],
  [
    'throws_undefined',
    'threw',
    async () => {
      throw undefined
    },
  ],
  [
    'throws_string',
    'threw',
    async () => {
      throw SECRET
    },
  ],
  [
    'throws_unreadable',
    'threw',
    async () => {
      throw unreadable
    },
  ],
  [
    'throws_unclassifiable',
    'threw',
    async () => {
      throw unclassifiable
    },
  ],
  [
    'throws_unreadable_tool_error',
    'threw',
    async () => {
      throw unreadableToolError
    },
  ],
  [
    'throws_code',
    'threw',
    async () => {
      throw Object.assign(secret(), { code: -32042, data: { url: SECRET } })
    },
  ],
  ['returns_undefined', 'wrong-shape', async () => undefined],
  ['returns_nothing_thenable', 'wrong-shape', () => SECRET],
  ['returns_wrong_shape', 'wrong-shape', async () => ({ [SECRET]: SECRET })],
  ['returns_cycle', 'not-json', async () => cycle, anything],
  ['returns_bigint', 'not-json', async () => ({ value: 1n }), anything],
  [
    'returns_throwing_to_json',
    'not-json',
    async () => ({
      value: {
        toJSON() {
          throw secret()
        },
      },
    }),
    anything,
  ],
  [
    'returns_throwing_getter',
    'threw',
    async () => ({
      get value() {
        throw secret()
      },
    }),
    anything,
  ],
  ['listens_badly', 'wrong-shape', async ({ progress }) => progress(1, 1, 5 as unknown as string)],
]

/** Runs of `late` that wait to fail. */
const late: (() => void)[] = []
/** What became of the context of a call that is over. */
const leftBehind: ToolContext[] = []
const started = { ignores: 0 }

const TOOLS: readonly Tool[] = [
  ...MASKED.map(([name, _fault, run, output]) => bad(name, run, output)),
  bad('returns_fickle', async () => ({ value: fickle() }), anything),
  bad('returns_100_mb', async () => ({ value: 'x'.repeat(100_000_000) }), anything),
  bad('refuses', async () => {
    throw new ToolError('Out of paper.')
  }),
  bad('refuses_at_length', async () => {
    throw new ToolError('x'.repeat(100_000))
  }),
  bad('fails_later', async ({ signal }) => {
    void once(signal, 'abort').then(() => Promise.reject(secret()))
    void Promise.reject(secret())
    return {}
  }),
  bad('stays', async (context) => {
    leftBehind.push(context)
    return {}
  }),
  bad('floods', async ({ progress, log }) => {
    for (let done = 1; done <= 20_000; done++) {
      progress(done, 20_000, `step ${done}`)
      log('info', `line ${done}`, { done })
    }
    return {}
  }),
  bad('blocks', async () => {
    const endMs = performance.now() + 50
    while (performance.now() < endMs);
    return {}
  }),
]

const SLOW: readonly Tool[] = [
  bad('ignores', async () => {
    started.ignores += 1
    await new Promise(() => {})
  }),
  bad('fails_after_the_end', async ({ signal }) => {
    await once(signal, 'abort')
    await new Promise<void>((resolve) => late.push(resolve))
    throw secret()
  }),
  bad('reports_for_ever', async ({ progress, signal }) => {
    for (let done = 1; ; done++) {
      progress(done)
      await sleep(10, undefined, { signal })
    }
  }),
]

let listFailure: unknown
const NOTES = defineResource({
  uriTemplate: 'notes://{id}',
  name: 'notes',
  title: 'Notes',
  description: 'Reads badly.',
  mimeType: 'text/plain',
  params: z.strictObject({ id: z.string().max(16) }),
  async read({ id }) {
    if (id === 'null') throw null
    if (id === 'big') return 'x'.repeat(5_000_000)
    if (id === 'number') return 5 as unknown as string
    if (id === 'good') return 'fine'
    throw secret()
  },
  async list() {
    throw listFailure
  },
})

/** A list that never ends. */
const ENDLESS = defineResource({
  ...NOTES,
  params: z.strictObject({ id: z.string().max(16) }),
  list: () => new Promise(() => {}),
})

let endpoint: Endpoint
/** The same with a deadline of one second. */
let hasty: Endpoint
beforeAll(async () => {
  endpoint = await startEndpoint({ catalog: { tools: TOOLS, resources: [NOTES] } })
  hasty = await startEndpoint({
    catalog: { tools: SLOW, resources: [ENDLESS] },
    access: { timeoutSeconds: 1 },
  })
})
afterAll(async () => {
  await endpoint[Symbol.asyncDispose]()
  await hasty[Symbol.asyncDispose]()
})

/** Runs something and returns the outcome records that it left. */
async function outcomesOf(at: Endpoint, run: () => Promise<void>): Promise<Outcome[]> {
  const before = at.outcomes().length
  await run()
  await vi.waitFor(() => expect(at.outcomes().length).toBeGreaterThan(before))
  expect(at.lasting.calls.running()).toBe(0)
  return at.outcomes().slice(before)
}

/** What the log says of the last call: the faults, with its tool and reference on each line. */
function logged(at: Endpoint): string[] {
  const { requestId, name } = at.outcomes().at(-1) ?? {}
  return at
    .written()
    .split('\n')
    .map((line) => JSON.parse(line))
    .filter((line) => line.requestId === requestId && line.tool === name)
    .filter(({ message }) => message === 'A tool, resource or prompt failed')
    .map(({ reason }) => reason)
}

const failed = (text: string): object => ({ isError: true, content: [{ type: 'text', text }] })

describe.each(ERAS)('threat: a tool fails and tells the caller a secret, %s era', (era) => {
  it.each(MASKED)('%s is masked, and logged as %s', async (name, fault) => {
    const [outcome, ...others] = await outcomesOf(endpoint, async () => {
      const { status, json, text } = await send(endpoint, call(era, name), { era })
      const reference = endpoint.outcomes().at(-1)?.requestId
      expect(status).toBe(200)
      expect(json.result).toMatchObject(failed(`The tool failed (reference ${reference})`))
      expect(text).not.toContain(SECRET)
    })
    expect(others).toEqual([])
    expect(outcome).toMatchObject({ outcome: 'failed', name, resultSha256: undefined })
    expect(endpoint.written()).not.toContain(SECRET)
    expect(logged(endpoint)).toEqual([fault])
  })

  it('a ToolError is meant for the caller', async () => {
    const [outcome] = await outcomesOf(endpoint, async () => {
      const { json } = await send(endpoint, call(era, 'refuses'), { era })
      expect(json.result).toMatchObject(failed('Out of paper.'))
    })
    expect(outcome?.outcome).toBe('failed')
  })

  it('a ToolError is cut', async () => {
    const { json } = await send(endpoint, call(era, 'refuses_at_length'), { era })
    expect(json.result).toMatchObject(failed('x'.repeat(1024)))
  })

  it('a result is sent as it was checked, though it answers differently the next time', async () => {
    const { json } = await send(endpoint, call(era, 'returns_fickle'), { era })
    expect(json.result.structuredContent).toEqual({ value: 'once' })
  })

  it('a result above the bound is not sent', async () => {
    const { json, text } = await send(endpoint, call(era, 'returns_100_mb'), { era })
    expect(json.result).toMatchObject(failed('The result is too large.'))
    expect(text.length).toBeLessThan(1000)
    await vi.waitFor(() => expect(logged(endpoint)).toEqual(['too-large']))
  })

  it('work that fails in the background touches neither the call nor the process', async () => {
    const escaped: unknown[] = []
    const record = (error: unknown): void => void escaped.push(error)
    const listeners = process.listeners('unhandledRejection')
    process.removeAllListeners('unhandledRejection')
    process.on('unhandledRejection', record)
    const { json } = await send(endpoint, call(era, 'fails_later'), { era })
    await vi.waitFor(() => expect(escaped.length).toBeGreaterThan(0))
    process.removeAllListeners('unhandledRejection')
    for (const listener of listeners) process.on('unhandledRejection', listener)
    expect(json.result.structuredContent).toEqual({})
    expect(endpoint.written()).not.toContain(SECRET)
  })

  it('a call that blocks shortly answers, and so does the next', async () => {
    const both = [call(era, 'blocks'), call(era, 'echo', { text: 'x' })]
    const answers = await Promise.all(both.map((message) => send(endpoint, message, { era })))
    expect(answers.map(({ json }) => json.result.isError)).toEqual([undefined, undefined])
  })

  it('notifications after the end go nowhere', async () => {
    const { messages } = await send(endpoint, call(era, 'stays', {}, { progressToken: 'p' }), {
      era,
    })
    const context = leftBehind.at(-1)
    context?.progress(1)
    context?.log('emergency', SECRET)
    expect(messages).toHaveLength(1)
    expect(endpoint.written()).not.toContain(SECRET)
  })
})

describe.each(ERAS)('threat: a tool floods its caller, memory grows, %s era', (era) => {
  it('merges progress and counts dropped logs', async () => {
    const meta = { progressToken: 'p', 'io.modelcontextprotocol/logLevel': 'debug' }
    const [outcome] = await outcomesOf(endpoint, async () => {
      const { messages } = await send(endpoint, call(era, 'floods', {}, meta), { era })
      const of = (method: string) => messages.filter((message) => message.method === method)
      const values = of('notifications/progress').map(({ params }) => params.progress)
      expect(values.length).toBeLessThan(600)
      expect(values).toEqual([...new Set(values)].toSorted((a, b) => a - b))
      expect(values.at(-1)).toBe(20_000)
      const logs = of('notifications/message').map(({ params }) => params)
      const last = logs.at(-1)
      expect(last).toEqual({
        level: 'warning',
        data: expect.stringMatching(/^\d+ log notifications were dropped$/),
      })
      expect(Number.parseInt(last.data, 10) + logs.length - 1).toBe(20_000)
    })
    expect(outcome?.progressCount).toBeGreaterThan(255)
    expect(outcome?.progressCount).toBeLessThan(600)
  })
})

describe.each(ERAS)('threat: a call that does not end, %s era', (era) => {
  it.each(['ignores', 'reports_for_ever'])('TRN-10 %s: ends at its deadline', async (name) => {
    const [outcome, ...others] = await outcomesOf(hasty, async () => {
      const { json } = await send(hasty, call(era, name, {}, { progressToken: 'p' }), { era })
      const reference = hasty.outcomes().at(-1)?.requestId
      const text = `The tool did not finish within 1 seconds (reference ${reference})`
      expect(json.result).toMatchObject(failed(text))
    })
    expect(others).toEqual([])
    expect(outcome?.outcome).toBe('timed-out')
    expect(outcome?.durationMs).toBeGreaterThan(990)
  })

  it('reports work that fails after its call has ended', async () => {
    await outcomesOf(hasty, async () => {
      await send(hasty, call(era, 'fails_after_the_end'), { era })
    })
    expect(logged(hasty)).toEqual(['timed-out'])
    late.pop()?.()
    await vi.waitFor(() => expect(logged(hasty)).toEqual(['timed-out', 'failed-late']))
    expect(hasty.written()).not.toContain(SECRET)
  })

  it('TRN-09 is cancelled when its caller leaves', async () => {
    const before = started.ignores
    const leave = new AbortController()
    const [outcome, ...others] = await outcomesOf(hasty, async () => {
      const answer = open(hasty, call(era, 'ignores'), { era, signal: leave.signal })
      const ended = expect(answer.then((response) => response.text())).rejects.toThrow()
      await vi.waitFor(() => expect(started.ignores).toBe(before + 1))
      leave.abort()
      await ended
    })
    expect(others).toEqual([])
    expect(outcome?.outcome).toBe('cancelled')
  })

  it('is answered when the server shuts down', async () => {
    await using own = await startEndpoint({ catalog: { tools: SLOW } })
    const before = started.ignores
    const answer = send(own, call(era, 'ignores'), { era })
    await vi.waitFor(() => expect(started.ignores).toBe(before + 1))
    await own.drain(1.2)
    const { json } = await answer
    const reference = own.outcomes().at(-1)?.requestId
    const text = `The server is shutting down; call again (reference ${reference})`
    expect(json.result).toMatchObject(failed(text))
    expect(own.outcomes().map(({ outcome }) => outcome)).toEqual(['shut-down'])
  })
})

describe.each(ERAS)('threat: a resource fails and tells the caller a secret, %s era', (era) => {
  it.each(['other', 'null', 'big', 'number'])('reading %s is masked', async (id) => {
    const [outcome] = await outcomesOf(endpoint, async () => {
      const message = request(era, 'resources/read', { uri: `notes://${id}` })
      const { json, text } = await send(endpoint, message, { era })
      expect(json.error).toEqual({ code: -32603, message: 'Internal error' })
      expect(text).not.toContain(SECRET)
    })
    expect(outcome).toMatchObject({ outcome: 'failed', name: 'notes://{id}' })
    expect(endpoint.written()).not.toContain(SECRET)
  })

  it('reading what works is not', async () => {
    const message = request(era, 'resources/read', { uri: 'notes://good' })
    expect((await send(endpoint, message, { era })).json.result.contents).toEqual([
      { uri: 'notes://good', mimeType: 'text/plain', text: 'fine' },
    ])
  })

  it.each([
    ['an error', secret()],
    ['null', null],
  ])('listing is masked when it throws %s', async (_name, failure) => {
    listFailure = failure
    const { json, text } = await send(endpoint, request(era, 'resources/list'), { era })
    expect(json.error).toEqual({ code: -32603, message: 'Internal error' })
    expect(text).not.toContain(SECRET)
    expect(endpoint.written()).not.toContain(SECRET)
    expect(endpoint.lasting.calls.running()).toBe(0)
  })

  it('listing ends at its deadline', async () => {
    const { json } = await send(hasty, request(era, 'resources/list'), { era })
    expect(json.error).toEqual({ code: -32603, message: 'Internal error' })
    expect(hasty.lasting.calls.running()).toBe(0)
  })
})
