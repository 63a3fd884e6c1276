import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { META, type WireHeaders } from '../app.ts'
import { connect } from '../raw-http.ts'
import { type Server, startServer, stopServers } from '../server.ts'
import { scrape } from './scrape.ts'

const DURATION = 'mcp_server_operation_duration_seconds_count'
const NOBODY = { authorization: 'Bearer mcpk_canary' }

let server: Server

/** A message of 2026-07-28, with its headers. */
function send(
  method: string,
  params: Readonly<Record<string, unknown>> = {},
  headers: Readonly<Record<string, string>> = {},
  signal?: AbortSignal,
): Promise<Response> {
  const name = params['name'] ?? params['uri']
  return fetch(server.url, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${server.key}`,
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      'mcp-protocol-version': '2026-07-28',
      'mcp-method': method,
      ...(typeof name === 'string' ? { 'mcp-name': name } : {}),
      ...headers,
    },
    body: JSON.stringify({ jsonrpc: '2.0', id: 1, method, params: { ...params, _meta: META } }),
    ...(signal === undefined ? {} : { signal }),
  })
}

const settled = async (response: Promise<Response>): Promise<string> => (await response).text()

/** Counts once a request has ended, a moment after its answer. */
async function expectTotal(
  name: string,
  labels: Readonly<Record<string, string>>,
  value: number,
): Promise<void> {
  await expect.poll(async () => (await scrape(server)).total(name, labels)).toBe(value)
}

describe('threat: callers choose labels, and fill memory with series or write into dashboards', () => {
  beforeAll(async () => {
    server = await startServer()
  })
  afterAll(stopServers)

  const hostile = (word: string): readonly Promise<unknown>[] => [
    settled(send(word)),
    settled(send('tools/call', { name: word, arguments: {} })),
    settled(send('tools/call', { name: 'echo', arguments: { [word]: word } })),
    settled(send('resources/read', { uri: `report://${word}` })),
    settled(send('prompts/get', { name: word })),
    settled(send('tools/list', {}, { 'mcp-protocol-version': word })),
    settled(send('tools/list', {}, { 'mcp-method': word, 'mcp-name': word })),
    settled(send('tools/list', {}, { authorization: `Bearer ${word}` })),
    settled(send('tools/list', {}, { authorization: `Bearer mcpk_${word}_x` })),
    settled(send('tools/list', {}, { authorization: `${word} x` })),
    settled(send('tools/list', {}, { origin: `https://${word}.example` })),
    settled(send('tools/list', {}, { 'x-forwarded-for': word, traceparent: word })),
    settled(fetch(new URL(`/${word}?${word}`, server.url), { method: 'POST' })),
    raw([['host', word]], word),
  ]

  async function raw(headers: WireHeaders, method: string): Promise<void> {
    using connection = connect(server)
    const lines = headers.map(([name, value]) => `${name}: ${value}`)
    connection.write([`${method} /${method} HTTP/1.1`, ...lines, '', ''].join('\r\n'))
    await connection.closed()
  }

  it('has only names of this source, of the catalog and of policies in labels', async () => {
    await Promise.all(hostile('chosen-0'))
    await expectTotal('gatehouse_refusals_total', { reason: 'route.not-found' }, 1)
    const before = await scrape(server)
    expect(before.text).not.toMatch(/chosen/i)
    expect(before.total(DURATION, { mcp_method_name: '_OTHER' })).toBe(1)

    for (let index = 1; index <= 5; index++) await Promise.all(hostile(`chosen-${index}`))
    await expectTotal('gatehouse_refusals_total', { reason: 'route.not-found' }, 6)
    const after = await scrape(server)
    const series = ({ samples }: typeof after): string[] =>
      samples
        .filter(({ name }) => !name.startsWith('nodejs_') && !name.startsWith('process_'))
        .map(({ name, labels }) => name + JSON.stringify(labels))
        .sort()
    expect(series(after)).toEqual(series(before))
  }, 60_000)
})

describe('contract: what the server says of itself in numbers', () => {
  beforeAll(async () => {
    server = await startServer()
  })
  afterAll(stopServers)

  it('measures operations by method, tool, prompt and outcome', async () => {
    await settled(send('tools/call', { name: 'echo', arguments: { text: 'a' } }))
    await settled(server.call('echo', { text: 'a' }))
    await settled(send('tools/call', { name: 'delete_report', arguments: { id: 'x' } }))
    await settled(
      send('prompts/get', { name: 'summarize_report', arguments: { id: 'A'.repeat(22) } }),
    )
    await settled(send('tools/list'))
    const call = { mcp_method_name: 'tools/call' }
    await expectTotal(DURATION, { ...call, gen_ai_tool_name: 'echo', outcome: 'ok' }, 2)
    await expectTotal(DURATION, { mcp_method_name: 'tools/list', outcome: 'ok' }, 1)
    await expectTotal(
      DURATION,
      { mcp_method_name: 'prompts/get', gen_ai_prompt_name: 'summarize_report', outcome: 'failed' },
      1,
    )
    const { samples } = await scrape(server)
    const deleted = samples.filter(
      ({ name, labels }) => name === DURATION && labels['gen_ai_tool_name'] === 'delete_report',
    )
    expect(deleted).toHaveLength(1)
    const echo = samples.find(
      ({ name, labels }) => name === DURATION && labels['gen_ai_tool_name'] === 'echo',
    )
    expect(echo?.labels).toEqual({ ...call, gen_ai_tool_name: 'echo', outcome: 'ok' })
  })

  it('counts every refusal, also those that the trail counts in one record', async () => {
    for (let index = 0; index < 60; index++) await settled(send('tools/list', {}, NOBODY))
    const total = async (name: string, labels: Record<string, string>): Promise<number> =>
      (await scrape(server)).total(name, labels)
    await expect
      .poll(() => total('gatehouse_requests_total', { http_response_status_code: '429' }))
      .toBe(30)
    expect(await total('gatehouse_refusals_total', { reason: 'authenticate.rejected' })).toBe(30)
    expect(await total('gatehouse_refusals_total', { reason: 'authenticate.throttled' })).toBe(30)
    expect(await total('gatehouse_throttles_total', { policy: 'address-auth' })).toBe(30)
    expect(await total('gatehouse_authentication_failures_total', {})).toBe(60)
    const recorded = server.audited().filter((one) => one.metadata.event_code === 'authn.fail')
    expect(recorded.length).toBeLessThan(60)
  })

  it('counts streams and calls while they are open, and not longer', async () => {
    const leave = new AbortController()
    const notifications = { toolsListChanged: true }
    const stream = await send('subscriptions/listen', { notifications }, {}, leave.signal)
    expect(stream.status).toBe(200)
    await expectTotal('gatehouse_streams_open', {}, 1)
    expect((await scrape(server)).total('gatehouse_connections_open')).toBeGreaterThan(0)
    leave.abort()
    await expectTotal('gatehouse_streams_open', {}, 0)
    await expectTotal(DURATION, { mcp_method_name: 'subscriptions/listen', outcome: 'ok' }, 1)
  })

  it('counts the sessions of older clients, and their streams', async () => {
    const legacy = await startServer({
      policies: [['http.yaml', 'legacy: stateless', 'legacy: sessions']],
    })
    const total = async (name: string): Promise<number> => (await scrape(legacy)).total(name)
    const headers = { authorization: `Bearer ${legacy.key}` }
    const transport = new StreamableHTTPClientTransport(new URL(legacy.url), {
      requestInit: { headers },
    })
    const client = new Client({ name: 'metrics', version: '1.0.0' })
    await client.connect(transport)
    await expect.poll(() => total('gatehouse_sessions_open')).toBe(1)
    await expect.poll(() => total('gatehouse_streams_open')).toBe(1)
    await transport.terminateSession()
    await client.close()
    await expect.poll(() => total('gatehouse_sessions_open')).toBe(0)
    await expect.poll(() => total('gatehouse_streams_open')).toBe(0)
  })

  it('says what the process needs', async () => {
    const { total, types } = await scrape(server)
    expect(total('process_resident_memory_bytes')).toBeGreaterThan(1e7)
    expect(total('nodejs_heap_size_used_bytes')).toBeGreaterThan(1e6)
    expect(total('nodejs_eventloop_lag_p99_seconds')).toBeGreaterThan(0)
    expect(types.get('nodejs_gc_duration_seconds')).toBe('histogram')
    expect(total('gatehouse_limit', { limit: 'streams' })).toBe(5000)
    expect(total('gatehouse_part_ok', { part: 'audit' })).toBe(1)
    expect(total('gatehouse_audit_dropped_records_total')).toBe(0)
  })
})

describe('threat: metrics are a way around the public listener, or for pages of the web', () => {
  beforeAll(async () => {
    server = await startServer()
  })
  afterAll(stopServers)

  it.each(['HEAD', 'POST', 'OPTIONS', 'DELETE'])('refuses %s', async (method) => {
    const response = await fetch(`${server.adminUrl}/metrics`, { method })
    expect(response.status).toBe(405)
    expect(await response.text()).toBe('')
  })

  it.each(['/metrics/', '/metrics?name[]=x', '//metrics', '/METRICS', '/%6detrics'])(
    'has nothing at %s',
    async (path) => {
      expect((await fetch(server.adminUrl + path)).status).toBe(404)
    },
  )

  it('has no CORS headers, and is not kept', async () => {
    const headers = { origin: new URL(server.url).origin }
    const response = await fetch(`${server.adminUrl}/metrics`, { headers })
    expect(response.status).toBe(200)
    expect(Object.fromEntries(response.headers)).not.toHaveProperty('access-control-allow-origin')
    expect(response.headers.get('cache-control')).toBe('no-store')
    expect(response.headers.get('x-content-type-options')).toBe('nosniff')
  })

  it('is not public', async () => {
    expect((await fetch(new URL('/metrics', server.url))).status).toBe(404)
  })
})
