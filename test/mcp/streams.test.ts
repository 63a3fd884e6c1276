import { afterEach, describe, expect, it } from 'vitest'
import { type Endpoint, startEndpoint } from './endpoint.ts'
import { call, open, request, send } from './wire.ts'

const STREAMS = 300
const PER_PRINCIPAL = 100
const SUBJECTS = ['caller-0', 'caller-1', 'caller-2']

const LISTEN = request('modern', 'subscriptions/listen', {
  notifications: { toolsListChanged: true },
})

let endpoint: Endpoint | undefined
afterEach(async () => {
  await endpoint?.[Symbol.asyncDispose]()
})

/** Room for 300 streams, 100 for each caller, and for one call of each at the same time. */
async function crowded(): Promise<Endpoint> {
  endpoint = await startEndpoint({
    policies: ({ limits, ...others }) => ({
      ...others,
      limits: {
        ...limits,
        streams: STREAMS,
        principal: { ...limits.principal, openStreams: PER_PRINCIPAL, concurrentCalls: 1 },
      },
    }),
  })
  return endpoint
}

interface Stream {
  readonly status: number
  /** All of it, once it has ended. */
  readonly text: Promise<string>
  leave(): void
}

/** Opens a stream and waits for its acknowledgement, so that it does not queue behind its headers. */
async function listen(at: Endpoint, subject: string): Promise<Stream> {
  const client = new AbortController()
  const response = await open(at, LISTEN, { subject, signal: client.signal })
  return {
    status: response.status,
    text: response.text().catch(() => ''),
    leave: () => client.abort(),
  }
}

/** One after the other for each caller, because `concurrentCalls` counts a stream until it is one. */
async function listenAll(at: Endpoint, count: number, subjects = SUBJECTS): Promise<Stream[]> {
  const each = subjects.map(async (subject) => {
    const streams: Stream[] = []
    for (let index = 0; index < count; index++) streams.push(await listen(at, subject))
    return streams
  })
  return (await Promise.all(each)).flat()
}

describe('threat: hundreds of streams, calls find no place or streams are forgotten', () => {
  it('counts them by principal and in total, and frees them when clients leave', async () => {
    const at = await crowded()
    const streams = await listenAll(at, PER_PRINCIPAL)
    expect(new Set(streams.map(({ status }) => status))).toEqual(new Set([200]))
    expect((await listen(at, 'caller-0')).status).toBe(429)
    expect((await listen(at, 'caller-3')).status).toBe(503)

    // None of them holds a slot of a call.
    for (const subject of SUBJECTS) {
      const echo = await send(at, call('modern', 'echo', { text: 'x' }), { subject })
      expect(echo.status).toBe(200)
    }
    for (const stream of streams.slice(0, PER_PRINCIPAL)) stream.leave()
    await expect.poll(async () => (await listen(at, 'caller-3')).status).toBe(200)
    const again = await listenAll(at, PER_PRINCIPAL - 1, ['caller-0'])
    expect(new Set(again.map(({ status }) => status))).toEqual(new Set([200]))
  })

  it.each<[string, (at: Endpoint, streams: readonly Stream[]) => unknown]>([
    ['are left', (_at, streams) => streams.map(({ leave }) => leave())],
    ['are too old', () => undefined],
    ['lose their credential', (at) => revoke(at)],
  ])('principal.openStreams is there again when streams %s', async (how, end) => {
    const at = await crowded(how === 'are too old' ? { streamSeconds: 2, openStreams: 3 } : { openStreams: 3 })
    for (let round = 0; round < 2; round++) {
      const streams = await listenAll(at, 3, ['ann'])
      expect(streams.map(({ status }) => status)).toEqual([200, 200, 200])
      expect((await listen(at, 'ann')).status).toBe(429)
      end(at, streams)
      await Promise.all(streams.map(({ text }) => text))
      await expect.poll(() => openAnswers(at)).toBe(0)
    }
  })

  it.each([
    ['below', 99, 200],
    ['at', 100, 200],
    ['above', 101, 400],
  ])('resources that one stream follows, %s', async (_name, count, status) => {
    const at = await crowded()
    const resourceSubscriptions = Array.from({ length: count }, (_, id) => `report://${id}`)
    const message = request('modern', 'subscriptions/listen', {
      notifications: { resourceSubscriptions },
    })
    const client = new AbortController()
    const response = await open(at, message, { signal: client.signal })
    expect(response.status).toBe(status)
    client.abort()
  })

  it('tells all of them what has changed, and ends each with its result', async () => {
    const at = await crowded()
    const streams = await listenAll(at, PER_PRINCIPAL)
    at.lasting.changes.listsChanged()
    await at.drain(5)
    for (const text of await Promise.all(streams.map((stream) => stream.text))) {
      expect(text.match(/tools\/list_changed/g)).toHaveLength(1)
      expect(text).toMatch(/"id":7,"result":\{"resultType":"complete".*\}\n\n$/)
    }
  })
})
