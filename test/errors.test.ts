import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, describe, expect, it, vi } from 'vitest'
import { z } from 'zod'
import type { AuditEvent } from '../src/audit/trail.ts'
import { clientAddress } from '../src/client-address.ts'
import { defineResource, defineTool } from '../src/define.ts'
import { DENIALS, Denied, type DenyReason, PROTOCOL_ERRORS } from '../src/errors.ts'
import { publicListener } from '../src/listen.ts'
import { loadPolicies, type Policies } from '../src/policy.ts'
import { memoryStore } from '../src/stores/memory.ts'
import { TASKS_EXTENSION } from '../src/tasks-extension.ts' // optional: tasks
import {
  META,
  PUBLIC_URL,
  type TestAppOptions,
  type TestRequest,
  testApp,
  toolCall,
  type WireHeaders,
} from './app.ts'
import { recordingTrail } from './audit/inspected-trail.ts'
import { temporaryFolder } from './audit/pipe.ts'
import { jws, type Members, signingKey, startIssuer } from './identity/issuer.ts' // optional: oauth
import { proofOf, thumbprint } from './identity/proof.ts' // optional: dpop
import { type EndpointOptions, startEndpoint } from './mcp/endpoint.ts'
import {
  begin,
  initialize,
  message as legacyRequest,
  stream,
  withSessions,
} from './mcp/sessions/peer.ts'
import { call, open, send } from './mcp/wire.ts'
import { connect } from './raw-http.ts'
import { startHost } from './stdio/host.ts'
import { head, post } from './wire.ts'

type Events = readonly AuditEvent[]
/** Makes one request that is refused, and returns what it left in the trail, in order. */
type Produce = () => Promise<Events>
type Kind = AuditEvent['event']

const REQUEST: readonly Kind[] = ['request']
const AUTHN: readonly Kind[] = ['authn.fail', 'request']
const THROTTLE: readonly Kind[] = ['request', 'throttle']
const DENIED: readonly Kind[] = ['decision', 'request']
/** Allowed; then it did not run, or it ran and failed. */
const ENDED: readonly Kind[] = ['decision', 'outcome', 'request']
const ENDED_BY_LIMIT: readonly Kind[] = ['decision', 'outcome', 'request', 'throttle']

const LEGACY = { 'mcp-protocol-version': '2025-11-25' }
const UNREACHABLE = 'http://127.0.0.1:1'
const ID = 'A'.repeat(22)

const message = (method: string, params: object = {}): object => ({
  jsonrpc: '2.0',
  id: 1,
  method,
  params: { ...params, _meta: META },
})
const notification = {
  jsonrpc: '2.0',
  method: 'notifications/cancelled',
  params: { _meta: META },
}
const CAPABILITIES = 'io.modelcontextprotocol/clientCapabilities'
const FOLLOWS = { ...META, [CAPABILITIES]: { extensions: { [TASKS_EXTENSION]: {} } } }
const unknownTask = {
  ...{ jsonrpc: '2.0', id: 1, method: 'tasks/get' },
  params: { taskId: ID, _meta: FOLLOWS },
}
const legacyMessage = (method: string): object => ({ jsonrpc: '2.0', id: 1, method })
const listen = message('subscriptions/listen', { notifications: {} })
const bulk = toolCall('process_documents', {
  documents: Array.from({ length: 51 }, () => ({ name: 'a', text: 'b' })),
})

/** A request with the key of the app but for these headers. */
const withHeaders = (headers: TestRequest['headers'] = {}): TestRequest => ({ headers })
const withBody = (body: TestRequest['body'] & {}): TestRequest => ({ body })
const stranger = withHeaders({ authorization: null })
const guess = withHeaders({ authorization: 'Bearer x' })

/** For what needs no options and leaves no trace in limits. */
const plain = testApp()
afterAll(() => plain.close())

/** @param before requests that came first and whose answers are still open */
function inApp(
  request: TestRequest,
  options?: TestAppOptions,
  ...before: readonly TestRequest[]
): Produce {
  return async () => {
    const app = options === undefined ? plain : testApp(options)
    const held = []
    for (const one of before) held.push(await app.open(one))
    const { events } = await app.send(request)
    for (const one of held) await one.leave()
    if (app !== plain) app.close()
    // The keys of an issuer are news as well, but not of this request.
    return events.filter((event) => 'requestId' in event)
  }
}

function until(holds: () => boolean): Promise<true> {
  return vi.waitUntil(holds, { timeout: 10_000, interval: 10 })
}

/** Behind the real listener. One of the requests of `act` is refused. */
function atEndpoint(
  options: EndpointOptions,
  act: (endpoint: Awaited<ReturnType<typeof startEndpoint>>) => Promise<unknown>,
): Produce {
  return async () => {
    await using endpoint = await startEndpoint(options)
    const refused = (): string | undefined => {
      const found = endpoint.audited.find((e) => e.event === 'request' && e.reason !== undefined)
      return found !== undefined && 'requestId' in found ? found.requestId : undefined
    }
    await act(endpoint)
    await until(() => refused() !== undefined)
    return endpoint.audited.filter((e) => 'requestId' in e && e.requestId === refused())
  }
}

/** Bytes over a socket. `AUTHORITY` and `KEY` stand for those of the server. */
function onWire(bytes: string, options: EndpointOptions = {}): Produce {
  return atEndpoint(options, async (endpoint) => {
    const { host, port } = new URL(endpoint.url)
    using connection = connect({ port: Number(port) })
    connection.write(bytes.replace('AUTHORITY', host).replace('KEY', endpoint.key()))
    await connection.closed()
  })
}

/** A listener that has no app: not yet, or not any more. */
function notReady(drains: boolean): Produce {
  return async () => {
    const audited: AuditEvent[] = []
    const trail = recordingTrail(audited)
    const { server, drain } = publicListener({
      trail,
      limits: loadPolicies('policies', 'development').limits,
      clientAddress: clientAddress([]),
      trustedProxies: [],
      tls: undefined,
    })
    await once(server.listen(0, '127.0.0.1'), 'listening')
    const address = server.address()
    if (address === null || typeof address === 'string') throw new Error('No port')
    using connection = connect({ port: address.port })
    await once(server, 'connection')
    if (drains) drain()
    else setImmediate(() => server.close())
    connection.write(head('GET /x HTTP/1.1', 'Host: a'))
    await connection.answer()
    return audited
  }
}

function limits(change: (shipped: Policies['limits']) => Partial<Policies['limits']>) {
  return {
    policies: (shipped: Policies): Policies => ({
      ...shipped,
      limits: { ...shipped.limits, ...change(shipped.limits) },
    }),
  } satisfies TestAppOptions
}
const ofAddress = (change: Partial<Policies['limits']['address']>) =>
  limits(({ address }) => ({ address: { ...address, ...change } }))
const ofPrincipal = (change: Partial<Policies['limits']['principal']>) =>
  limits(({ principal }) => ({ principal: { ...principal, ...change } }))

const nothing = z.strictObject({})
const definition = {
  title: 'A tool',
  description: 'A part of the test.',
  annotations: {},
  input: nothing,
  output: nothing,
  longRunning: false,
}
const quick = defineTool({ ...definition, name: 'quick', run: async () => ({}) })
const slow = defineTool({
  ...definition,
  name: 'slow',
  async run(_input, { signal }) {
    await once(signal, 'abort')
    return {}
  },
})
const asking = defineTool({
  ...definition,
  name: 'asking',
  async run(_input, { confirm }) {
    await confirm('Go on?')
    return {}
  },
})
const broken = defineResource({
  uriTemplate: 'broken://{id}',
  name: 'broken',
  title: 'Broken',
  description: 'Nobody can read it.',
  mimeType: 'text/plain',
  params: z.strictObject({ id: z.string().max(22) }),
  async read() {
    throw new Error('The disk is gone')
  },
  async list() {
    return []
  },
})

/** A store that cannot be reached. */
function storeAway(): EndpointOptions {
  return {
    store: {
      ...memoryStore(),
      limiter: () => ({
        async hit() {
          throw new Denied('store.unavailable')
        },
      }),
    },
    ...limits(() => ({ onStoreFailure: 'refuse' })),
  }
}

// optional: oauth
function trusting(issuer: string, members: Partial<Policies['auth']['issuers'][number]> = {}) {
  return {
    policies: (shipped: Policies): Policies => {
      const entry: Policies['auth']['issuers'][number] = {
        issuer,
        why: 'of the test',
        verification: 'jwt',
        algorithms: ['ES256'],
        tokenTypes: ['at+jwt'],
        senderConstraint: 'none',
        scopeClaim: 'scope',
        scopeFormat: 'string',
        clientIdClaims: ['client_id'],
        rolesClaim: null,
        tenantClaim: null,
        clockToleranceSeconds: 30,
        maxTokenLifetimeSeconds: 86_400,
        jwksUri: null,
        introspection: null,
        ...members,
      }
      return { ...shipped, auth: { ...shipped.auth, issuers: [entry] } }
    },
  } satisfies TestAppOptions
}

function tokenOf(
  issuer: string,
  key: ReturnType<typeof signingKey>,
  members: Members = {},
): string {
  const now = Math.floor(Date.now() / 1000)
  return jws(
    key,
    { alg: key.alg, kid: key.kid, typ: 'at+jwt' },
    {
      iss: issuer,
      aud: PUBLIC_URL,
      sub: 'user-1',
      client_id: 'client-1',
      scope: 'mcp:use',
      iat: now,
      exp: now + 600,
      jti: 'token-1',
      ...members,
    },
  )
}

async function keysUnavailable(): Promise<Events> {
  const token = tokenOf(UNREACHABLE, signingKey('ES256', 'any'))
  return inApp(withHeaders({ authorization: `Bearer ${token}` }), trusting(UNREACHABLE))()
}

async function introspectionUnavailable(): Promise<Events> {
  using folder = temporaryFolder()
  const clientSecretFile = join(folder.path, 'secret')
  writeFileSync(clientSecretFile, 'a secret of the test')
  const introspection = { endpoint: `${UNREACHABLE}/ask`, clientId: 'gatehouse', clientSecretFile }
  const options = trusting(UNREACHABLE, { verification: 'introspection', introspection })
  return inApp(withHeaders({ authorization: `Bearer ${'opaque'.repeat(8)}` }), options)()
}

async function nonceMissing(): Promise<Events> {
  const issuer = await startIssuer()
  const client = signingKey('ES256', 'client')
  const token = tokenOf(issuer.url, issuer.key, { cnf: { jkt: thumbprint(client) } })
  const headers = {
    authorization: `DPoP ${token}`,
    dpop: proofOf({ key: client, token, url: PUBLIC_URL }),
  }
  const events = await inApp({ headers }, trusting(issuer.url, { senderConstraint: 'dpop' }))()
  await issuer.down()
  return events
}

const DOUBLED: WireHeaders = [
  ['host', 'mcp.example.com'],
  ['content-type', 'application/json'],
  ['content-type', 'application/json'],
]

/**
 * How each refusal comes about, and the kinds of records that it leaves, in the order of the alphabet. Text
 * says why a name cannot be produced.
 */
const REFUSALS: Readonly<Record<string, readonly [Produce, readonly Kind[]] | string>> = {
  'answer.bug': [
    inApp({}, { commitFails: () => JSON.parse('a bug') }),
    REQUEST, // What fails is the record of the decision.
  ],
  'overload.event-loop': [inApp({}, { shortage: () => 'event-loop' }), REQUEST],
  'overload.memory': [inApp({}, { shortage: () => 'memory' }), REQUEST],
  'audit.sink-broken': [inApp({}, { trailReady: () => false }), REQUEST],
  'store.unavailable': [atEndpoint(storeAway(), (at) => send(at, call('modern', 'echo'))), REQUEST],
  'listen.malformed': [onWire('EVIL /mcp HTTP/1.1\r\n\r\n'), REQUEST],
  'listen.headers-too-large': [onWire(post(`X-A: ${'a'.repeat(20_000)}`)), REQUEST],
  'listen.timeout': [
    onWire(
      'POST /mcp HTTP/1.1\r\nHost: AUTHORITY\r\nX-A: a',
      limits(({ timeouts }) => ({ timeouts: { ...timeouts, headersMs: 100, requestMs: 100 } })),
    ),
    REQUEST,
  ],
  'listen.upgrade': [onWire(post('Connection: Upgrade', 'Upgrade: websocket')), REQUEST],
  'listen.connect': [onWire(head('CONNECT evil.example:443 HTTP/1.1', 'Host: AUTHORITY')), REQUEST],
  'listen.expectation': [onWire(post('Content-Length: 1', 'Expect: 200-ok')), REQUEST],
  'listen.starting': [notReady(false), REQUEST],
  'listen.draining': [notReady(true), REQUEST],
  'wire-guard.http-version': [inApp({ httpVersion: '1.0' }), REQUEST],
  'wire-guard.target': [inApp({ target: '*' }), REQUEST],
  'wire-guard.duplicate-header': [inApp({ wire: DOUBLED }), REQUEST],
  'wire-guard.too-many-headers': [
    inApp(withHeaders(Object.fromEntries(Array.from({ length: 100 }, (_, n) => [`x-${n}`, 'a'])))),
    REQUEST,
  ],
  'address-limit.exceeded': [
    inApp(stranger, ofAddress({ requestsPerMinute: 1 }), stranger),
    THROTTLE,
  ],
  'host-guard.malformed': [inApp(withHeaders({ host: 'a b' })), REQUEST],
  'host-guard.authority-mismatch': [inApp({ target: 'https://evil.example/mcp' }), REQUEST],
  'host-guard.not-allowed': [inApp(withHeaders({ host: 'evil.example' })), REQUEST],
  'origin-guard.not-allowed': [inApp(withHeaders({ origin: 'https://evil.example' })), REQUEST],
  'origin-guard.cross-site': [inApp(withHeaders({ 'sec-fetch-site': 'cross-site' })), REQUEST],
  'route.not-found': [inApp({ target: '/admin' }), REQUEST],
  'route.method-not-allowed': [inApp({ method: 'PUT' }), REQUEST],
  'route.query': [inApp({ target: '/mcp?a=b' }), REQUEST],
  // Nobody has failed who has not been asked yet.
  'authenticate.missing': [inApp(stranger), REQUEST],
  'authenticate.rejected': [inApp(guess), AUTHN],
  'authenticate.malformed': [inApp(withHeaders({ authorization: 'Bearer ' })), AUTHN],
  'authenticate.two-credentials': [
    inApp(withHeaders({ 'x-api-key': 'mcpk_x' }), {
      policies: ({ auth, ...shipped }) => ({
        ...shipped,
        auth: { ...auth, apiKeys: { ...auth.apiKeys, header: 'x-api-key' } },
      }),
    }),
    AUTHN,
  ],
  'authenticate.throttled': [
    inApp(guess, ofAddress({ authFailuresPerMinute: 1 }), guess),
    ['authn.fail', 'request', 'throttle'],
  ],
  'authenticate.dpop-nonce': [nonceMissing, REQUEST], // optional: dpop
  'authenticate.keys-unavailable': [keysUnavailable, AUTHN], // optional: oauth
  'authenticate.introspection-unavailable': [introspectionUnavailable, AUTHN], // optional: introspection
  'principal-limit.rate': [inApp({}, ofPrincipal({ requestsPerMinute: 1 }), {}), THROTTLE],
  'principal-limit.concurrency': [
    inApp({}, ofPrincipal({ concurrentCalls: 1 }), withBody(notification)),
    THROTTLE,
  ],
  'principal-calls.concurrency': [inApp({}, ofPrincipal({ concurrentCalls: 1 }), {}), THROTTLE],
  'session-guard.missing': [
    atEndpoint(withSessions(), (at) => stream(at, legacyRequest('tools/list'))),
    REQUEST,
  ],
  'session-guard.not-found': [
    atEndpoint(withSessions(), (at) =>
      stream(at, '', { method: 'GET', headers: { 'mcp-session-id': ID } }),
    ),
    REQUEST,
  ],
  'session-guard.initialized': [
    atEndpoint(withSessions(), async (at) => (await begin(at)).post(initialize())),
    REQUEST,
  ],
  'session-guard.duplicate-id': [
    atEndpoint(withSessions({ catalog: { tools: [slow] } }), async (at) => {
      const { post } = await begin(at)
      const hanging = legacyRequest('tools/call', { name: 'slow' })
      await post(hanging)
      await post(hanging)
    }),
    ENDED,
  ],
  'session-guard.unasked': [
    atEndpoint(withSessions(), async (at) =>
      (await begin(at)).post({ jsonrpc: '2.0', id: 0, result: {} }),
    ),
    REQUEST,
  ],
  'session-guard.unknown-method': [
    atEndpoint(withSessions(), async (at) => (await begin(at)).post(legacyRequest('tools/none'))),
    REQUEST,
  ],
  'session-guard.per-principal': [
    atEndpoint(withSessions({ sessions: { perPrincipal: 1 } }), async (at) => {
      await begin(at)
      await stream(at, initialize())
    }),
    THROTTLE,
  ],
  'session-guard.total': [
    atEndpoint(withSessions({ sessions: { total: 1 } }), async (at) => {
      await begin(at)
      await stream(at, initialize())
    }),
    REQUEST,
  ],
  'parse-message.media-type': [inApp(withHeaders({ 'content-type': 'text/plain' })), REQUEST],
  'parse-message.encoding': [inApp(withHeaders({ 'content-encoding': 'gzip' })), REQUEST],
  'parse-message.too-large': [inApp(withBody(' '.repeat(1_048_577))), REQUEST],
  'parse-message.incomplete': [inApp({ leaves: 'in-body' }), REQUEST],
  'parse-message.not-utf8': [inApp(withBody(Buffer.from([0x22, 0xff, 0x22]))), REQUEST],
  'parse-message.not-json': [inApp(withBody('{')), REQUEST],
  'parse-message.too-deep': [inApp(withBody('['.repeat(65))), REQUEST],
  'parse-message.duplicate-name': [inApp(withBody('{"id":1,"id":2}')), REQUEST],
  'parse-message.forbidden-name': [inApp(withBody('{"__proto__":1}')), REQUEST],
  'parse-message.lone-surrogate': [inApp(withBody('{"a":"\\ud800"}')), REQUEST],
  'parse-message.not-one-message': [inApp(withBody('[]')), REQUEST],
  'protocol-guard.invalid-meta': [inApp(withBody(legacyMessage('tools/list'))), REQUEST],
  'protocol-guard.unsupported-version': [
    inApp({
      body: legacyMessage('tools/list'),
      headers: { 'mcp-protocol-version': '1999-01-01' },
    }),
    REQUEST,
  ],
  'protocol-guard.header-mismatch': [inApp(withHeaders({ 'mcp-name': 'whoami' })), REQUEST],
  'authorize.unknown-method': [inApp(withBody(message('no/such'))), REQUEST],
  'authorize.missing-scope': [inApp({}, { scopes: [] }), DENIED],
  'authorize.condition': [inApp(withBody(bulk)), DENIED],
  // optional: tasks
  'task-guard.missing-capability': [
    inApp({ body: message('tasks/get', { taskId: ID }), headers: { 'mcp-name': ID } }),
    REQUEST,
  ],
  'call-limit.rate': [
    atEndpoint(
      { catalog: { tools: [quick] }, access: { callsPerMinutePerPrincipal: 1 } },
      async (at) => {
        await send(at, call('modern', 'quick'))
        await send(at, call('modern', 'quick'))
      },
    ),
    ENDED_BY_LIMIT,
  ],
  'call-limit.concurrency': [
    atEndpoint(
      { catalog: { tools: [slow] }, access: { concurrentCallsPerPrincipal: 1 } },
      async (at) => {
        const leaves = new AbortController()
        const first = open(at, call('modern', 'slow'), { signal: leaves.signal }).catch(() => {
          // It is the second call that this is about.
        })
        await until(() => at.lasting.calls.running() === 1)
        await send(at, call('modern', 'slow'))
        await until(() => at.audited.some(({ event }) => event === 'throttle'))
        setImmediate(() => leaves.abort())
        await Promise.allSettled([first])
      },
    ),
    ENDED_BY_LIMIT,
  ],
  'call-limit.open-streams': [
    inApp(withBody(listen), ofPrincipal({ openStreams: 1 }), withBody(listen)),
    THROTTLE,
  ],
  'call-limit.streams': [
    inApp(
      withBody(listen),
      limits(() => ({ streams: 1 })),
      withBody(listen),
    ),
    REQUEST,
  ],
  'call-limit.subscriptions': [
    inApp(
      withBody(
        message('subscriptions/listen', {
          notifications: { resourceSubscriptions: Array(101).fill('report://a') },
        }),
      ),
    ),
    REQUEST,
  ],
  'stdio.unasked': [
    async () => {
      await using host = await startHost()
      host.send({ jsonrpc: '2.0', id: 1, result: {} })
      await until(() => host.audited.some(({ event }) => event === 'request'))
      return [...host.audited]
    },
    REQUEST,
  ],
  'stdio.duplicate-id': [
    async () => {
      await using host = await startHost({ catalog: { tools: [slow] } })
      host.send(toolCall('slow', {}))
      host.send(toolCall('slow', {}))
      await until(() => host.audited.some(({ event }) => event === 'request'))
      return host.audited.filter(({ event }) => event === 'request')
    },
    REQUEST,
  ],
  'handler.not-acceptable': [
    inApp({
      body: legacyMessage('tools/list'),
      headers: { ...LEGACY, accept: 'application/json' },
    }),
    REQUEST,
  ],
  'handler.invalid-params': [inApp(withBody(message('tools/list', { cursor: 1 }))), REQUEST],
  'handler.invalid-arguments': [inApp(withBody(toolCall('echo', { text: 1 }))), ENDED],
  'handler.request-state': [
    inApp(
      withBody(
        message('tools/call', { name: 'echo', arguments: { text: 'x' }, requestState: 'forged' }),
      ),
    ),
    ENDED,
  ],
  'handler.unknown-tool': [inApp(withBody(toolCall('no_such', {}))), REQUEST],
  'handler.resource-not-found': [
    inApp(withBody(message('resources/read', { uri: `report://${ID}` }))),
    ENDED,
  ],
  'handler.prompt-not-found': [
    inApp(withBody(message('prompts/get', { name: 'no_such' }))),
    REQUEST,
  ],
  // optional: tasks
  'handler.task-not-found': [inApp({ body: unknownTask, headers: { 'mcp-name': ID } }), REQUEST],
  'handler.missing-capability': [
    atEndpoint({ catalog: { tools: [asking] } }, (at) => send(at, call('modern', 'asking'))),
    ENDED,
  ],
  'handler.failed': [
    inApp(withBody(message('resources/read', { uri: 'broken://a' })), {
      catalog: { resources: [broken] },
      policies: ({ access, ...shipped }) => {
        const { 'report://{id}': entry } = access.resources
        if (entry === undefined) throw new Error('Reports have no entry')
        return { ...shipped, access: { ...access, resources: { 'broken://{id}': entry } } }
      },
    }),
    ENDED,
  ],
  'handler.other':
    'what an SDK of another version might refuse; `plainRefusal` is given it in refusal.test.ts',
}

describe('threat: a refusal that nobody can find, an attacker tries until something works', () => {
  it('has a way to produce each name, or a reason why there is none', () => {
    const names = Object.keys({ ...DENIALS, ...PROTOCOL_ERRORS })
    expect(Object.keys(REFUSALS).toSorted()).toEqual(names.toSorted())
  })

  const produced = Object.entries(REFUSALS).flatMap(([name, way]) =>
    typeof way === 'string' ? [] : [[name, ...way] as const],
  )

  it.each(produced)('%s', async (name, produce, kinds) => {
    const events = await produce()
    expect(events.map(({ event }) => event).toSorted()).toEqual(kinds)

    const [request, ...others] = events.filter(({ event }) => event === 'request')
    expect(others).toEqual([])
    expect(request).toMatchObject({ event: 'request', reason: name })
    if (isDenial(name))
      expect(request).toMatchObject({ status: STATUS.get(name) ?? DENIALS[name].status })

    const ids = events.map((event) => ('requestId' in event ? event.requestId : undefined))
    expect(new Set(ids).size).toBe(1)
    for (const event of events) {
      if (event.event === 'authn.fail') expect(event).toMatchObject({ reason: name, cause: CAUSE })
      if (event.event === 'throttle') expect(event).toMatchObject({ reason: name })
    }

    // What was allowed has one end; what was denied, or never decided, has none.
    const decisions = events.filter((event) => event.event === 'decision')
    const outcomes = events.filter((event) => event.event === 'outcome')
    expect(decisions.filter(({ allowed }) => allowed)).toHaveLength(outcomes.length)
    for (const { allowed, reason } of decisions) expect(reason).toBe(allowed ? undefined : name)
    if (outcomes.length > 0) expect(events[0]?.event).toBe('decision')
    for (const { outcome } of outcomes) expect(outcome).not.toBe('ok')
  })

  it('names the store when it cannot say whether a confirmation was used before', async () => {
    const produce = atEndpoint(
      {
        catalog: { tools: [asking] },
        store: {
          ...memoryStore(),
          async once() {
            throw new Denied('store.unavailable')
          },
        },
      },
      async (at) => {
        const capable = {
          'io.modelcontextprotocol/clientCapabilities': { elicitation: { form: {} } },
        }
        const { json } = await send(at, call('modern', 'asking', {}, capable))
        const { requestState } = json.result
        const again = call('modern', 'asking', {}, capable)
        await send(at, { ...again, params: { ...again.params, requestState } })
      },
    )
    const events = await produce()
    expect(events.map(({ event }) => event).toSorted()).toEqual(ENDED)
    expect(events).toContainEqual(
      expect.objectContaining({ event: 'request', status: 200, reason: 'store.unavailable' }),
    )
  })

  it('leaves no reason on a call that is served', async () => {
    const events = await inApp({})()
    expect(events.map(({ event }) => event)).toEqual(['decision', 'outcome', 'request'])
    expect(events.at(-1)).toMatchObject({ status: 200, reason: undefined })
  })
})

/** JSON-RPC 2.0 section 5.1, and MCP 2026-07-28 basic/index, Error codes. */
const CODES = [-32700, -32600, -32601, -32602, -32603, -32020, -32021, -32022]

describe('contract: codes of errors', () => {
  it('TRN-24 has codes of JSON-RPC and of the specification alone', () => {
    const rows = Object.values<{ readonly rpcCode: number | null }>({
      ...DENIALS,
      ...PROTOCOL_ERRORS,
    })
    const codes = rows.flatMap(({ rpcCode }) => (rpcCode === null ? [] : [rpcCode]))
    expect(codes.length).toBeGreaterThan(40)
    expect(codes.filter((code) => !CODES.includes(code))).toEqual([])
  })
})

/** What is on record for a client that has left before its answer. */
const STATUS = new Map([['parse-message.incomplete', 499]])

/** Why an authentication failed: never nothing. */
const CAUSE = expect.stringMatching(/^(?!none$)[a-z-]+$/)

function isDenial(name: string): name is DenyReason {
  return name in DENIALS
}
