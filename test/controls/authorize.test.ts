import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { META, testApp, toolCall } from '../app.ts'
import { expectRefused, expectServed } from '../expect-refused.ts'
import { keyFile } from '../key-file.ts'

const METADATA =
  'resource_metadata="https://mcp.example.com/.well-known/oauth-protected-resource/mcp"'
const ID = 'A'.repeat(22)
const document = { name: 'a.txt', text: 'words' }

/** Everything that can be used: a message, and the scopes that its entry takes. */
const OPERATIONS = {
  echo: [toolCall('echo', { text: 'x' }), ['mcp:use']],
  whoami: [toolCall('whoami', {}), ['mcp:use']],
  process_documents: [
    toolCall('process_documents', { documents: [document] }),
    ['mcp:use', 'documents:process'],
  ],
  delete_report: [toolCall('delete_report', { id: ID }), ['mcp:use', 'reports:delete']],
  'report://{id}': [
    request('resources/read', { uri: `report://${ID}` }),
    ['mcp:use', 'reports:read'],
  ],
  summarize_report: [
    request('prompts/get', { name: 'summarize_report', arguments: { id: ID } }),
    ['mcp:use', 'reports:read'],
  ],
} as const satisfies Record<string, readonly [object, readonly string[]]>
const ALL = ['mcp:use', 'documents:process', 'reports:read', 'reports:delete']

function request(method: string, params: object = {}): object {
  return { jsonrpc: '2.0', id: 1, method, params: { ...params, _meta: META } }
}

/** What a client of 2025 sends. */
const LEGACY = { 'mcp-protocol-version': '2025-11-25' }

function withoutMeta(message: object): object {
  return JSON.parse(JSON.stringify(message, (key, value) => (key === '_meta' ? undefined : value)))
}

/** A name as a header carries it (MCP 2026-07-28 Streamable HTTP, Value encoding). */
function encoded(name: string): string {
  const isPlain = /^[\x21-\x7e]+$/.test(name)
  return isPlain ? name : `=?base64?${Buffer.from(name).toString('base64')}?=`
}

/** Names in the answer to a list method. */
function namesIn(json: unknown, member: string, key: string): string[] {
  const items = z.array(z.object({ [key]: z.string() }))
  const { result } = z.object({ result: z.object({ [member]: items }) }).parse(json)
  return (result[member] ?? []).flatMap(Object.values<string>)
}

describe('threat: a missing scope, a caller uses what it may not', () => {
  const subsets = Array.from({ length: 2 ** ALL.length }, (_, bits) =>
    ALL.filter((_scope, index) => (bits >> index) % 2 === 1),
  )

  it.each(subsets.map((scopes) => [scopes.join(' '), scopes] as const))(
    'decides on everything for the scopes %j',
    async (_name, scopes) => {
      const app = testApp({ scopes })
      for (const [name, [body, needed]] of Object.entries(OPERATIONS)) {
        const response = await app.send({ body })
        if (needed.every((scope) => scopes.includes(scope))) {
          expect(response.reached, name).toBe(1)
          expect(response.events[0]).toMatchObject({ event: 'decision', name, allowed: true })
          continue
        }
        expectRefused(app, response, 403, 'authorize.missing-scope', {
          id: 1,
          also: ['decision'],
        })
        expect(response.headers.get('www-authenticate')).toBe(
          `Bearer error="insufficient_scope", scope="${needed.join(' ')}", ${METADATA}`,
        )
      }
    },
  )

  it.each([
    'reports:rea',
    'reports:reads',
    'Reports:read',
    'reports',
    'reports:*',
    '*',
    'read',
    'reports:read,reports:delete',
    'constructor',
  ])('does not take %j for reports:read', async (scope) => {
    const app = testApp({ scopes: ['mcp:use', scope] })
    const response = await app.send({ body: OPERATIONS.summarize_report[0] })
    expectRefused(app, response, 403, 'authorize.missing-scope', { id: 1, also: ['decision'] })
  })

  it.each([
    ['server/discover', {}],
    ['tools/list', {}],
    ['prompts/list', {}],
    ['resources/list', {}],
    ['resources/templates/list', {}],
    ['subscriptions/listen', {}],
    ['tools/list', LEGACY],
    ['initialize', LEGACY],
    ['ping', LEGACY],
    ['logging/setLevel', LEGACY],
  ])('wants the base scope for %s too, with headers %j', async (method, headers) => {
    const app = testApp({ scopes: ALL.slice(1) })
    const body = headers === LEGACY ? { jsonrpc: '2.0', id: 1, method } : request(method)
    const response = await app.send({ body, headers })
    expectRefused(app, response, 403, 'authorize.missing-scope', { id: 1 })
    expect(response.headers.get('www-authenticate')).toContain('scope="mcp:use"')
  })

  it('puts the refusal on record with what it was about', async () => {
    const app = testApp({ scopes: ['mcp:use'] })
    const { events } = await app.send({ body: OPERATIONS.delete_report[0] })
    expect(events[0]).toMatchObject({
      event: 'decision',
      allowed: false,
      reason: 'authorize.missing-scope',
      method: 'tools/call',
      name: 'delete_report',
      rpcId: 1,
      era: 'modern',
      principal: { subject: 'developer' },
    })
    expect(JSON.stringify(events)).not.toContain(ID)
  })
})

describe('threat: a condition that is not met, a caller does more than it may', () => {
  const batch = (count: number): object =>
    toolCall('process_documents', { documents: Array.from({ length: count }, () => document) })

  it.each([
    ['51 documents', 51, []],
    ['200 documents', 200, []],
    ['a role that begins alike', 51, ['bulky']],
    ['a role in another case', 51, ['Bulk']],
    ['another role', 51, ['admin', 'constructor']],
  ])('refuses %s', async (_name, count, roles) => {
    const { file, keys } = keyFile({ scopes: ALL, roles })
    const app = testApp({ env: { MCP_API_KEYS_FILE: file } })
    const headers = { authorization: `Bearer ${keys[0]}` }
    const response = await app.send({ body: batch(count), headers })

    expectRefused(app, response, 403, 'authorize.condition', { id: 1, also: ['decision'] })
    expect(response.headers.has('www-authenticate')).toBe(false)
  })

  it('lets 51 documents through for the role', async () => {
    const { file, keys } = keyFile({ scopes: ALL, roles: ['bulk'] })
    const app = testApp({ env: { MCP_API_KEYS_FILE: file } })
    const headers = { authorization: `Bearer ${keys[0]}` }
    const answer = await app.open({ body: batch(51), headers })
    expect(answer.status).toBe(200)
    expect(app.reached()).toBe(1)
    expect(app.audited[0]).toMatchObject({ event: 'decision', allowed: true })
    await answer.leave()
  })

  it('lets 50 documents through without it', async () => {
    const app = testApp()
    const answer = await app.open({ body: batch(50) })
    expect(answer.status).toBe(200)
    expect(app.reached()).toBe(1)
    await answer.leave()
  })

  it.each([
    ['no arguments', undefined],
    ['null', null],
    ['a list', [document]],
    ['no documents', { documents: [] }],
    ['201 documents', { documents: Array.from({ length: 201 }, () => document) }],
    ['documents that have a length alone', { documents: { length: 1 } }],
    ['a field that no schema has', { documents: [document], admin: true }],
    ['a document of another shape', { documents: [{ ...document, path: '/etc/passwd' }] }],
  ])('never runs what the schema refuses: %s', async (_name, args) => {
    const app = testApp()
    const body = request('tools/call', { name: 'process_documents', arguments: args })
    const response = await app.send({ body })
    expect(response.text).not.toContain('reportId')
    expect(response.events.map(({ event }) => event)).toEqual(['decision', 'request', 'outcome'])
    expect(response.events.at(-1)).toMatchObject({ outcome: 'not-run' })
  })
})

describe('threat: an unknown method or name, something runs that no rule speaks of', () => {
  const app = testApp()

  it.each([
    '',
    'null',
    'constructor',
    '__proto__',
    'toString',
    'tools',
    'tools/',
    'tools/call/',
    'tools/cal',
    'tools/callx',
    'Tools/Call',
    'TOOLS/CALL',
    'tools.call',
    'tools//call',
    ' tools/call',
    'tools/call ',
    'tools/call\0',
    '\u0442ools/call',
    'tools%2fcall',
    'tasks/get',
    'tasks/result',
    'completion/completed',
    'resources/subscribe',
    'sampling/createMessage',
    'elicitation/create',
    'roots/list',
    'rpc.discover',
    'notifications/message',
    'notifications/tools/list_changed',
    'notifications/',
    'x'.repeat(300),
  ])('refuses the method %j', async (method) => {
    for (const id of [1, undefined]) {
      const body = { jsonrpc: '2.0', id, method }
      const response = await app.send({ body, headers: { ...LEGACY, 'mcp-method': null } })
      expectRefused(app, response, 404, 'authorize.unknown-method', id === undefined ? {} : { id })
    }
  })

  it.each([
    'null',
    'constructor',
    'tools/cal',
    'Tools/Call',
    'tasks/list',
    'resources/subscribe',
    'initialize',
    'ping',
    'logging/setLevel',
  ])('does not know %s in 2026-07-28', async (method) => {
    const response = await app.send({ body: request(method) })
    expectRefused(app, response, 404, 'authorize.unknown-method', { id: 1 })
  })

  it.each([
    'notifications/initialized',
    'notifications/cancelled',
    'notifications/progress',
    'notifications/roots/list_changed',
  ])('refuses the notification %s as a request', async (method) => {
    const response = await app.send({ body: request(method) })
    expectRefused(app, response, 404, 'authorize.unknown-method', { id: 1 })
  })

  it.each(['server/discover', 'subscriptions/listen'])(
    'does not know %s in a revision that has no such method',
    async (method) => {
      const body = { jsonrpc: '2.0', id: 1, method }
      const response = await app.send({ body, headers: LEGACY })
      expectRefused(app, response, 404, 'authorize.unknown-method', { id: 1 })
    },
  )

  it.each(['tools/call', 'tools/list', 'ping', 'initialize', 'subscriptions/listen'])(
    'refuses the request %s as a notification',
    async (method) => {
      const params = { name: 'echo', arguments: { text: 'x' } }
      const response = await app.send({ body: { jsonrpc: '2.0', method, params } })
      expectRefused(app, response, 404, 'authorize.unknown-method')
    },
  )

  it('lets a notification through', async () => {
    const headers = { 'mcp-protocol-version': '2025-11-25', 'mcp-method': null }
    const body = { jsonrpc: '2.0', method: 'notifications/initialized' }
    expect(await app.send({ body, headers })).toMatchObject({ status: 202, text: '', reached: 1 })
  })

  it.each([
    'canary-value',
    '',
    'constructor',
    '__proto__',
    'toString',
    'Echo',
    'ECHO',
    'echo ',
    'echo\0',
    'ech',
    'echoo',
    '\u0435cho',
    'summarize_report',
    'report://{id}',
    '../echo',
    'x'.repeat(300),
  ])('runs no tool of the name %j, and says so in fixed words', async (name) => {
    const body = toolCall(name, { text: 'x' })
    const response = await app.send({ body, headers: { 'mcp-name': encoded(name) } })
    expect(response.status).toBe(200)
    expect(response.json).toEqual({
      jsonrpc: '2.0',
      id: 1,
      error: { code: -32602, message: 'Unknown tool' },
    })
    expect(response.events.map(({ event }) => event)).toEqual(['request'])
  })

  it.each([null, 1, true, ['echo'], { toString: 'echo' }])(
    'runs no tool when the name is %j',
    async (name) => {
      const body = request('tools/call', { name, arguments: { text: 'x' } })
      const response = await app.send({ body, headers: { 'mcp-name': 'echo' } })
      expect(response.json).toEqual({
        jsonrpc: '2.0',
        id: 1,
        error: { code: -32602, message: 'Invalid params' },
      })
      expect(response.events.map(({ event }) => event)).toEqual(['request'])
    },
  )

  it('decides by the name in the body, whatever the header of a revision without it says', async () => {
    const weak = testApp({ scopes: ['mcp:use'] })
    const disguised = await weak.send({
      body: withoutMeta(OPERATIONS.delete_report[0]),
      headers: { ...LEGACY, 'mcp-name': 'echo' },
    })
    expectRefused(weak, disguised, 403, 'authorize.missing-scope', { id: 1, also: ['decision'] })

    const body = withoutMeta(toolCall('echo', { text: 'x' }))
    expectServed(await weak.send({ body, headers: { ...LEGACY, 'mcp-name': 'delete_report' } }))
  })
})

describe('threat: lists and calls that disagree, a caller sees or uses what the other one hides', () => {
  const lists = [
    ['tools/list', 'tools', 'name', ['echo', 'whoami', 'process_documents', 'delete_report']],
    ['prompts/list', 'prompts', 'name', ['summarize_report']],
    ['resources/templates/list', 'resourceTemplates', 'uriTemplate', ['report://{id}']],
  ] as const
  /** Shown without its scope, so that a client can ask for that. */
  const LISTED = ['delete_report']

  it.each([
    ['all scopes', ALL],
    ['the base scope', ['mcp:use']],
    ['the base scope and documents', ['mcp:use', 'documents:process']],
    ['the base scope and reports', ['mcp:use', 'reports:read']],
  ])('shows exactly what may be called, with %s', async (_name, scopes) => {
    const app = testApp({ scopes })
    for (const [method, member, key, names] of lists) {
      const { json } = await app.send({ body: request(method) })
      const shown = namesIn(json, member, key)
      for (const name of names) {
        const answer = await app.open({ body: OPERATIONS[name][0] })
        await answer.leave()
        const isCallable = answer.status !== 403
        expect(shown.includes(name), name).toBe(isCallable || LISTED.includes(name))
      }
      expect(names).toEqual(expect.arrayContaining(shown))
    }
  })
})

describe('threat: a call without a record, it runs although nobody will know', () => {
  it('puts the decision on record before the outcome', async () => {
    const { events } = await testApp().send()
    expect(events.map(({ event }) => event)).toEqual(['decision', 'outcome', 'request'])
  })

  it.each(Object.entries(OPERATIONS))(
    'runs no %s when the decision cannot be written',
    async (_name, [body]) => {
      let isBroken = true
      const app = testApp({ commitFails: () => isBroken })
      const response = await app.send({ body })
      expectRefused(app, response, 503, 'audit.sink-broken', { id: 1 })
      expect(response.headers.get('retry-after')).toBe('5')

      isBroken = false
      expect((await app.send({ body })).reached).toBe(1)
    },
  )

  it('still refuses what the rule refuses when the sink is broken', async () => {
    const app = testApp({ scopes: ['mcp:use'], commitFails: () => true })
    const response = await app.send({ body: OPERATIONS.delete_report[0] })
    expectRefused(app, response, 403, 'authorize.missing-scope', { id: 1, also: ['decision'] })
  })
})

describe('threat: what a client says of itself, it is taken for somebody else', () => {
  const call = (clientInfo: object): object => ({
    ...toolCall('delete_report', { id: ID }),
    params: {
      name: 'delete_report',
      arguments: { id: ID },
      _meta: { ...META, 'io.modelcontextprotocol/clientInfo': clientInfo },
    },
  })

  it.each(['admin', 'gatehouse', 'reports:delete', 'user-1'])(
    'TRN-25 refuses a client without the scope that says it is %s',
    async (name) => {
      const app = testApp({ scopes: ['mcp:use'] })
      const response = await app.send({ body: call({ name, title: name, version: '1' }) })
      expectRefused(app, response, 403, 'authorize.missing-scope', { id: 1, also: ['decision'] })
    },
  )

  it('TRN-25 lets a client with the scope through, whatever it says', async () => {
    const app = testApp({ scopes: ['mcp:use', 'reports:delete'] })
    expectServed(await app.send({ body: call({ name: 'nobody', version: '0' }) }))
  })
})
