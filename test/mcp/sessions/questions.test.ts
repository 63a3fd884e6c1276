// optional: legacy-sessions
import { describe, expect, it, onTestFinished } from 'vitest'
import type { Endpoint } from '../endpoint.ts'
import {
  begin,
  isAnswerTo,
  isMethod,
  message,
  type Peer,
  type SessionsOptions,
  startSessions,
  until,
} from './peer.ts'
import { sessionTools } from './tools.ts'

const ASK = message('tools/call', { name: 'ask' }, 'asking')
const asks = isMethod('elicitation/create')

async function asking(
  capabilities: object = { elicitation: {} },
  timeoutSeconds = 60,
  limits: SessionsOptions['limits'] = {},
): Promise<{ endpoint: Endpoint; peer: Peer }> {
  const { tools } = sessionTools()
  const endpoint = await startSessions({ catalog: { tools }, access: { timeoutSeconds }, limits })
  onTestFinished(() => endpoint[Symbol.asyncDispose]())
  return { endpoint, peer: await begin(endpoint, capabilities) }
}

function answer(
  id: unknown,
  result: object = { action: 'accept', content: { confirm: true } },
): object {
  return { jsonrpc: '2.0', id, result }
}

describe('contract: a tool asks the person at the other end while its call runs', () => {
  it.each([
    ['agrees', { action: 'accept', content: { confirm: true } }, 'yes'],
    ['does not', { action: 'accept', content: { confirm: false } }, 'no'],
    ['says something else', { action: 'accept', content: { confirm: 'true' } }, 'no'],
    ['declines', { action: 'decline' }, 'no'],
    ['cancels', { action: 'cancel' }, 'no'],
  ])('hears that the person %s: one decision, one outcome', async (_name, result, said) => {
    const { endpoint, peer } = await asking()
    const call = await peer.post(ASK)
    const { json } = await call.event(asks)
    expect(json.params.message).toBe('Shall I?')
    expect((await peer.post(answer(json.id, result))).status).toBe(202)
    expect((await call.event(isAnswerTo('asking'))).json.result.structuredContent).toEqual({ said })
    await call.ended
    const about = (event: string): unknown[] => endpoint.audited.filter((e) => e.event === event)
    expect(about('decision')).toHaveLength(1)
    expect(endpoint.outcomes().map(({ outcome }) => outcome)).toEqual(['ok'])
  })

  it('hears the answer, and a cancellation, while calls hold every slot of the caller', async () => {
    const { endpoint, peer } = await asking({ elicitation: {} }, 60, { concurrentCalls: 2 })
    const calls = [await peer.post(ASK), await peer.post({ ...ASK, id: 'other' })]
    const [question] = await Promise.all(calls.map((call) => call.event(asks)))
    expect((await peer.post({ ...ASK, id: 'third' })).status).toBe(429)
    expect((await peer.post(answer(question?.json.id))).status).toBe(202)
    const cancel = message('notifications/cancelled', { requestId: 'other' }, null)
    expect((await peer.post(cancel)).status).toBe(202)
    await until(() => endpoint.outcomes().length === 2)
    expect(endpoint.outcomes().map(({ outcome }) => outcome)).toEqual(['ok', 'cancelled'])
    expect((await peer.post(ASK)).status).toBe(200)
  })

  it.each([
    ['nothing', {}],
    ['elicitation by URL alone', { elicitation: { url: {} } }],
    ['something else', { sampling: {}, roots: {} }],
  ])('does not ask a client that declared %s', async (_name, capabilities) => {
    const { peer } = await asking(capabilities)
    const call = await peer.post(ASK)
    const { result } = (await call.event(isAnswerTo('asking'))).json
    expect(result).toMatchObject({
      isError: true,
      content: [{ text: 'This tool needs a client that declares elicitation.' }],
    })
    expect(call.events.some(asks)).toBe(false)
  })

  it.each([
    [
      'an error',
      (id: unknown) => ({ jsonrpc: '2.0', id, error: { code: -32000, message: 'a secret' } }),
    ],
    ['what is no answer', (id: unknown) => answer(id, { action: 'perhaps' })],
  ])('ends the call when the client answers %s, without repeating it', async (_name, reply) => {
    const { endpoint, peer } = await asking()
    const call = await peer.post(ASK)
    const { json } = await call.event(asks)
    expect((await peer.post(reply(json.id))).status).toBe(202)
    const { result } = (await call.event(isAnswerTo('asking'))).json
    expect(result).toMatchObject({
      isError: true,
      content: [{ text: 'The client did not answer.' }],
    })
    expect(endpoint.written()).not.toContain('a secret')
  })

  it('ends the call at its deadline, and tells the client that nobody waits any more', async () => {
    const { endpoint, peer } = await asking({ elicitation: {} }, 1)
    const call = await peer.post(ASK)
    const { json } = await call.event(asks)
    const cancelled = await call.event(isMethod('notifications/cancelled'))
    expect(cancelled.json.params.requestId).toBe(json.id)
    await call.event(isAnswerTo('asking'))
    expect(endpoint.outcomes().map(({ outcome }) => outcome)).toEqual(['timed-out'])
    expect((await peer.post(answer(json.id))).status).toBe(400)
  })
})

describe('threat: an answer that nobody asked for, a caller confirms in advance or for another', () => {
  it.each([
    ['an id that was never used', 99],
    ['the id as a text', '0'],
    ['a name that objects have', 'constructor'],
    ['the id of its own request', 'asking'],
  ])('refuses %s with 400, and asks on', async (_name, id) => {
    const { endpoint, peer } = await asking()
    const call = await peer.post(ASK)
    const { json } = await call.event(asks)
    expect((await peer.post(answer(id))).status).toBe(400)
    await until(() =>
      endpoint.audited.some((e) => e.event === 'request' && e.reason === 'session-guard.unasked'),
    )
    expect((await peer.post(answer(json.id))).status).toBe(202)
    expect((await call.event(isAnswerTo('asking'))).json.result.structuredContent.said).toBe('yes')
  })

  it('takes an answer once', async () => {
    const { peer } = await asking()
    const call = await peer.post(ASK)
    const { json } = await call.event(asks)
    const answers = await Promise.all([peer.post(answer(json.id)), peer.post(answer(json.id))])
    expect(answers.map(({ status }) => status).sort()).toEqual([202, 400])
    await call.ended
  })

  it('takes the answer of the session that was asked, not of another', async () => {
    const { endpoint, peer } = await asking()
    const call = await peer.post(ASK)
    const { json } = await call.event(asks)
    const other = await begin(endpoint, { elicitation: {} })
    expect((await other.post(answer(json.id))).status).toBe(400)
    call.leave()
  })

  it.each([
    ['no result', { jsonrpc: '2.0', id: 0 }],
    ['result and error', { jsonrpc: '2.0', id: 0, result: {}, error: { code: 1, message: '' } }],
    ['a result that is no object', { jsonrpc: '2.0', id: 0, result: 1 }],
    ['an error without a code', { jsonrpc: '2.0', id: 0, error: { message: '' } }],
    ['an id that is null', { jsonrpc: '2.0', id: null, result: {} }],
    ['an id that is too long', { jsonrpc: '2.0', id: 'i'.repeat(257), result: {} }],
    ['another version', { jsonrpc: '1.0', id: 0, result: {} }],
    ['a method as well', { jsonrpc: '2.0', id: 0, method: 'ping', result: {} }],
    ['two of them', [answer(0), answer(0)]],
  ])('refuses %s as no message at all', async (_name, sent) => {
    const { endpoint, peer } = await asking()
    const call = await peer.post(ASK)
    await call.event(asks)
    expect((await peer.post(sent)).status).toBe(400)
    await until(() =>
      endpoint.audited.some(
        (e) => e.event === 'request' && e.reason === 'parse-message.not-one-message',
      ),
    )
    call.leave()
  })
})

describe('threat: questions without end, they wait in memory', () => {
  it('asks one client 16 things at a time and no more', async () => {
    const { peer } = await asking()
    const calls = await Promise.all(
      Array.from({ length: 17 }, (_, id) => peer.post(message('tools/call', { name: 'ask' }, id))),
    )
    const outcomes = await Promise.all(
      calls.map(async (call, id) => {
        const { json } = await call.event((event) => asks(event) || isAnswerTo(id)(event))
        return json.method ?? json.result.isError
      }),
    )
    expect(outcomes.filter((one) => one === 'elicitation/create')).toHaveLength(16)
    expect(outcomes.filter((one) => one === true)).toHaveLength(1)
    for (const call of calls) call.leave()
  })
})

describe('contract: a cancelled call', () => {
  it('stops, is not answered, and does not keep its stream open', async () => {
    const steps = sessionTools()
    const endpoint = await startSessions({ catalog: { tools: steps.tools } })
    onTestFinished(() => endpoint[Symbol.asyncDispose]())
    const peer = await begin(endpoint)
    const call = await peer.post(message('tools/call', { name: 'steps' }, 'steps'))
    await call.event(isMethod('notifications/message'))
    const cancel = message('notifications/cancelled', { requestId: 'steps' }, null)
    expect((await peer.post(cancel)).status).toBe(202)
    await call.ended
    expect(call.events.some(isAnswerTo('steps'))).toBe(false)
    await until(() => steps.stopped.length === 1)
    expect(endpoint.outcomes().map(({ outcome }) => outcome)).toEqual(['cancelled'])
    expect((await peer.post(message('tools/call', { name: 'ask' }, 'steps'))).status).toBe(200)
  })
})
