import { describe, expect, it } from 'vitest'
import { META, type TestApp, type TestAppOptions, type TestRequest, testApp } from '../app.ts'
import { expectRefused, expectServed } from '../expect-refused.ts'
import { keyFile } from '../key-file.ts'

function limitedApp(concurrentCalls: number, options: TestAppOptions = {}): TestApp {
  return testApp({
    ...options,
    policies: ({ limits, ...shipped }) => ({
      ...shipped,
      limits: { ...limits, principal: { ...limits.principal, concurrentCalls } },
    }),
  })
}

const withKey = (key: string | undefined): TestRequest => ({
  headers: { authorization: `Bearer ${key}` },
})

describe('threat: calls that do not end, one principal holds everything open', () => {
  it('refuses one call too many at the same time, and frees a slot when an answer ends', async () => {
    const app = limitedApp(2)
    const first = await app.open()
    const second = await app.open()
    expect([first.status, second.status]).toEqual([200, 200])
    const response = await app.send()
    expectRefused(app, response, 429, 'principal-calls.concurrency', { id: 1 })
    expect(response.headers.get('retry-after')).toBe('1')
    expect(response.headers.get('ratelimit-policy')).toBe(
      '"principal";q=2;qu="concurrent-requests"',
    )

    await first.end()
    expectServed(await app.send())
    await second.end()
  })

  it('counts by principal', async () => {
    const { file, keys } = keyFile({}, {})
    const app = limitedApp(1, { env: { MCP_API_KEYS_FILE: file } })
    const held = await app.open(withKey(keys[0]))
    const again = await app.send(withKey(keys[0]))
    expectRefused(app, again, 429, 'principal-calls.concurrency', { id: 1 })
    expectServed(await app.send(withKey(keys[1])))
    await held.end()
  })

  it.each<[string, TestRequest]>([
    ['a refusal', { body: { jsonrpc: '2.0', id: 1, method: 'nothing', params: { _meta: META } } }],
    ['a call that fails', { body: { jsonrpc: '2.0', id: 1, method: 'nothing' } }],
    ['a client that left', { leaves: 'at-decision' }],
  ])('frees the slot after %s', async (_name, request) => {
    const app = limitedApp(1)
    await app.send(request)
    expectServed(await app.send())
  })
})

describe('threat: a lockout, calls that hold every slot cannot be ended by their caller', () => {
  it('takes notifications while no slot is free', async () => {
    const app = limitedApp(1)
    const call = await app.open()
    const notification = {
      jsonrpc: '2.0',
      method: 'notifications/cancelled',
      params: { _meta: META },
    }
    expect((await app.send({ body: notification })).status).toBe(202)
    await call.end()
  })
})
