import { describe, expect, it } from 'vitest'
import { HOST, testApp } from '../app.ts'
import { expectRefused, expectServed } from '../expect-refused.ts'

describe('threat: an unrecorded request, something happens that nobody finds out about', () => {
  const app = testApp()

  it.each([
    ['a call', {}, 200],
    ['no credential', { headers: { authorization: null } }, 401],
    ['another host', { headers: { host: 'evil.example' } }, 421],
    ['another page', { headers: { origin: 'https://evil.example' } }, 403],
    ['another path', { target: '/admin' }, 404],
    ['another method', { method: 'DELETE' }, 405],
    ['a query', { target: '/mcp?key=canary' }, 400],
    ['a body that is not JSON', { body: '{' }, 400],
    ['a document', { method: 'GET', target: '/.well-known/oauth-protected-resource' }, 200],
    [
      'a preflight',
      {
        method: 'OPTIONS',
        headers: { origin: 'http://localhost:5173', 'access-control-request-method': 'POST' },
      },
      204,
    ],
  ])('records %s, once', async (_name, request, status) => {
    const { events, headers } = await app.send(request)
    const records = events.filter(({ event }) => event === 'request')
    expect(records).toEqual([
      expect.objectContaining({
        requestId: headers.get('x-request-id'),
        address: '203.0.113.7',
        status,
        durationMs: expect.any(Number),
      }),
    ])
    expect(JSON.stringify(events)).not.toContain('canary')
  })

  it('records who called, what, and how long it took', async () => {
    const startedAt = performance.now()
    const { events } = await app.send()
    const [record] = events.slice(-1)
    if (record?.event !== 'request') throw new Error('The last record is not that of the request')
    expect(record.durationMs).toBeGreaterThan(0)
    expect(record.durationMs).toBeLessThan(performance.now() - startedAt)
    expect(events.at(-1)).toMatchObject({
      event: 'request',
      httpMethod: 'POST',
      path: '/mcp',
      method: 'tools/call',
      principal: { kind: 'api-key', subject: 'developer' },
      reason: undefined,
    })
  })

  it('records a client that left before there was an answer, as 499', async () => {
    const { events, reached } = await app.send({ leaves: 'at-verification' })
    expect(reached).toBe(0)
    expect(events).toEqual([
      expect.objectContaining({ event: 'request', status: 499, reason: undefined }),
    ])
  })

  it('gives an allowed call that never began an end all the same', async () => {
    const { events } = await app.send({ leaves: 'at-decision' })
    expect(events.map(({ event }) => event)).toEqual(['decision', 'request', 'outcome'])
    expect(events.at(-1)).toMatchObject({ outcome: expect.stringMatching(/^(not-run|cancelled)$/) })
  })

  it('says which limit was met', async () => {
    const limited = testApp({
      policies: (shipped) => ({
        ...shipped,
        limits: { ...shipped.limits, address: { ...shipped.limits.address, requestsPerMinute: 1 } },
      }),
    })
    const request = { headers: { authorization: null } }
    await limited.send(request)
    const { events } = await limited.send(request)
    expect(events).toEqual([
      expect.objectContaining({ event: 'request', status: 429 }),
      expect.objectContaining({
        event: 'throttle',
        policy: 'address',
        reason: 'address-limit.exceeded',
      }),
    ])
  })

  it.each([
    ['', undefined],
    ['00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01', true],
    ['00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01', undefined],
    ['00-00000000000000000000000000000000-00f067aa0ba902b7-01', undefined],
    ['00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01', undefined],
    ['00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-extra', undefined],
    ['constructor', undefined],
  ])('links a well-formed traceparent alone: %j', async (traceparent, isLinked) => {
    const { events } = await app.send({ headers: { traceparent } })
    expect(events.at(-1)).toMatchObject({
      trace: isLinked && {
        traceId: '4bf92f3577b34da6a3ce929d0e0e4736',
        spanId: '00f067aa0ba902b7',
      },
    })
  })
})

describe('threat: a broken audit sink, calls run that leave no trace', () => {
  it.each([
    ['a call', {}],
    ['no credential', { headers: { authorization: null } }],
    ['a document', { method: 'GET', target: '/.well-known/oauth-protected-resource' }],
    [
      'a preflight',
      { method: 'OPTIONS', headers: { host: HOST, origin: 'http://localhost:5173' } },
    ],
  ])('serves nothing while the sink is broken: %s', async (_name, request) => {
    let ready = false
    const app = testApp({ trailReady: () => ready })
    const response = await app.send(request)

    expectRefused(app, response, 503, 'audit.sink-broken')
    expect(response.headers.get('retry-after')).toBe('5')
    expect(response.bodyRead).toBe(false)
    expect(app.verified()).toBe(0)

    ready = true
    expectServed(await app.send())
  })
})
