import { describe, expect, it } from 'vitest'
import type { AccessEntry, Policies } from '../../src/policy.ts'
import { META, type TestApp, type TestAppOptions, testApp, toolCall } from '../app.ts'
import { expectRefused, expectServed } from '../expect-refused.ts'
import { keyFile } from '../key-file.ts'

type Limits = Partial<
  Pick<AccessEntry, 'callsPerMinutePerPrincipal' | 'concurrentCallsPerPrincipal'>
>

/** The shipped policies, but for the limits of `echo`. */
function limitedApp(limits: Limits, options: TestAppOptions = {}): TestApp {
  return testApp({
    ...options,
    policies: (shipped) => {
      const { echo, ...tools } = shipped.access.tools
      if (echo === undefined) throw new Error('echo has no entry')
      const access = { ...shipped.access, tools: { ...tools, echo: { ...echo, ...limits } } }
      return { ...shipped, access }
    },
  })
}

const bearer = (key: string | undefined) => ({ authorization: `Bearer ${key}` })
/** What a call leaves that was allowed and then met a limit. */
const ALLOWED = { id: 1, also: ['decision', 'outcome'] } as const

describe('threat: a busy tool, one caller keeps it from all the others', () => {
  it('refuses one call too many in a minute', async () => {
    let now = 0
    const app = limitedApp({ callsPerMinutePerPrincipal: 2 }, { now: () => now })
    expectServed(await app.send())
    expectServed(await app.send())
    now = 59_999
    const response = await app.send()

    expectRefused(app, response, 429, 'call-limit.rate', ALLOWED)
    expect(response.headers.get('retry-after')).toBe('1')
    expect(response.headers.get('ratelimit-policy')).toBe('"tool";q=2;w=60')
    expect(response.headers.get('ratelimit')).toBe('"tool";r=0;t=1')

    now = 60_000
    expectServed(await app.send())
  })

  it('counts each tool by itself', async () => {
    const app = limitedApp({ callsPerMinutePerPrincipal: 1 })
    expectServed(await app.send())
    for (let count = 0; count < 3; count += 1) {
      expectServed(await app.send({ body: toolCall('whoami', {}) }))
    }
    expectRefused(app, await app.send(), 429, 'call-limit.rate', ALLOWED)
  })

  it('counts each principal by itself', async () => {
    const { file, keys } = keyFile({ subject: 'ann' }, { subject: 'ann' }, { subject: 'bob' })
    const env = { MCP_API_KEYS_FILE: file }
    const app = limitedApp({ callsPerMinutePerPrincipal: 1 }, { env })
    expectServed(await app.send({ headers: bearer(keys[0]) }))
    const rotated = await app.send({ headers: bearer(keys[1]) })
    expectRefused(app, rotated, 429, 'call-limit.rate', ALLOWED)
    expectServed(await app.send({ headers: bearer(keys[2]) }))
  })

  it('counts calls of every era and from every address together', async () => {
    const app = limitedApp({ callsPerMinutePerPrincipal: 2 })
    expectServed(await app.send())
    expectServed(await app.send({ peer: '198.51.100.9' }))
    const headers = { 'mcp-protocol-version': '2025-11-25', 'mcp-method': null, 'mcp-name': null }
    const params = { name: 'echo', arguments: { text: 'x' } }
    const body = { jsonrpc: '2.0', id: 1, method: 'tools/call', params }
    expectRefused(app, await app.send({ body, headers }), 429, 'call-limit.rate', ALLOWED)
  })

  it('refuses one call too many at the same time, and frees a slot when an answer ends', async () => {
    const app = limitedApp({ concurrentCallsPerPrincipal: 1 })
    const held = await app.open()
    expect(held.status).toBe(200)
    const response = await app.send()
    expectRefused(app, response, 429, 'call-limit.concurrency', ALLOWED)
    expect(response.headers.get('retry-after')).toBe('1')
    expect(response.headers.get('ratelimit-policy')).toBe('"tool";q=1;qu="concurrent-requests"')
    expectServed(await app.send({ body: toolCall('whoami', {}) }))

    await held.end()
    expectServed(await app.send())
  })

  it.each([
    ['a client that left before it was taken', { leaves: 'at-decision' }],
    ['arguments that do not parse', { body: toolCall('echo', { text: 1 }) }],
  ] as const)('frees the slot after %s', async (_name, request) => {
    const app = limitedApp({ concurrentCallsPerPrincipal: 1 })
    await app.send(request)
    expectServed(await app.send())
  })

  it('has no limit besides that of the principal where policy names none', async () => {
    const app = limitedApp({})
    const held = await Promise.all(Array.from({ length: 10 }, () => app.open()))
    expectServed(await app.send())
    for (const answer of held) await answer.end()
  })
})

describe('threat: streams that never end, one caller or all of them together hold every one', () => {
  const body = {
    jsonrpc: '2.0',
    id: 1,
    method: 'subscriptions/listen',
    params: { notifications: {}, _meta: META },
  }
  const limits =
    (openStreams: number, streams: number) =>
    (shipped: Policies): Policies => ({
      ...shipped,
      limits: {
        ...shipped.limits,
        streams,
        principal: { ...shipped.limits.principal, openStreams },
      },
    })

  it('refuses a principal one stream too many, and frees it when the client leaves', async () => {
    const app = testApp({ policies: limits(2, 100) })
    const first = await app.open({ body })
    const second = await app.open({ body })
    expect([first.status, second.status]).toEqual([200, 200])
    const response = await app.send({ body })
    expectRefused(app, response, 429, 'call-limit.open-streams', { id: 1 })
    expect(response.headers.get('retry-after')).toBe('1')
    expect(response.headers.get('ratelimit-policy')).toBe(
      '"principal";q=2;qu="concurrent-requests"',
    )
    expectServed(await app.send())

    await first.leave()
    const third = await app.open({ body })
    expect(third.status).toBe(200)
    await second.leave()
    await third.leave()
  })

  it('holds no slot of a call: streams leave all of them free', async () => {
    const policies = (shipped: Policies): Policies => {
      const { limits: all } = limits(3, 100)(shipped)
      return { ...shipped, limits: { ...all, principal: { ...all.principal, concurrentCalls: 1 } } }
    }
    const app = testApp({ policies })
    const streams = [await app.open({ body }), await app.open({ body }), await app.open({ body })]
    expect(streams.map(({ status }) => status)).toEqual([200, 200, 200])
    const call = await app.open()
    const refused = await app.send()
    expectRefused(app, refused, 429, 'principal-calls.concurrency', { id: 1 })
    await call.end()
    for (const stream of streams) await stream.leave()

    // What a stream gave back is not given back again when it ends.
    const next = await app.open()
    expectRefused(app, await app.send(), 429, 'principal-calls.concurrency', { id: 1 })
    await next.end()
  })

  it('frees what a refused stream had taken', async () => {
    const app = testApp({ policies: limits(1, 1) })
    const wrong = { ...body, params: { notifications: 'all', _meta: META } }
    for (let count = 0; count < 3; count += 1) await app.send({ body: wrong })
    const stream = await app.open({ body })
    expect(stream.status).toBe(200)
    await stream.leave()
  })

  it('refuses everybody one stream too many, as a fault of ours', async () => {
    const { file, keys } = keyFile({}, {})
    const app = testApp({ env: { MCP_API_KEYS_FILE: file }, policies: limits(2, 1) })
    const held = await app.open({ body, headers: bearer(keys[0]) })
    expect(held.status).toBe(200)
    const response = await app.send({ body, headers: bearer(keys[1]) })
    expectRefused(app, response, 503, 'call-limit.streams', { id: 1 })
    expect(response.headers.get('retry-after')).toBe('1')

    await held.leave()
    const next = await app.open({ body, headers: bearer(keys[1]) })
    expect(next.status).toBe(200)
    await next.leave()
  })
})

describe('threat: a stream that names a million resources, all of it stays in memory with the stream', () => {
  const listen = (notifications: object): object => ({
    jsonrpc: '2.0',
    id: 1,
    method: 'subscriptions/listen',
    params: { notifications, _meta: META },
  })
  const named = (count: number): object =>
    listen({ resourceSubscriptions: Array.from({ length: count }, (_, id) => `none://${id}`) })
  /** A message of exactly so many bytes. */
  const sized = (bytes: number): object => {
    const of = (text: string): object => listen({ resourceSubscriptions: [text] })
    const rest = Buffer.byteLength(JSON.stringify(of('')))
    return of('x'.repeat(bytes - rest))
  }

  it.each([
    ['100 resources', named(100), 200],
    ['101 resources', named(101), 400],
    ['10,000 resources', named(10_000), 400],
    ['16 KiB', sized(16_384), 200],
    ['one byte more', sized(16_385), 400],
  ])('answers a stream of %s', async (_name, body, status) => {
    const app = testApp()
    if (status === 400) {
      const response = await app.send({ body })
      return expectRefused(app, response, 400, 'call-limit.subscriptions', { id: 1 })
    }
    const stream = await app.open({ body })
    expect([stream.status, app.reached()]).toEqual([200, 1])
    await stream.leave()
  })
})
