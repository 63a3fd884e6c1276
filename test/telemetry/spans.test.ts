import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { SpanKind, SpanStatusCode } from '@opentelemetry/api'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { META } from '../app.ts'
import { temporaryFolder } from '../audit/pipe.ts'
import { startServer, stopServers } from '../server.ts'
import type { RecordedSpan } from './recording-sdk.ts'

const SDK = new URL('recording-sdk.ts', import.meta.url).href
const TRACED_ACCESS = [
  'access.yaml',
  'tools:\n',
  'tools:\n  traced: { scopes: [], why: "for tests" }\n',
] as const

const MESSAGE = { trace: '4bf92f3577b34da6a3ce929d0e0e4736', span: '00f067aa0ba902b7' }
const HEADER = { trace: '0af7651916cd43dd8448eb211c80319c', span: 'b7ad6b7169203331' }
const parent = ({ trace, span }: typeof MESSAGE, flags = '01'): string =>
  `00-${trace}-${span}-${flags}`
const idsOf = ({ trace, span }: typeof MESSAGE): { traceId: string; spanId: string } => ({
  traceId: trace,
  spanId: span,
})

interface Call {
  readonly method?: string
  readonly name?: string
  readonly args?: object
  readonly meta?: object
  readonly headers?: Readonly<Record<string, string>>
  readonly id?: string | number
}

const folders: Disposable[] = []
afterAll(() => {
  for (const folder of folders) folder[Symbol.dispose]()
})

/** A server process in which an operator has loaded the OpenTelemetry SDK. */
async function tracedServer(env: Readonly<Record<string, string>> = {}) {
  const folder = temporaryFolder()
  folders.push(folder)
  const file = join(folder.path, 'spans.jsonl')
  const server = await startServer({
    entry: 'test/telemetry/traced-server.ts',
    policies: [TRACED_ACCESS],
    env: { NODE_OPTIONS: `--import=${SDK}`, SPANS_FILE: file, ...env },
  })
  const spans = (): RecordedSpan[] => {
    try {
      const lines = readFileSync(file, 'utf8').trimEnd().split('\n')
      return lines.map((line) => JSON.parse(line))
    } catch {
      return [] // None so far.
    }
  }

  async function send(call: Call): Promise<string> {
    const { method = 'tools/call', name = 'echo', args = { text: 'canary-argument' } } = call
    const params = { name, arguments: args, _meta: { ...META, ...call.meta } }
    const response = await fetch(server.url, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${server.key}`,
        'content-type': 'application/json',
        accept: 'application/json, text/event-stream',
        'mcp-protocol-version': '2026-07-28',
        'mcp-method': method,
        'mcp-name': name,
        ...call.headers,
      },
      body: JSON.stringify({ jsonrpc: '2.0', id: call.id ?? 1, method, params }),
    })
    await response.text()
    return response.headers.get('x-request-id') ?? ''
  }

  /** The span of the server for a request, once it has ended. */
  async function spanOf(requestId: string): Promise<RecordedSpan> {
    const found = (): RecordedSpan | undefined =>
      spans().find(({ attributes }) =>
        JSON.stringify(attributes['http.response.header.x-request-id'])?.includes(requestId),
      )
    await expect.poll(found).toBeDefined()
    const span = found()
    if (span === undefined) throw new Error('No span')
    return span
  }
  return { server, file, spans, send, spanOf, call: async (call: Call) => spanOf(await send(call)) }
}

type Traced = Awaited<ReturnType<typeof tracedServer>>
let traced: Traced

describe('contract: one span for each message, as the conventions of OpenTelemetry for MCP have it', () => {
  beforeAll(async () => {
    traced = await tracedServer()
  })
  afterAll(stopServers)

  it('says what ran and how it ended, and nothing else', async () => {
    const requestId = await traced.send({ id: 'call-7' })
    const span = await traced.spanOf(requestId)
    expect(span).toMatchObject({
      name: 'tools/call echo',
      kind: SpanKind.SERVER,
      status: { code: SpanStatusCode.UNSET },
      links: [],
      events: [],
    })
    expect(span.parent).toBeUndefined()
    expect(span.durationMs).toBeGreaterThan(0)
    expect(span.attributes).toEqual({
      'mcp.method.name': 'tools/call',
      'mcp.protocol.version': '2026-07-28',
      'gen_ai.operation.name': 'execute_tool',
      'gen_ai.tool.name': 'echo',
      'jsonrpc.request.id': 'call-7',
      'network.transport': 'tcp',
      'network.protocol.name': 'http',
      'http.response.header.x-request-id': [requestId],
      'gatehouse.outcome': 'ok',
    })
  })

  it.each([
    [
      'a tool that fails',
      { name: 'traced', args: { text: 'canary-failure', fails: true } },
      'tools/call traced',
      { 'error.type': 'tool_error', 'gatehouse.outcome': 'failed' },
      undefined,
    ],
    [
      'arguments that a tool does not take',
      { args: { canary: 'canary-argument' } },
      'tools/call echo',
      { 'error.type': 'tool_error', 'gatehouse.refusal': 'handler.invalid-arguments' },
      'Input validation error',
    ],
    [
      'an unknown tool',
      { name: 'canary-tool' },
      'tools/call',
      {
        'error.type': '-32602',
        'rpc.response.status_code': '-32602',
        'gatehouse.outcome': 'refused',
        'gatehouse.refusal': 'handler.unknown-tool',
      },
      'Unknown tool',
    ],
    [
      'an unknown method',
      { method: 'canary/method' },
      '_OTHER',
      { 'mcp.method.name': '_OTHER', 'gatehouse.refusal': 'authorize.unknown-method' },
      'Method not found',
    ],
    [
      'a call that is not allowed',
      {
        name: 'process_documents',
        args: { documents: Array.from({ length: 51 }, () => ({ name: 'a', text: 'canary-text' })) },
      },
      'tools/call',
      { 'error.type': '-32600', 'gatehouse.refusal': 'authorize.condition' },
      'Forbidden',
    ],
    [
      'headers that say something else',
      { headers: { 'mcp-name': 'canary-name' } },
      'tools/call',
      { 'error.type': '-32020', 'gatehouse.refusal': 'protocol-guard.header-mismatch' },
      'Headers do not match the message',
    ],
  ])('says what became of %s', async (_name, call, name, attributes, message) => {
    const span = await traced.call(call)
    expect(span.name).toBe(name)
    expect(span.attributes).toMatchObject(attributes)
    expect(span.status).toEqual({ code: SpanStatusCode.ERROR, ...(message && { message }) })
    expect(span.events).toEqual([])
  })

  it('runs the tool inside of it, so that spans of libraries are its children', async () => {
    const span = await traced.call({ name: 'traced', args: { text: 'x', fails: false } })
    const children = traced.spans().filter(({ parent }) => parent === span.spanId)
    expect(children).toMatchObject([{ name: 'work of the tool', traceId: span.traceId }])
  })

  it('keeps calls apart that run at the same time', async () => {
    const call = { name: 'traced', args: { text: 'x', fails: false } }
    const spans = await Promise.all(Array.from({ length: 20 }, () => traced.call(call)))
    expect(new Set(spans.map(({ traceId }) => traceId)).size).toBe(20)
    for (const { spanId, traceId } of spans) {
      const children = traced.spans().filter(({ parent }) => parent === spanId)
      expect(children.map((child) => child.traceId)).toEqual([traceId])
    }
  })

  it('is found from every audit record and log line of its request, and back', async () => {
    const args = { text: 'canary-failure', fails: true }
    const requestId = await traced.send({ name: 'traced', args })
    const { traceId, spanId } = await traced.spanOf(requestId)
    const { server } = traced
    const ofRequest = (record: { api?: { request?: { uid?: string } } }): boolean =>
      record.api?.request?.uid === requestId
    await server.recorded((one) => ofRequest(one) && one.metadata.event_code === 'request')
    const records = server.audited().filter(ofRequest)
    expect(records.map(({ metadata }) => metadata.event_code).sort()).toEqual([
      'decision',
      'outcome',
      'request',
    ])
    for (const { trace } of records) {
      expect(trace).toMatchObject({ uid: traceId, span: { uid: spanId } })
    }
    const logged = server
      .stderr()
      .split('\n')
      .find((line) => line.includes(requestId))
    expect(JSON.parse(logged ?? '{}')).toMatchObject({ requestId, traceId, tool: 'traced' })
  })
})

describe('threat: a caller writes into the traces of others, or has its own recorded or not', () => {
  const claims = {
    meta: { traceparent: parent(MESSAGE, '00'), tracestate: 'canary=message', baggage: 'canary=1' },
    headers: {
      traceparent: parent(HEADER, '00'),
      tracestate: 'canary=header',
      baggage: 'canary=2',
    },
  }
  afterEach(stopServers)

  it('is only linked to, and decides nothing, where callers are not trusted', async () => {
    traced = await tracedServer()
    const span = await traced.call(claims)
    expect(span.parent).toBeUndefined()
    expect([MESSAGE.trace, HEADER.trace]).not.toContain(span.traceId)
    expect(span.links).toEqual([idsOf(MESSAGE), idsOf(HEADER)])
    expect(span.traceState).toBeUndefined()
    expect(JSON.stringify(traced.spans())).not.toContain('canary')
  })

  it('is the parent where the operator trusts callers: the message before the header', async () => {
    traced = await tracedServer({ MCP_TRUST_TRACE_CONTEXT: 'true' })
    const both = await traced.call({
      meta: { traceparent: parent(MESSAGE), tracestate: 'vendor=message' },
      headers: { traceparent: parent(HEADER) },
    })
    expect(both).toMatchObject({
      traceId: MESSAGE.trace,
      parent: MESSAGE.span,
      traceState: 'vendor=message',
      links: [idsOf(HEADER)],
    })
    const header = await traced.call({ headers: { traceparent: parent(HEADER) } })
    expect(header).toMatchObject({ traceId: HEADER.trace, parent: HEADER.span, links: [] })

    const malformed = await traced.call({
      meta: { traceparent: { canary: 1 } },
      headers: { traceparent: `${parent(HEADER)}-canary` },
    })
    expect(malformed.links).toEqual([])
    expect(malformed.parent).toBeUndefined()

    // Sampling is theirs then, too.
    const unsampled = await traced.send({ meta: { traceparent: parent(MESSAGE, '00') } })
    const last = await traced.send({})
    await traced.spanOf(last)
    expect(JSON.stringify(traced.spans())).not.toContain(unsampled)
  })
})

describe('threat: spans carry what a log must not, whoever reads traces gains tokens and arguments', () => {
  afterEach(stopServers)

  it('holds no argument, result, credential, subject, address or error', async () => {
    traced = await tracedServer()
    await traced.call({ id: 'call\u001b[2J' })
    await traced.call({ name: 'traced', args: { text: 'canary-failure', fails: true } })
    await traced.call({ name: 'canary-tool', args: { canary: 'canary-argument' } })
    const text = readFileSync(traced.file, 'utf8')
    expect(text).not.toMatch(/canary|mcpk_|developer|127\.0\.0\.1|\\u001b/)
  })

  it('makes no span for whoever is not known: a flood costs no export', async () => {
    traced = await tracedServer()
    const refused = await fetch(traced.server.url, { method: 'POST', body: '{}' })
    expect(refused.status).toBe(401)
    await traced.call({})
    expect(traced.spans()).toHaveLength(1)
  })
})

describe('contract: a deploy loses no span', () => {
  afterEach(stopServers)

  it('hands the last ones over before the process ends', async () => {
    traced = await tracedServer({ SPANS_BATCH: '1' })
    await traced.send({})
    expect(traced.spans()).toEqual([])
    expect(await traced.server.stop()).toBe(0)
    expect(traced.spans().map(({ name }) => name)).toEqual(['tools/call echo'])
  })
})
