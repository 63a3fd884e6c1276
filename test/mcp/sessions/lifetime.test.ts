// optional: legacy-sessions
import { once } from 'node:events'
import { request } from 'node:http'
import { describe, expect, it, onTestFinished } from 'vitest'
import type { Authenticator } from '../../../src/auth/authenticator.ts'
import { CredentialFault, type Fault } from '../../../src/auth/strategy.ts'
import { Denied } from '../../../src/errors.ts'
import { testApp } from '../../app.ts'
import { type TestClock, testClock } from '../../clock.ts'
import type { Endpoint } from '../endpoint.ts'
import {
  begin,
  initialize,
  isAnswerTo,
  isMethod,
  message,
  type SessionsOptions,
  startSessions,
  until,
} from './peer.ts'
import { type SessionTools, sessionTools } from './tools.ts'

const ECHO = message('tools/call', { name: 'echo', arguments: { text: 'hello' } })
const STEPS = message('tools/call', { name: 'steps', _meta: { progressToken: 1 } }, 'steps')
const IDLE_MS = 600_000
const ABSOLUTE_MS = 28_800_000

interface Turned {
  readonly endpoint: Endpoint
  readonly clock: TestClock
  readonly steps: SessionTools
}

async function turned(options: SessionsOptions = {}): Promise<Turned> {
  const clock = testClock()
  const steps = sessionTools()
  const endpoint = await startSessions({ clock, catalog: { tools: steps.tools }, ...options })
  onTestFinished(() => endpoint[Symbol.asyncDispose]())
  return { endpoint, clock, steps }
}

/** What is said from now on of the credentials with these digests, or of all. */
function refuse(
  endpoint: Endpoint,
  fault: Fault,
  isMeant = (_digest: string): boolean => true,
): void {
  const judge: Pick<Authenticator, 'recheck' | 'denies'> = {
    async recheck(credential) {
      if (!isMeant(credential.digest)) return Promise.reject(new Error('nobody knows'))
      throw new Denied('authenticate.rejected', { cause: new CredentialFault(fault) })
    },
    denies: () => false,
  }
  endpoint.lasting.holds.use(judge)
}

describe('threat: a session that lives for ever, an id that leaks is good for ever', () => {
  it('ends when nothing was asked for so long, and not a moment before', async () => {
    const { endpoint, clock } = await turned()
    const peer = await begin(endpoint)
    clock.advance(IDLE_MS - 1)
    expect((await peer.post(ECHO)).status).toBe(200)
    clock.advance(IDLE_MS - 1)
    expect((await peer.post(ECHO)).status).toBe(200)
    await until(() => endpoint.outcomes().length === 2)
    clock.advance(IDLE_MS - 1)
    clock.advance(1) // Too early for the next look at all sessions.
    expect((await peer.post(ECHO)).status).toBe(404)
  })

  it('is not idle while a stream is open or a call runs', async () => {
    const { endpoint, clock, steps } = await turned()
    const listening = await begin(endpoint)
    const listener = await listening.listen()
    const calling = await begin(endpoint)
    const call = await calling.post(STEPS)
    await call.event(isMethod('notifications/progress'))
    clock.advance(IDLE_MS * 2)
    expect((await listening.post(ECHO)).status).toBe(200)
    expect((await calling.post(ECHO)).status).toBe(200)
    listener.leave()
    steps.finish()
    await call.ended
  })

  it('ends at its age, however busy it is, and its streams with it', async () => {
    const { endpoint, clock } = await turned()
    const peer = await begin(endpoint)
    const listener = await peer.listen()
    clock.advance(ABSOLUTE_MS - 1)
    expect((await peer.post(ECHO)).status).toBe(200)
    clock.advance(1)
    clock.advance(1000) // A call that runs has this moment to be answered.
    await listener.ended
    expect((await peer.post(ECHO)).status).toBe(404)
    expect((await peer.listen()).status).toBe(404)
  })

  it('ends on DELETE: streams, calls, and its place is free', async () => {
    const { endpoint, steps } = await turned({ sessions: { perPrincipal: 1 } })
    const peer = await begin(endpoint)
    const listener = await peer.listen()
    const call = await peer.post(STEPS)
    await call.event(isMethod('notifications/progress'))
    expect((await peer.end()).status).toBe(204)
    await listener.ended
    await call.ended
    await until(() => steps.stopped.length === 1)
    expect(endpoint.outcomes().map(({ outcome }) => outcome)).toEqual(['cancelled'])
    expect((await peer.end()).status).toBe(404)
    expect((await begin(endpoint)).id).not.toBe(peer.id)
  })
})

describe('threat: a request that was on its way when its session ended', () => {
  it('is not served', async () => {
    const { endpoint } = await turned()
    const peer = await begin(endpoint)
    const slow = request(endpoint.url, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${endpoint.key()}`,
        'content-type': 'application/json',
        accept: 'application/json, text/event-stream',
        'mcp-session-id': peer.id,
        expect: '100-continue',
      },
    })
    slow.flushHeaders()
    await once(slow, 'continue') // It has passed the session guard.
    expect((await peer.end()).status).toBe(204)
    slow.end(JSON.stringify(ECHO))
    const [answer] = await once(slow, 'response')
    answer.resume()
    expect(answer.statusCode).toBe(404)
    await until(() => endpoint.outcomes().length === 1)
    expect(endpoint.outcomes()).toEqual([expect.objectContaining({ outcome: 'not-run' })])
  })
})

describe('threat: a revoked credential, whoever stole it keeps the session', () => {
  it.each<Fault>(['revoked', 'denied', 'unknown'])(
    'ends session, streams and calls when the credential is %s; calls are answered',
    async (fault) => {
      const { endpoint, steps } = await turned()
      const peer = await begin(endpoint)
      const listener = await peer.listen()
      const call = await peer.post(STEPS)
      await call.event(isMethod('notifications/progress'))
      refuse(endpoint, fault)
      await endpoint.lasting.holds.check()
      await listener.ended
      const { result } = (await call.event(isAnswerTo('steps'))).json
      expect(result).toMatchObject({
        isError: true,
        content: [{ text: expect.stringMatching(/^The credential of this call was revoked/) }],
      })
      await call.ended
      expect(steps.stopped).toHaveLength(1)
      expect(endpoint.outcomes().map(({ outcome }) => outcome)).toEqual(['revoked'])
      expect((await peer.post(ECHO)).status).toBe(404)
    },
  )

  it('is checked every 10 s', async () => {
    const { endpoint, clock } = await turned()
    const peer = await begin(endpoint)
    const listener = await peer.listen()
    refuse(endpoint, 'revoked')
    clock.advance(10_000)
    await listener.ended
    expect((await peer.post(ECHO)).status).toBe(404)
  })

  it('leaves the session to a credential of the owner that used it and still holds', async () => {
    const { endpoint } = await turned()
    const digests: string[] = []
    const { add } = endpoint.lasting.holds
    Object.assign(endpoint.lasting.holds, {
      add: (...[credential, identity]: Parameters<typeof add>) => {
        digests.push(credential.digest)
        return add(credential, identity)
      },
    })
    const peer = await begin(endpoint)
    const first = digests[0]
    expect(first).toBeDefined()
    expect((await peer.post(ECHO)).status).toBe(200)
    refuse(endpoint, 'revoked', (digest) => digest !== first)
    await endpoint.lasting.holds.check()
    expect((await peer.post(ECHO)).status).toBe(200)
  })

  it('leaves the session, not the stream, when the credential expires: the next one goes on', async () => {
    const { endpoint } = await turned()
    const peer = await begin(endpoint)
    const listener = await peer.listen()
    refuse(endpoint, 'expired')
    await endpoint.lasting.holds.check()
    await listener.ended
    expect((await peer.post(ECHO)).status).toBe(200)
    refuse(endpoint, 'revoked')
    await endpoint.lasting.holds.check()
    expect((await peer.post(ECHO)).status).toBe(404)
  })
})

describe('threat: calls that nobody waits for, one caller runs as many as it likes', () => {
  it('keeps the place of a call whose client has left until the call has ended', async () => {
    const { endpoint, steps } = await turned({ limits: { concurrentCalls: 2 } })
    const peer = await begin(endpoint)
    for (const id of ['a', 'b']) {
      const call = await peer.post(message('tools/call', { name: 'steps' }, id))
      await call.event(isMethod('notifications/message'))
      const left = endpoint.audited.length
      call.leave()
      await until(() => endpoint.audited.slice(left).some(({ event }) => event === 'request'))
    }
    expect((await peer.post(ECHO)).status).toBe(429)
    steps.finish()
    await until(() => endpoint.outcomes().length === 2)
    expect((await peer.post(ECHO)).status).toBe(200)
  })

  it('runs nothing for a client that has left before: its place is free again', async () => {
    const app = testApp({
      policies: (shipped) => ({
        ...shipped,
        http: { ...shipped.http, protocol: { legacy: 'sessions', httpSse: false } },
      }),
    })
    onTestFinished(() => app.close())
    const headers = { 'mcp-protocol-version': '2025-11-25', 'mcp-method': null, 'mcp-name': null }
    const begun = await app.send({ headers, body: initialize() })
    const id = begun.headers.get('mcp-session-id')
    const within = { headers: { ...headers, 'mcp-session-id': id }, body: ECHO }
    const { events } = await app.send({ ...within, leaves: 'at-decision' })
    expect(events).toContainEqual(expect.objectContaining({ event: 'outcome', outcome: 'not-run' }))
    expect((await app.send(within)).events).toContainEqual(
      expect.objectContaining({ event: 'outcome', outcome: 'ok' }),
    )
  })

  it('counts streams of sessions with all streams', async () => {
    const { endpoint } = await turned({ limits: { openStreams: 1 } })
    const [first, second] = [await begin(endpoint), await begin(endpoint)]
    const listener = await first.listen()
    const refused = await second.listen()
    expect(refused.status).toBe(429)
    listener.leave()
    await until(() => endpoint.audited.some((e) => e.event === 'request' && e.httpMethod === 'GET'))
    await until(() =>
      endpoint.audited.some((e) => 'reason' in e && e.reason === 'call-limit.open-streams'),
    )
    expect((await second.listen()).status).toBe(200)
  })

  it('has one stream of its own for each session', async () => {
    const { endpoint } = await turned()
    const peer = await begin(endpoint)
    expect((await peer.listen()).status).toBe(200)
    expect((await peer.listen()).status).toBe(409)
  })
})

describe('contract: a shutdown ends sessions in good order', () => {
  it('lets a call finish, and ends the streams then', async () => {
    const { endpoint, steps } = await turned()
    const peer = await begin(endpoint)
    const listener = await peer.listen()
    const call = await peer.post(STEPS)
    await call.event(isMethod('notifications/progress'))
    const drained = endpoint.drain(30)
    steps.finish()
    expect((await call.event(isAnswerTo('steps'))).json.result.structuredContent).toEqual({
      said: 'done',
    })
    await Promise.all([call.ended, listener.ended, drained])
  })

  it('answers a call that does not', async () => {
    const { endpoint } = await turned()
    const peer = await begin(endpoint)
    const call = await peer.post(STEPS)
    await call.event(isMethod('notifications/progress'))
    const drained = endpoint.drain(1)
    const { result } = (await call.event(isAnswerTo('steps'))).json
    expect(result.content[0].text).toMatch(/^The server is shutting down/)
    await Promise.all([call.ended, drained])
  })
})
