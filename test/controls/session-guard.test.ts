// optional: legacy-sessions
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { DENIALS, type DenyReason } from '../../src/errors.ts'
import type { Policies } from '../../src/policy.ts'
import { authPolicy } from '../../src/policy-schemas.ts'
import { type Issuer, jws, startIssuer } from '../identity/issuer.ts'
import type { Endpoint } from '../mcp/endpoint.ts'
import {
  begin,
  initialize,
  isAnswerTo,
  message,
  type Peer,
  type Stream,
  startSessions,
  stream,
  until,
} from '../mcp/sessions/peer.ts'
import { call, type SendOptions, send } from '../mcp/wire.ts'

const ECHO = message('tools/call', { name: 'echo', arguments: { text: 'hello' } })
const UNKNOWN = 'A'.repeat(43)

let issuer: Issuer
let endpoint: Endpoint
let victim: Peer
beforeAll(async () => {
  issuer = await startIssuer()
  endpoint = await startSessions({ policies: trusting, sessions: { perPrincipal: 100 } })
  victim = await begin(endpoint, {}, { subject: 'ann' })
})
afterAll(async () => {
  await endpoint[Symbol.asyncDispose]()
  await issuer.down()
})

/** Policies with the issuer. */
function trusting(shipped: Policies): Policies {
  const trusted = { issuer: issuer.url, audiences: ['test'], why: 'the issuer of the test' }
  const { issuers } = authPolicy('development').parse({ ...shipped.auth, issuers: [trusted] })
  return { ...shipped, auth: { ...shipped.auth, issuers } }
}

function token(claims: Readonly<Record<string, unknown>>): SendOptions {
  const { key } = issuer
  const now = Math.floor(Date.now() / 1000)
  const all = {
    iss: issuer.url,
    aud: 'test',
    scope: 'mcp:use',
    iat: now,
    exp: now + 600,
    ...claims,
  }
  const text = jws(key, { alg: key.alg, kid: key.kid, typ: 'at+jwt' }, all)
  return { headers: { authorization: `Bearer ${text}` } }
}

/** Everything that a session id lets do. */
const WAYS: readonly (readonly [string, string, unknown])[] = [
  ['calls a tool', 'POST', ECHO],
  ['answers a question', 'POST', { jsonrpc: '2.0', id: 0, result: { action: 'accept' } }],
  ['sends a notification', 'POST', message('notifications/cancelled', { requestId: 1 }, null)],
  ['begins again', 'POST', initialize()],
  ['opens the stream', 'GET', ''],
  ['ends it', 'DELETE', ''],
]

function withId(
  id: string,
  method: string,
  sent: unknown,
  options: SendOptions = {},
): Promise<Stream> {
  const headers = { 'mcp-session-id': id, ...options.headers }
  return stream(endpoint, sent, { ...options, method, headers })
}

/** @returns the body of the refusal, without the id of the message */
async function refusedAs(reason: DenyReason, act: () => Promise<Stream>): Promise<unknown> {
  const before = endpoint.audited.length
  const ran = (): number =>
    endpoint.outcomes().filter(({ outcome }) => outcome !== 'not-run').length
  const ranBefore = ran()
  const answer = await act()
  await answer.ended
  const { status } = DENIALS[reason]
  expect(answer.status).toBe(status)
  const requests = (): unknown[] =>
    endpoint.audited.slice(before).filter(({ event }) => event === 'request')
  await until(() => requests().length > 0)
  expect(requests()).toEqual([expect.objectContaining({ status, reason })])
  expect(ran()).toBe(ranBefore)
  return answer.status
}

describe('threat: session hijacking, whoever has the id reads and answers in the place of its owner', () => {
  describe.each([
    ['another principal with the id', () => victim.id, { subject: 'bob' }],
    ['a guessed id', () => UNKNOWN, { subject: 'ann' }],
    ['a prefix of the id', () => victim.id.slice(0, -1), { subject: 'ann' }],
    ['the id and more', () => `${victim.id}A`, { subject: 'ann' }],
    ['the id in another case', () => swapCase(victim.id), { subject: 'ann' }],
    ['an empty id', () => '', { subject: 'ann' }],
    ['a name that objects have', () => 'constructor', { subject: 'ann' }],
  ])('%s', (_name, id, options) => {
    it.each(WAYS)('%s: 404, as if it did not exist', async (_way, method, sent) => {
      await refusedAs('session-guard.not-found', () => withId(id(), method, sent, options))
    })
  })

  it('answers foreign and unknown ids with the same bytes', async () => {
    const texts = []
    for (const [id, subject] of [
      [victim.id, 'bob'],
      [UNKNOWN, 'bob'],
    ] as const) {
      const answer = await send(endpoint, ECHO, {
        era: 'legacy',
        subject,
        headers: { 'mcp-session-id': id },
      })
      texts.push([answer.status, answer.text])
    }
    expect(texts[0]).toEqual(texts[1])
  })

  it('has not ended the session by any of that', async () => {
    const answer = await victim.post(ECHO)
    expect(answer.status).toBe(200)
    expect((await answer.event(isAnswerTo(7))).json.result.structuredContent.text).toBe('hello')
  })

  it('does not take the id for a credential', async () => {
    await refusedAs('authenticate.missing', () =>
      withId(victim.id, 'POST', ECHO, { headers: { authorization: null } }),
    )
  })

  it('gives ids of 256 bits, none twice', async () => {
    const ids = await Promise.all(Array.from({ length: 20 }, () => begin(endpoint)))
    expect(new Set(ids.map(({ id }) => id)).size).toBe(20)
    for (const { id, end } of ids) {
      expect(id).toMatch(/^[\w-]{43}$/)
      await end()
    }
  })
})

describe('threat: a stolen id with another token of the same issuer, a client that its user trusts less', () => {
  const owner = { sub: 'user-1', client_id: 'client-1' }

  it.each([
    ['of another client of the same user', { ...owner, client_id: 'client-2' }],
    ['of another user of the same client', { ...owner, sub: 'user-2' }],
    ['without a client', { sub: 'user-1' }],
  ])('refuses a token %s', async (_name, claims) => {
    const { id, end } = await begin(endpoint, {}, token(owner))
    for (const [, method, sent] of WAYS) {
      await refusedAs('session-guard.not-found', () => withId(id, method, sent, token(claims)))
    }
    expect((await end()).status).toBe(204)
  })

  it('lets the next token of the same owner through', async () => {
    const { post, end } = await begin(endpoint, {}, token({ ...owner, jti: 'first' }))
    const answer = await post(ECHO, token({ ...owner, jti: 'second' }))
    expect((await answer.event(isAnswerTo(7))).json.result.isError).not.toBe(true)
    await end()
  })

  it.each(WAYS)(
    'refuses a token of the owner without the base scope: %s',
    async (_way, method, sent) => {
      const { id, end } = await begin(endpoint, {}, token(owner))
      const less = token({ ...owner, scope: 'reports:read' })
      await refusedAs('authorize.missing-scope', () => withId(id, method, sent, less))
      await end()
    },
  )
})

describe('threat: session fixation, an attacker knows the id before its victim uses it', () => {
  it('begins nothing under an id that the client brings', async () => {
    await refusedAs('session-guard.not-found', () => withId(UNKNOWN, 'POST', initialize()))
  })

  it('does not begin again what has begun', async () => {
    await refusedAs('session-guard.initialized', () => withId(victim.id, 'POST', initialize()))
  })
})

describe('threat: a flood of initialize, no room is left for anybody', () => {
  it('bounds the sessions of a principal and of all, and ends none that lives', async () => {
    const crowded = await startSessions({ sessions: { perPrincipal: 2, total: 3 } })
    onTestFinished(() => crowded[Symbol.asyncDispose]())
    const first = await begin(crowded)
    await begin(crowded)

    const third = await stream(crowded, initialize())
    expect(third.status).toBe(429)
    expect(third.headers.get('retry-after')).not.toBeNull()
    expect(third.headers.get('ratelimit-policy')).toMatch(/^"principal";q=2;/)
    await begin(crowded, {}, { subject: 'bob' })
    const fourth = await stream(crowded, initialize(), { subject: 'caller-1' })
    expect(fourth.status).toBe(503)
    expect(fourth.headers.get('retry-after')).toBe('5')
    const reasons = (): unknown[] =>
      crowded.audited.flatMap((e) => (e.event === 'request' && e.reason ? [e.reason] : []))
    await until(() => reasons().length === 2)
    expect(reasons()).toEqual(['session-guard.per-principal', 'session-guard.total'])

    expect((await first.post(ECHO)).status).toBe(200)
    expect((await first.end()).status).toBe(204)
    expect((await stream(crowded, initialize(), { subject: 'caller-1' })).status).toBe(200)
  })

  it('takes no place for an initialize that is refused', async () => {
    const small = await startSessions({ sessions: { perPrincipal: 1 } })
    onTestFinished(() => small[Symbol.asyncDispose]())
    for (const headers of [{ accept: 'text/html' }, { accept: 'application/json' }]) {
      const refused = await stream(small, initialize(), { headers })
      expect(refused.status).toBe(406)
      expect(refused.headers.get('mcp-session-id')).toBeNull()
    }
    const malformed = await stream(small, message('initialize', { protocolVersion: 1 }))
    expect(malformed.headers.get('mcp-session-id')).toBeNull()
    expect((await stream(small, initialize())).status).toBe(200)
  })
})

describe('contract: requests of 2025 clients belong to a session', () => {
  it.each([
    ['a call', 'POST', ECHO],
    ['a notification', 'POST', message('notifications/initialized', {}, null)],
    ['a stream', 'GET', ''],
    ['the end', 'DELETE', ''],
  ])('refuses %s without one', async (_name, method, sent) => {
    await refusedAs('session-guard.missing', () => stream(endpoint, sent, { method }))
  })

  it('refuses the answer to a question without one', async () => {
    const reply = { jsonrpc: '2.0', id: 0, result: {} }
    await refusedAs('parse-message.not-one-message', () => stream(endpoint, reply))
  })

  it('refuses a request id that is in use', async () => {
    const before = endpoint.outcomes().length
    const { post, end } = await begin(endpoint)
    const documents = Array.from({ length: 50 }, (_, at) => ({
      name: `${at}`,
      text: 'x'.repeat(9000),
    }))
    const long = message('tools/call', { name: 'process_documents', arguments: { documents } })
    const [first, second] = await Promise.all([post(long), post(long)])
    expect([first.status, second.status].sort()).toEqual([200, 400])
    await end()
    await until(() => endpoint.outcomes().length === before + 2)
    expect(endpoint.outcomes().slice(before)).toContainEqual(
      expect.objectContaining({ outcome: 'not-run' }),
    )
  })

  it('does not answer 404 for an unknown method: the client would give its session up', async () => {
    await refusedAs('session-guard.unknown-method', () => victim.post(message('tools/nothing')))
  })

  it.each([
    ['POST', ECHO],
    ['GET', ''],
    ['DELETE', ''],
  ])('refuses a version that is not served there: %s', async (method, sent) => {
    for (const version of ['2024-11-05', '2023-01-01', 'x']) {
      await refusedAs('protocol-guard.unsupported-version', () =>
        withId(victim.id, method, sent, { headers: { 'mcp-protocol-version': version } }),
      )
    }
  })

  it('ignores an id that comes with a request of 2026-07-28', async () => {
    const answer = await send(endpoint, call('modern', 'echo', { text: 'hi' }), {
      headers: { 'mcp-session-id': UNKNOWN },
    })
    expect(answer.status).toBe(200)
    expect(answer.headers.get('mcp-session-id')).toBeNull()
    expect(answer.json.result.structuredContent).toEqual({ text: 'hi' })
  })
})

function swapCase(text: string): string {
  const lower = text.toLowerCase()
  return lower === text ? text.toUpperCase() : lower
}
