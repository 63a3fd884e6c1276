import { describe, expect, it } from 'vitest'
import { META, type TestApp, type TestAppOptions, type TestRequest, testApp } from '../app.ts'
import { expectRefused, expectServed } from '../expect-refused.ts'
import { keyFile } from '../key-file.ts'

function limitedApp(
  limits: { requestsPerMinute?: number; concurrentCalls?: number },
  options: TestAppOptions = {},
): TestApp {
  return testApp({
    ...options,
    policies: (shipped) => ({
      ...shipped,
      limits: { ...shipped.limits, principal: { ...shipped.limits.principal, ...limits } },
    }),
  })
}

/** Takes no slot for calls, so it holds its own until its answer has ended. */
const notification = {
  body: { jsonrpc: '2.0', method: 'notifications/cancelled', params: { _meta: META } },
}

const withKey = (key: string | undefined): TestRequest => ({
  headers: { authorization: `Bearer ${key}` },
})

describe('threat: a greedy caller, one principal takes the capacity of all the others', () => {
  it('refuses one request too many', async () => {
    const app = limitedApp({ requestsPerMinute: 2 })
    expectServed(await app.send())
    expectServed(await app.send())
    const response = await app.send()

    expectRefused(app, response, 429, 'principal-limit.rate')
    expect(response.headers.get('retry-after')).toMatch(/^(59|60)$/)
    expect(response.headers.get('ratelimit-policy')).toBe('"principal";q=2;w=60')
    expect(response.headers.get('ratelimit')).toMatch(/^"principal";r=0;t=(59|60)$/)
  })

  it('counts by principal: over all addresses, and over all keys of a subject', async () => {
    const { file, keys } = keyFile({ subject: 'ann' }, { subject: 'ann' }, { subject: 'bob' })
    const app = limitedApp({ requestsPerMinute: 2 }, { env: { MCP_API_KEYS_FILE: file } })
    expectServed(await app.send({ ...withKey(keys[0]), peer: '198.51.100.1' }))
    expectServed(await app.send({ ...withKey(keys[0]), peer: '198.51.100.2' }))
    const rotated = await app.send({ ...withKey(keys[1]), peer: '198.51.100.3' })
    expectRefused(app, rotated, 429, 'principal-limit.rate')
    expectServed(await app.send(withKey(keys[2])))
  })

  it('counts requests that later controls refuse', async () => {
    const app = limitedApp({ requestsPerMinute: 1 })
    expectRefused(app, await app.send({ body: '{' }), 400, 'parse-message.not-json')
    expectRefused(app, await app.send(), 429, 'principal-limit.rate')
  })

  it('serves a principal again after a minute, and not before', async () => {
    let now = 0
    const app = limitedApp({ requestsPerMinute: 1 }, { now: () => now })
    expectServed(await app.send())
    now = 59_999
    expectRefused(app, await app.send(), 429, 'principal-limit.rate')
    now = 60_000
    expectServed(await app.send())
  })
})

describe('threat: requests that do not end, one principal holds everything open', () => {
  it('refuses one too many at the same time unread, and frees a slot when an answer ends', async () => {
    const app = limitedApp({ concurrentCalls: 2 })
    const first = await app.open(notification)
    const second = await app.open(notification)
    expect([first.status, second.status]).toEqual([202, 202])
    const response = await app.send()
    expectRefused(app, response, 429, 'principal-limit.concurrency')
    expect(response.headers.get('retry-after')).toBe('1')
    expect(response.headers.get('ratelimit-policy')).toBe(
      '"principal";q=2;qu="concurrent-requests"',
    )
    expect(response.bodyRead).toBe(false)

    await first.end()
    expectServed(await app.send())
    await second.end()
  })

  it('counts by principal', async () => {
    const { file, keys } = keyFile({}, {})
    const app = limitedApp({ concurrentCalls: 1 }, { env: { MCP_API_KEYS_FILE: file } })
    const held = await app.open({ ...notification, ...withKey(keys[0]) })
    const again = await app.send(withKey(keys[0]))
    expectRefused(app, again, 429, 'principal-limit.concurrency')
    expectServed(await app.send(withKey(keys[1])))
    await held.end()
  })

  it('has the slot of a call back, which has one of its own', async () => {
    const app = limitedApp({ concurrentCalls: 1 })
    const call = await app.open()
    expect((await app.send(notification)).status).toBe(202)
    await call.end()
  })

  it.each<[string, TestRequest]>([
    ['a refusal', { body: '{' }],
    ['a call that fails', { body: { jsonrpc: '2.0', id: 1, method: 'nothing' } }],
    ['a body that does not arrive', { body: '{', leaves: 'in-body' }],
    ['a client that left before it was taken', { leaves: 'at-verification' }],
    ['a client that left later', { leaves: 'at-decision' }],
  ])('frees the slot after %s', async (_name, request) => {
    const app = limitedApp({ concurrentCalls: 1 })
    await app.send(request)
    expectServed(await app.send())
  })
})
