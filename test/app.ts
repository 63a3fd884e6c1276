import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { IncomingMessage, ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import { z } from 'zod'
import { createApp } from '../src/app.ts'
import { assemble } from '../src/assemble.ts'
import type { AuditEvent, AuditTrail } from '../src/audit/trail.ts'
import { ephemeralKey } from '../src/auth/ephemeral-key.ts'
import type { Clock } from '../src/clock.ts'
import { loadConfig } from '../src/config.ts'
import type { Catalog } from '../src/define.ts'
import { Denied } from '../src/errors.ts'
import type { Holds } from '../src/holds.ts'
import { lastingParts } from '../src/lasting.ts'
import type { Shortage } from '../src/load.ts'
import { createLogger } from '../src/log.ts'
import { loadPolicies, type Policies } from '../src/policy.ts'
import { prompts } from '../src/prompts/index.ts'
import { resources } from '../src/resources/index.ts'
import { secretRing } from '../src/secrets.ts'
import { memoryStore } from '../src/stores/memory.ts'
import { createTelemetry } from '../src/telemetry/telemetry.ts'
import { tools } from '../src/tools/index.ts'
import { inspectedTrail } from './audit/inspected-trail.ts'
import { CANARY_HEADERS } from './canaries.ts'

export const PUBLIC_URL = 'https://mcp.example.com/mcp'
/** Where the listener would be. */
const BOUND = 'http://127.0.0.1:3000'
export const HOST = 'mcp.example.com'

/** Headers as they come over the wire: in order, doubles included. */
export type WireHeaders = readonly (readonly [string, string])[]

export interface TestRequest {
  readonly method?: string
  readonly target?: string
  readonly httpVersion?: string
  /** Replaces the default headers, whole. */
  readonly wire?: WireHeaders
  /** Added to the defaults, or in place of the default of that name; `null` removes it. */
  readonly headers?: Readonly<Record<string, string | null>>
  readonly body?: string | Uint8Array | object
  /** The body in pieces, in place of `body`: chunked, so without a length unless `headers` has one. */
  readonly chunks?: readonly Uint8Array[]
  /** The client leaves: while its credential is verified, in its body, or at its decision record. */
  readonly leaves?: 'at-verification' | 'in-body' | 'at-decision'
  readonly peer?: string
}

export interface TestResponse {
  readonly status: number
  readonly headers: Headers
  readonly text: string
  /** What this request alone left in the audit trail, in order. */
  readonly events: readonly AuditEvent[]
  /** How often this request reached the SDK. */
  readonly reached: number
  /** Whether anything of this request's body was read. */
  readonly bodyRead: boolean
  /** The last message of the answer; `undefined` when it has none. */
  readonly json: unknown
}

export interface TestAppOptions {
  /** `undefined` takes one of the defaults away. */
  readonly env?: Readonly<Record<string, string | undefined>>
  /** Nobody has the key of the test: only what settings and policies say lets anybody in. */
  readonly keyless?: boolean
  readonly policies?: (policies: Policies) => Policies
  readonly catalog?: Partial<Catalog>
  /** Scopes of the test's key. */
  readonly scopes?: readonly string[]
  readonly trailReady?: () => boolean
  /** What there is too little of; nothing when left out. */
  readonly shortage?: () => Shortage | undefined
  /** Clock of the store, ms. */
  readonly now?: () => number
  /** Clock of everything else; that of the system when left out. */
  readonly clock?: Clock
  readonly tls?: boolean
  /** Whether this decision cannot be put on record. */
  readonly commitFails?: (event: AuditEvent) => boolean
}

/** An answer that has not ended yet. */
export interface OpenAnswer {
  readonly status: number
  /** Reads the rest of the answer and ends it. */
  end(): Promise<TestResponse>
  /** The client leaves. */
  leave(): Promise<void>
}

export interface TestApp {
  /** A live API key. */
  readonly key: string
  readonly audited: AuditEvent[]
  /** The credentials of open answers. */
  readonly holds: Holds
  /** How often a request reached the SDK. */
  reached(): number
  /** Names of everything a request may pass, in order. */
  readonly order: readonly string[]
  /** How often a strategy was asked to verify a credential. */
  verified(): number
  /** Sends a request and leaves its answer open. Only `send` tells apart what each request left. */
  open(request?: TestRequest): Promise<OpenAnswer>
  send(request?: TestRequest): Promise<TestResponse>
  close(): void
}

/** Called when a request is where its client may leave. */
type Moment = (name: TestRequest['leaves']) => Promise<void>

/** The real app with the shipped policies and real parts; only the trail is in memory. */
export function testApp(options: TestAppOptions = {}): TestApp {
  const config = loadConfig(
    {
      NODE_ENV: 'development',
      MCP_PUBLIC_URL: PUBLIC_URL,
      MCP_SECRET: randomBytes(32).toString('base64'),
      ...options.env,
    },
    { nodeVersion: 'v24.21.0', uid: 1000, execArgv: [] },
  )
  const shipped = loadPolicies(config.policyDir, config.mode)
  const policies = options.policies?.(structuredClone(shipped)) ?? shipped
  const { key, record } = ephemeralKey(
    options.scopes ?? ['mcp:use', 'documents:process', 'reports:read', 'reports:delete'],
  )
  const audited: AuditEvent[] = []
  const lasting = lastingParts(
    {
      config,
      catalog: { tools, resources, prompts, ...options.catalog },
      publicUrl: config.publicUrl ?? PUBLIC_URL,
      bound: BOUND,
      ephemeralKey: config.anonymous || options.keyless ? undefined : record,
      ring: secretRing(config.secrets),
      store: memoryStore(options.now),
      trail: recordingTrail(
        audited,
        inspectedTrail({ ring: secretRing(config.secrets), policy: policies.audit }),
        options,
        () => moment('at-decision'),
      ),
      telemetry: createTelemetry({ trustCallers: config.trustTraceContext }),
      logger: createLogger('silent'),
      ...(options.clock !== undefined && { clock: options.clock }),
      ...(options.shortage !== undefined && { load: { shortage: options.shortage } }),
    },
    policies.http,
  )
  const assembly = assemble(lasting, policies)
  lasting.holds.use(assembly.authenticator)
  const { credentials } = assembly.parts
  let reached = 0
  let verified = 0
  let moment: Moment = async () => {}
  const app = createApp({
    ...assembly.parts,
    tls: options.tls ?? false,
    credentials: {
      ...credentials,
      authenticator: {
        recall: credentials.authenticator.recall,
        async verify(presented, nowMs) {
          verified += 1
          await moment('at-verification')
          return credentials.authenticator.verify(presented, nowMs)
        },
      },
    },
    handle(c) {
      reached += 1
      return assembly.parts.handle(c)
    },
  })

  async function open(request: TestRequest = {}): Promise<OpenAnswer> {
    const { method = 'POST', target = '/mcp', httpVersion = '1.1' } = request
    const whole = bytesOf(request.body ?? echoCall('hello'))
    const body = request.chunks ?? [whole]
    const lengthless = request.chunks === undefined ? {} : { 'content-length': null }
    const wire = request.wire ?? wireHeaders(key, whole, { ...lengthless, ...request.headers })
    const eventsBefore = audited.length
    const reachedBefore = reached

    const socket = new Socket()
    Object.defineProperty(socket, 'remoteAddress', { value: request.peer ?? '203.0.113.7' })
    const incoming = Object.assign(new IncomingMessage(socket), {
      method,
      url: target,
      httpVersion,
      rawHeaders: wire.flat(),
      complete: request.leaves !== 'in-body',
    })
    for (const chunk of body) incoming.push(chunk)
    if (request.leaves !== 'in-body') incoming.push(null)
    const outgoing = new ServerResponse(incoming)
    outgoing.assignSocket(socket)

    const left = new AbortController()
    outgoing.once('close', () => left.abort())
    const raw = new Request(PUBLIC_URL, {
      // The Fetch standard has no TRACE; the controls read the method off the wire.
      method: method === 'TRACE' ? 'GET' : method,
      headers: headersOf(wire),
      signal: left.signal,
    })
    async function leave(): Promise<void> {
      const closed = outgoing.closed ? undefined : once(outgoing, 'close')
      incoming.destroy()
      socket.destroy()
      await closed
    }
    moment = async (name) => {
      if (request.leaves === name) await leave()
    }
    const answer = app.fetch(raw, { incoming, outgoing })
    if (request.leaves === 'in-body') incoming.destroy()
    const response = await answer
    return {
      status: response.status,
      leave,
      async end() {
        const text = await response.text()
        if (request.leaves === undefined) outgoing.writeHead(response.status)
        await leave()
        return {
          status: response.status,
          headers: response.headers,
          text,
          json: parse(text),
          events: audited.slice(eventsBefore),
          reached: reached - reachedBefore,
          bodyRead: incoming.readableDidRead,
        }
      },
    }
  }

  return {
    key,
    audited,
    holds: lasting.holds,
    order: app.routes.map(({ handler }) => handler.name),
    reached: () => reached,
    verified: () => verified,
    open,
    send: async (request) => (await open(request)).end(),
    close() {
      assembly.close()
      lasting.holds.close()
    },
  }
}

function recordingTrail(
  audited: AuditEvent[],
  records: AuditTrail,
  options: TestAppOptions,
  atDecision: () => Promise<void>,
): AuditTrail {
  const { trailReady: ready = () => true, commitFails = () => false } = options
  return {
    write(event) {
      audited.push(event)
      records.write(event)
    },
    async commit(event) {
      if (!ready() || commitFails(event))
        throw new Denied('audit.sink-broken', { headers: { 'retry-after': '5' } })
      audited.push(event)
      await records.commit(event)
      await atDecision()
    },
    digest: records.digest,
    ready,
    async close() {},
  }
}

/** A modern `tools/call` of `echo`. */
function echoCall(text: string, id: string | number = 1): object {
  return toolCall('echo', { text }, id)
}

export function toolCall(name: string, args: object, id: string | number = 1): object {
  return {
    jsonrpc: '2.0',
    id,
    method: 'tools/call',
    params: { name, arguments: args, _meta: META },
  }
}

/** What a modern client says of itself in each request. */
export const META = {
  'io.modelcontextprotocol/protocolVersion': '2026-07-28',
  'io.modelcontextprotocol/clientInfo': { name: 'test', version: '1.0.0' },
  'io.modelcontextprotocol/clientCapabilities': {},
} as const

const word = z.string().optional().catch(undefined)
/** What a body says of itself, when it does: clients repeat it in headers. */
const named = z
  .object({ method: word, params: z.object({ name: word, uri: word }).optional().catch(undefined) })
  .catch({})

function wireHeaders(
  key: string,
  body: Uint8Array,
  changes: Readonly<Record<string, string | null>>,
): WireHeaders {
  const { method, params } = named.parse(parse(Buffer.from(body).toString()))
  const defaults: Record<string, string | null> = {
    ...CANARY_HEADERS,
    host: HOST,
    authorization: `Bearer ${key}`,
    'content-type': 'application/json',
    accept: 'application/json, text/event-stream',
    'content-length': String(body.byteLength),
    'mcp-protocol-version': '2026-07-28',
    'mcp-method': method ?? 'tools/call',
    'mcp-name': params?.name ?? params?.uri ?? null,
  }
  return Object.entries({ ...defaults, ...changes }).flatMap(([name, value]) =>
    value === null ? [] : [[name, value] as const],
  )
}

function bytesOf(body: string | Uint8Array | object): Uint8Array {
  if (typeof body === 'string') return Buffer.from(body)
  return body instanceof Uint8Array ? body : Buffer.from(JSON.stringify(body))
}

/** For the SDK, which reads a few headers; the controls read the wire. */
function headersOf(wire: WireHeaders): Headers {
  const headers = new Headers()
  for (const [name, value] of wire) {
    try {
      headers.append(name, value)
    } catch {
      // Node's parser refuses such a value before the app; here the controls alone see it.
    }
  }
  return headers
}

/** The message in a text of JSON, or the last one of an event stream. */
function parse(text: string): unknown {
  const events = text.startsWith('event:') ? (text.match(/^data: .*$/gm) ?? []) : []
  try {
    return JSON.parse(events.at(-1)?.slice('data: '.length) ?? text)
  } catch {
    return undefined
  }
}
