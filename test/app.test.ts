import { describe, expect, it } from 'vitest'
import type { DenyReason } from '../src/errors.ts'
import { type TestApp, type TestAppOptions, type TestRequest, testApp, toolCall } from './app.ts'
import { expectRefused, expectServed } from './expect-refused.ts'

const document = { name: 'a.txt', text: 'words' }
const batch = (count: number): object =>
  toolCall('process_documents', { documents: Array.from({ length: count }, () => document) })

const PREFLIGHT = {
  method: 'OPTIONS',
  headers: { origin: 'http://localhost:5173', 'access-control-request-method': 'POST' },
} as const

/** What one control, and only that one, refuses in an otherwise good call. */
const FAULTS: readonly (readonly [DenyReason, number, TestRequest])[] = [
  ['wire-guard.http-version', 400, { httpVersion: '1.0' }],
  // A live key is let past the limit of its address.
  ['address-limit.exceeded', 429, { headers: { authorization: null } }],
  ['host-guard.not-allowed', 421, { headers: { host: 'evil.example' } }],
  ['origin-guard.not-allowed', 403, { headers: { origin: 'https://evil.example' } }],
  ['route.not-found', 404, { target: '/admin' }],
  ['authenticate.rejected', 401, { headers: { authorization: 'Bearer x' } }],
  ['principal-limit.rate', 429, {}],
  ['parse-message.not-json', 400, { body: '{' }],
]

/** Both faults in one request. */
function both(one: TestRequest, other: TestRequest): TestRequest {
  return { ...one, ...other, headers: { ...one.headers, ...other.headers } }
}

/** For what leaves no trace in limits. */
const roomy = testApp()

/** An app in which each of these faults is one: limits among them are used up. */
async function appFor(...reasons: readonly DenyReason[]): Promise<TestApp> {
  const isAddress = reasons.includes('address-limit.exceeded')
  const isPrincipal = reasons.includes('principal-limit.rate')
  if (!isAddress && !isPrincipal) return roomy
  const app = testApp({
    policies: ({ limits, ...shipped }) => ({
      ...shipped,
      limits: {
        ...limits,
        address: { ...limits.address, requestsPerMinute: isAddress ? 1 : 600 },
        principal: { ...limits.principal, requestsPerMinute: isPrincipal ? 1 : 1200 },
      },
    }),
  })
  expectServed(await app.send())
  return app
}

describe('threat: a control that moved, a request is looked at before it is bounded or proven', () => {
  const pairs = FAULTS.flatMap((first, index) =>
    FAULTS.slice(index + 1).map((second) => [first[0], second[0], first, second] as const),
  )

  it.each(pairs)('%s comes before %s', async (_one, _other, first, second) => {
    const [reason, status, request] = first
    const [laterReason, laterStatus, later] = second
    const app = await appFor(reason, laterReason)
    expectRefused(app, await app.send(both(request, later)), status, reason)

    // The twin: without the first fault the second one is found.
    const other = await appFor(laterReason)
    expectRefused(other, await other.send(later), laterStatus, laterReason)
  })
})

describe('contract: the way of a request', () => {
  it('passes the controls in this order, and nothing else', () => {
    const [document, sameDocument] = ['', '']
    expect(testApp().order).toEqual([
      'requestId',
      'securityHeaders',
      'audit',
      'wireGuard',
      'overload',
      'addressLimit',
      'hostGuard',
      'originGuard',
      'cors',
      'route',
      document,
      sameDocument,
      'authenticate',
      'credentialWatch',
      'principalLimit',
      'sessionGuard',
      'connect', // GET
      'connect', // DELETE
      'open',
      'parseMessage',
      'answer',
      'principalCalls',
      'telemetry',
      'protocolGuard',
      'authorize',
      'taskGuard',
      'callLimit',
      'serve',
      'handle',
    ])
  })
})

describe('threat: answers without their frame, a refusal is lost, cached or cannot be found again', () => {
  it('gives an answer its id and headers even when nothing can be put on record', async () => {
    const app = testApp({ trailReady: () => false, tls: true })
    const response = await app.send({ httpVersion: '1.0', target: '*' })
    expectRefused(app, response, 503, 'audit.sink-broken')
    expect(response.headers.get('strict-transport-security')).toBe('max-age=31536000')
  })

  it.each(FAULTS)('gives %s its record, id and headers', async (reason, status, request) => {
    const app = await appFor(reason)
    expectRefused(app, await app.send(request), status, reason)
  })
})

describe('threat: a page of another origin, it reaches what only callers of this server may', () => {
  it('never reaches a strategy, with a live key or without', async () => {
    const app = testApp()
    const headers = { origin: 'https://evil.example' }
    expectRefused(app, await app.send({ headers }), 403, 'origin-guard.not-allowed')
    expect(app.verified()).toBe(0)
    expectServed(await app.send())
    expect(app.verified()).toBe(1)
  })

  it('is refused its preflight', async () => {
    const app = testApp()
    const foreign = both(PREFLIGHT, { headers: { origin: 'https://evil.example' } })
    expectRefused(app, await app.send(foreign), 403, 'origin-guard.not-allowed')
    expect((await app.send(PREFLIGHT)).status).toBe(204)
  })
})

describe('contract: preflights and public documents come before routes and credentials', () => {
  const stranger = { headers: { authorization: null } }
  const DOCUMENT = { method: 'GET', target: '/.well-known/oauth-protected-resource' }

  it.each(['/mcp', '/admin', '/.well-known/oauth-protected-resource'])(
    'answers a preflight for %s, whose method no route has',
    async (target) => {
      const app = testApp()
      const response = await app.send(both({ ...PREFLIGHT, target }, stranger))
      expect(response).toMatchObject({ status: 204, reached: 0 })
      expect(app.verified()).toBe(0)
    },
  )

  it('limits preflights by address', async () => {
    const app = await appFor('address-limit.exceeded')
    const response = await app.send(both(PREFLIGHT, stranger))
    expectRefused(app, response, 429, 'address-limit.exceeded')
  })

  it('routes before it answers with a document', async () => {
    const app = testApp()
    const response = await app.send(both({ ...DOCUMENT, target: `${DOCUMENT.target}?x` }, stranger))
    expectRefused(app, response, 400, 'route.query')
  })

  it('answers with a document before it asks for a credential', async () => {
    const app = testApp()
    expect((await app.send(both(DOCUMENT, stranger))).status).toBe(200)
    const bad = { headers: { authorization: 'Bearer x' } }
    expect((await app.send(both(DOCUMENT, bad))).status).toBe(200)
    expect(app.verified()).toBe(0)
  })
})

describe('threat: bytes of strangers, memory is used for a body nobody has asked for', () => {
  it.each(FAULTS.filter(([reason]) => reason !== 'parse-message.not-json'))(
    'reads no body when it refuses with %s',
    async (reason, _status, request) => {
      const app = await appFor(reason)
      const response = await app.send(request)
      expect(response.status).not.toBe(200)
      expect(response.bodyRead).toBe(false)
    },
  )

  it('reads the body of a caller', async () => {
    const response = await testApp().send()
    expectServed(response)
    expect(response.bodyRead).toBe(true)
  })
})

describe('threat: authorization out of place, it decides on nothing or after the fact', () => {
  const onePerMinute: TestAppOptions['policies'] = (shipped) => {
    const { process_documents: entry, ...tools } = shipped.access.tools
    if (entry === undefined) throw new Error('process_documents has no entry')
    const limited = { ...entry, callsPerMinutePerPrincipal: 1 }
    return {
      ...shipped,
      access: { ...shipped.access, tools: { ...tools, process_documents: limited } },
    }
  }

  it('parses the message before it decides', async () => {
    const app = testApp({ scopes: [] })
    expectRefused(app, await app.send({ body: '{' }), 400, 'parse-message.not-json')
    const whole = await app.send()
    expectRefused(app, whole, 403, 'authorize.missing-scope', { id: 1, also: ['decision'] })
  })

  it('decides before it counts a call, and counts what it allowed alone', async () => {
    const app = testApp({ policies: onePerMinute })
    const denied = { id: 1, also: ['decision'] } as const
    for (let count = 0; count < 3; count += 1) {
      expectRefused(app, await app.send({ body: batch(51) }), 403, 'authorize.condition', denied)
    }
    expectServed(await app.send({ body: batch(1) }))
    expectRefused(app, await app.send({ body: batch(51) }), 403, 'authorize.condition', denied)
    const limited = await app.send({ body: batch(1) })
    expectRefused(app, limited, 429, 'call-limit.rate', { id: 1, also: ['decision', 'outcome'] })
  })
})
