import type { ServerContext } from '@modelcontextprotocol/server'
import { describe, expect, it } from 'vitest'
import { notifier } from '../../src/mcp/notifier.ts'

interface Sent {
  readonly method: string
  // biome-ignore lint/suspicious/noExplicitAny: notifications are inspected by the tests
  readonly params: any
}

/** A request whose notifications are recorded as JSON, as they would leave. */
function request(options: { token?: string; level?: string; fails?: boolean } = {}): {
  readonly mcpReq: ServerContext['mcpReq']
  readonly sent: Sent[]
} {
  const sent: Sent[] = []
  const send = async (notification: unknown): Promise<void> => {
    if (options.fails === true) throw new Error('gone')
    sent.push(JSON.parse(JSON.stringify(notification)))
  }
  const mcpReq = {
    _meta: { progressToken: options.token },
    envelope: { 'io.modelcontextprotocol/logLevel': options.level },
    notify: send,
    log: (level: string, data: unknown) =>
      send({ method: 'notifications/message', params: { level, data } }),
  }
  return { mcpReq: mcpReq as unknown as ServerContext['mcpReq'], sent }
}

/** A clock that stands still, so that a burst is all there is. */
const still = (): number => 0
/** A reader that takes whatever is written. */
const KEEPS_UP = { isBehind: () => false }

describe('threat: a flood of notifications, memory grows with a reader that stalls', () => {
  it('merges progress: some of it, growing, and the last value', async () => {
    const { mcpReq, sent } = request({ token: 'p' })
    const notify = notifier(mcpReq, KEEPS_UP, still)
    for (let done = 1; done <= 20_000; done++) notify.progress(done, 20_000)
    await notify.flush()
    const values = sent.map(({ params }) => params.progress)
    expect(values).toHaveLength(257)
    expect(values).toEqual(values.toSorted((a, b) => a - b))
    expect(values.at(-1)).toBe(20_000)
    expect(notify.count()).toBe(257)
  })

  it('counts the log notifications that it drops', async () => {
    const { mcpReq, sent } = request()
    const notify = notifier(mcpReq, KEEPS_UP, still)
    for (let index = 0; index < 20_000; index++) notify.log('info', `line ${index}`)
    await notify.flush()
    expect(sent).toHaveLength(257)
    expect(sent.at(-1)?.params).toEqual({
      level: 'warning',
      data: '19744 log notifications were dropped',
    })
  })

  it('does not lose an error behind log notifications that nobody asked for', async () => {
    const { mcpReq, sent } = request({ level: 'error' })
    const notify = notifier(mcpReq, KEEPS_UP, still)
    for (let index = 0; index < 20_000; index++) notify.log('debug', `line ${index}`)
    notify.log('error', 'out of paper')
    await notify.flush()
    expect(sent.map(({ params }) => params)).toEqual([{ level: 'error', data: 'out of paper' }])
  })

  it('lets 50 a second through after the burst', async () => {
    let now = 0
    const { mcpReq, sent } = request({ token: 'p' })
    const notify = notifier(mcpReq, KEEPS_UP, () => now)
    for (let done = 0; done < 1000; done++) notify.progress(done)
    expect(sent).toHaveLength(256)
    now = 1000
    for (let done = 1000; done < 2000; done++) notify.progress(done)
    expect(sent).toHaveLength(306)
    await notify.flush()
  })

  it.each([
    ['of 1 kB', 'x'.repeat(1000), undefined, 66],
    ['with 8 kB of data', 'x', { text: 'x'.repeat(7900) }, 9],
    ['that grow when they become JSON', '\u0001'.repeat(1000), undefined, 11],
  ])(
    'counts log notifications by what they take on the wire: %s',
    async (_name, text, data, most) => {
      const { mcpReq, sent } = request()
      const notify = notifier(mcpReq, KEEPS_UP, still)
      for (let index = 0; index < 1000; index++) notify.log('info', text, data)
      await notify.flush()
      expect(sent).toHaveLength(most + 1)
      expect(Buffer.byteLength(JSON.stringify(sent))).toBeLessThan(80_000)
    },
  )

  it('holds back what a reader that is behind would only queue', async () => {
    let behind = true
    const { mcpReq, sent } = request({ token: 'p' })
    const notify = notifier(mcpReq, { isBehind: () => behind }, still)
    for (let done = 1; done <= 10; done++) {
      notify.progress(done)
      notify.log('info', 'line')
    }
    expect(sent).toEqual([])

    behind = false
    notify.progress(11)
    notify.log('info', 'line')
    behind = true
    notify.progress(12)
    await notify.flush()
    expect(sent.map(({ params }) => params.progress ?? params.data)).toEqual([
      11,
      'line',
      12,
      '10 log notifications were dropped',
    ])
  })

  it.each([
    ['in its request', { level: 'error' }, undefined],
    ['for its connection', {}, () => 'error' as const],
  ])(
    'keeps the burst for the levels that the caller asked for %s',
    async (_name, asked, logLevel) => {
      const { mcpReq, sent } = request(asked)
      const notify = notifier(mcpReq, { ...KEEPS_UP, logLevel }, still)
      for (let index = 0; index < 20_000; index++) notify.log('warning', `line ${index}`)
      notify.log('error', 'this one')
      await notify.flush()
      expect(sent.map(({ params }) => params.data)).toEqual(['this one'])
    },
  )

  it('lets what is slow enough through as it is', async () => {
    const { mcpReq, sent } = request({ token: 'p' })
    const notify = notifier(mcpReq, KEEPS_UP, still)
    for (let done = 1; done <= 100; done++) notify.progress(done, 100, `step ${done}`)
    await notify.flush()
    expect(sent).toHaveLength(100)
    expect(sent[0]).toEqual({
      method: 'notifications/progress',
      params: { progressToken: 'p', progress: 1, total: 100, message: 'step 1' },
    })
  })

  it.each([
    ['progress', 'p', 1024],
    ['log', undefined, 1024],
  ] as const)('cuts a %s message', async (kind, token, length) => {
    const { mcpReq, sent } = request(token === undefined ? {} : { token })
    const notify = notifier(mcpReq, KEEPS_UP, still)
    if (kind === 'progress') notify.progress(1, 1, 'x'.repeat(1_000_000))
    else notify.log('info', 'x'.repeat(1_000_000))
    await notify.flush()
    const params = sent[0]?.params
    expect(params.message ?? params.data).toBe('x'.repeat(length))
  })
})

describe('contract: progress', () => {
  it.each([
    ['an equal value', [1, 1]],
    ['a smaller value', [2, 1]],
    ['not a number', [1, Number.NaN]],
    ['infinity', [1, Number.POSITIVE_INFINITY]],
  ])('drops %s', async (_name, values) => {
    const { mcpReq, sent } = request({ token: 'p' })
    const notify = notifier(mcpReq, KEEPS_UP, still)
    for (const value of values) notify.progress(value)
    await notify.flush()
    expect(sent).toHaveLength(1)
  })

  it('leaves out a total that is no number', async () => {
    const { mcpReq, sent } = request({ token: 'p' })
    const notify = notifier(mcpReq, KEEPS_UP, still)
    notify.progress(1, Number.NaN)
    await notify.flush()
    expect(sent[0]?.params).toEqual({ progressToken: 'p', progress: 1 })
  })

  it('sends none to a caller that did not ask', async () => {
    const { mcpReq, sent } = request()
    const notify = notifier(mcpReq, KEEPS_UP, still)
    notify.progress(1)
    await notify.flush()
    expect(sent).toEqual([])
    expect(notify.count()).toBe(0)
  })

  it('sends nothing after the end', async () => {
    const { mcpReq, sent } = request({ token: 'p' })
    const notify = notifier(mcpReq, KEEPS_UP, still)
    await notify.flush()
    notify.progress(1)
    notify.log('emergency', 'late')
    expect(sent).toEqual([])
  })

  it('does not fail the tool when nobody is there to read', async () => {
    const { mcpReq } = request({ token: 'p', fails: true })
    const notify = notifier(mcpReq, KEEPS_UP, still)
    notify.progress(1)
    notify.log('info', 'one')
    await notify.flush()
  })
})

describe('threat: log data that does not serialize, the answer never leaves', () => {
  const cycle: Record<string, unknown> = {}
  cycle['self'] = cycle
  let asked = 0

  it.each([
    ['a cycle', cycle],
    ['a BigInt', { big: 1n }],
    [
      'a throwing toJSON',
      {
        toJSON: () => {
          throw new Error('canary')
        },
      },
    ],
    [
      'a throwing getter',
      {
        get value() {
          throw new Error('canary')
        },
      },
    ],
    ['a toJSON that gives nothing', { toJSON: () => undefined }],
    ['too much', { text: 'x'.repeat(8192) }],
  ])('sends the message alone for %s', async (_name, data) => {
    const { mcpReq, sent } = request()
    const notify = notifier(mcpReq, KEEPS_UP, still)
    notify.log('info', 'text', data)
    await notify.flush()
    expect(sent).toEqual([
      { method: 'notifications/message', params: { level: 'info', data: 'text' } },
    ])
  })

  it('sends what it checked, though the data answers differently each time', async () => {
    const { mcpReq, sent } = request()
    const notify = notifier(mcpReq, KEEPS_UP, still)
    const value = { toJSON: () => (asked++ === 0 ? 'small' : 'x'.repeat(1_000_000)) }
    notify.log('info', 'text', { value })
    await notify.flush()
    expect(sent[0]?.params.data).toEqual({ value: 'small', message: 'text' })
  })

  it('lets plain data through', async () => {
    const { mcpReq, sent } = request()
    const notify = notifier(mcpReq, KEEPS_UP, still)
    notify.log('notice', 'text', { count: 3 })
    await notify.flush()
    expect(sent[0]?.params).toEqual({ level: 'notice', data: { count: 3, message: 'text' } })
  })
})
