// optional: legacy-sessions
import { describe, expect, it, onTestFinished } from 'vitest'
import type { Endpoint } from '../endpoint.ts'
import {
  begin,
  type Event,
  isAnswerTo,
  isMethod,
  message,
  type SessionsOptions,
  startSessions,
  until,
} from './peer.ts'
import { type SessionTools, sessionTools } from './tools.ts'

const STEPS = message('tools/call', { name: 'steps', _meta: { progressToken: 1 } }, 'steps')

async function stepping(
  options: SessionsOptions = {},
): Promise<{ endpoint: Endpoint; steps: SessionTools }> {
  const steps = sessionTools()
  const endpoint = await startSessions({ catalog: { tools: steps.tools }, ...options })
  onTestFinished(() => endpoint[Symbol.asyncDispose]())
  return { endpoint, steps }
}

const lastSeen = (id: string | undefined): { headers: { 'last-event-id': string } } => ({
  headers: { 'last-event-id': id ?? 'none' },
})
const steppedTo =
  (step: number) =>
  (event: Event): boolean =>
    isMethod('notifications/progress')(event) && event.json.params.progress === step

async function refused(endpoint: Endpoint, reason: string): Promise<void> {
  await until(() => endpoint.audited.some((e) => e.event === 'request' && e.reason === reason))
}

describe('contract: a client that lost its connection comes back for what it missed', () => {
  it('gives an id to come back with before anything else', async () => {
    const { endpoint } = await stepping()
    const peer = await begin(endpoint)
    const call = await peer.post(STEPS)
    const first = await call.event(() => true)
    expect(first.id).toBeDefined()
    expect(first.data).toBe('')
  })

  it('goes on with the call, and sends exactly what came after the event, in order', async () => {
    const { endpoint, steps } = await stepping()
    const peer = await begin(endpoint)
    const call = await peer.post(STEPS)
    const last = await call.event(steppedTo(1))
    call.leave()
    await until(() =>
      endpoint.audited.some((e) => e.event === 'request' && e.method === 'tools/call'),
    )
    steps.next()
    const resumed = await peer.listen(lastSeen(last.id))
    expect(resumed.status).toBe(200)
    await resumed.event(steppedTo(2))
    steps.next()
    await resumed.event(steppedTo(3))
    steps.next()
    await resumed.event(isAnswerTo('steps'))
    await resumed.ended
    expect(steps.stopped).toEqual([])
    const seen = resumed.events.map(
      ({ json }) => json?.params?.progress ?? json?.params?.data ?? json?.id,
    )
    expect(seen).toEqual(['step 1', 2, 'step 2', 3, 'step 3', 'steps'])
    expect(endpoint.outcomes().map(({ outcome }) => outcome)).toEqual(['ok'])
  })

  it('hands over a result that nobody was there for', async () => {
    const { endpoint, steps } = await stepping()
    const peer = await begin(endpoint)
    const call = await peer.post(STEPS)
    const last = await call.event(steppedTo(1))
    call.leave()
    steps.finish()
    await until(() => endpoint.outcomes().length === 1)
    const resumed = await peer.listen(lastSeen(last.id))
    expect((await resumed.event(isAnswerTo('steps'))).json.result.structuredContent).toEqual({
      said: 'done',
    })
    await resumed.ended
  })

  it('keeps what was said to a client that did not listen', async () => {
    const { endpoint } = await stepping()
    const peer = await begin(endpoint)
    const listener = await peer.listen()
    endpoint.lasting.changes.listsChanged()
    const last = await listener.event(isMethod('notifications/tools/list_changed'))
    await listener.event(isMethod('notifications/prompts/list_changed'))
    listener.leave()
    await until(() => endpoint.audited.some((e) => e.event === 'request' && e.httpMethod === 'GET'))
    endpoint.lasting.changes.listsChanged()
    const resumed = await peer.listen(lastSeen(last.id))
    await until(() => resumed.events.length === 5)
    expect(resumed.events.map(({ json }) => json.method.split('/')[1])).toEqual([
      'resources',
      'prompts',
      'tools',
      'resources',
      'prompts',
    ])
  })
})

describe('threat: replayed Last-Event-ID, what was said to another is said again', () => {
  it('knows no event of another session, of another owner or of the same', async () => {
    const { endpoint } = await stepping()
    const victim = await begin(endpoint, {}, { subject: 'ann' })
    const call = await victim.post(STEPS)
    const { id } = await call.event(steppedTo(1))
    for (const subject of ['bob', 'ann']) {
      const other = await begin(endpoint, {}, { subject })
      const answer = await other.listen(lastSeen(id))
      await answer.ended
      expect(answer.status).toBe(400)
      expect(answer.events).toEqual([])
    }
    expect((await victim.listen(lastSeen(id))).status).toBe(409) // Its stream is still open.
    call.leave()
  })

  it.each([
    ['made up', 'x'],
    ['a name that objects have', '__proto__'],
    ['of a later event', '99999'],
  ])('refuses an id that is %s', async (_name, id) => {
    const { endpoint } = await stepping()
    const answer = await (await begin(endpoint)).listen(lastSeen(id))
    await answer.ended
    expect(answer.status).toBe(400)
    await refused(endpoint, 'handler.other')
  })

  it('does not mix streams', async () => {
    const { endpoint, steps } = await stepping()
    const peer = await begin(endpoint)
    const calls = await Promise.all(
      ['a', 'b'].map((id) =>
        peer.post(message('tools/call', { name: 'steps', _meta: { progressToken: id } }, id)),
      ),
    )
    const [last] = await Promise.all(calls.map((call) => call.event(steppedTo(1))))
    for (const call of calls) call.leave()
    await until(
      () =>
        endpoint.audited.filter((e) => e.event === 'request' && e.method === 'tools/call')
          .length === 2,
    )
    steps.finish()
    await until(() => endpoint.outcomes().length === 2)
    const resumed = await peer.listen(lastSeen(last?.id))
    await resumed.ended
    const tokens = resumed.events.map(({ json }) => json?.params?.progressToken ?? json?.id)
    expect(new Set(tokens.filter((token) => token !== undefined))).toEqual(new Set(['a']))
  })

  it('refuses what is too old to be complete, rather than leave something out', async () => {
    const { endpoint, steps } = await stepping({ sessions: { eventsPerStream: 2 } })
    const peer = await begin(endpoint)
    const call = await peer.post(STEPS)
    const last = await call.event(steppedTo(1))
    call.leave()
    steps.finish()
    await until(() => endpoint.outcomes().length === 1)
    expect((await peer.listen(lastSeen(last.id))).status).toBe(400)
  })
})
