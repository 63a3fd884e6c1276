import { afterEach, describe, expect, it } from 'vitest'
import { CredentialFault } from '../../src/auth/strategy.ts'
import { Denied } from '../../src/errors.ts'
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
async function crowded({
  streamSeconds = 3600,
  openStreams = PER_PRINCIPAL,
} = {}): Promise<Endpoint> {
  endpoint = await startEndpoint({
    policies: ({ limits, ...others }) => ({
      ...others,
      limits: {
        ...limits,
        streams: STREAMS,
        timeouts: { ...limits.timeouts, streamSeconds },
        principal: { ...limits.principal, openStreams, concurrentCalls: 1 },
      },
    }),
  })
  return endpoint
}

/** As if the credentials of all streams had been revoked. */
async function revoke({ lasting: { holds } }: Endpoint): Promise<void> {
  holds.use({
    async recheck() {
      throw new Denied('authenticate.rejected', { cause: new CredentialFault('revoked') })
    },
    denies: () => false,
  })
  await holds.check()
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

  /** Opens three, each as soon as there is a place for it. */
  async function fill(at: Endpoint): Promise<Stream[]> {
    const streams: Stream[] = []
    for (let index = 0; index < 3; index++) {
      await expect
        .poll(async () => {
          const stream = await listen(at, 'ann')
          if (stream.status === 200) streams.push(stream)
          return stream.status
        })
        .toBe(200)
    }
    return streams
  }

  it.each<[string, number, (at: Endpoint, streams: readonly Stream[]) => unknown]>([
    ['are left', 3600, (_at, streams) => streams.map(({ leave }) => leave())],
    ['lose their credential', 3600, revoke],
    ['are too old', 1, () => undefined],
  ])('principal.openStreams: three again when streams %s', async (_name, streamSeconds, end) => {
    const at = await crowded({ streamSeconds, openStreams: 3 })
    for (let round = 0; round < 3; round++) {
      const streams = await fill(at)
      if (streamSeconds > 1) expect((await listen(at, 'ann')).status).toBe(429)
      await end(at, streams)
      await Promise.all(streams.map(({ text }) => text))
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
