import { createMcpHandler, McpServer } from '@modelcontextprotocol/server'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import type { Message } from '../../src/context.ts'
import { type HeaderParameter, headersRepeat } from '../../src/controls/protocol-guard.ts'
import { DENIALS, Denied } from '../../src/errors.ts'
import { eraReader } from '../../src/mcp/era.ts'
import type { RawHeaders } from '../../src/raw-headers.ts'
import { META, type TestRequest, testApp, toolCall } from '../app.ts'
import { expectRefused, expectServed } from '../expect-refused.ts'

const VERSION = 'io.modelcontextprotocol/protocolVersion'
const base64 = (text: string): string => `=?base64?${Buffer.from(text).toString('base64')}?=`

describe('threat: headers say one thing and the body another, a proxy decides on the wrong one', () => {
  const app = testApp()

  it.each<[string, TestRequest['headers'] & {}]>([
    ['another method', { 'mcp-method': 'tools/list' }],
    ['no method', { 'mcp-method': null }],
    ['an empty method', { 'mcp-method': '' }],
    ['the method in another case', { 'mcp-method': 'Tools/Call' }],
    ['the method in base64', { 'mcp-method': base64('tools/call') }],
    ['another name', { 'mcp-name': 'whoami' }],
    ['no name', { 'mcp-name': null }],
    ['an empty name', { 'mcp-name': '' }],
    ['a prefix of the name', { 'mcp-name': 'ech' }],
    ['the name and more', { 'mcp-name': 'echo2' }],
    ['the name in another case', { 'mcp-name': 'Echo' }],
    ['a name of every object', { 'mcp-name': 'constructor' }],
    ['another name in base64', { 'mcp-name': base64('whoami') }],
    ['base64 of nothing', { 'mcp-name': base64('') }],
    ['what is not base64', { 'mcp-name': '=?base64?ZWN*bw==?=' }],
    ['base64 without its padding', { 'mcp-name': '=?base64?ZWNobw?=' }],
    ['base64 with bits left over', { 'mcp-name': '=?base64?ZWNobx==?=' }],
    ['base64 of the URL alphabet', { 'mcp-name': '=?base64?ZWNo-w==?=' }],
    ['base64 of what is not UTF-8', { 'mcp-name': '=?base64?/w==?=' }],
    ['base64 with a byte order mark', { 'mcp-name': base64('\ufeffecho') }],
    ['markers in upper case', { 'mcp-name': '=?BASE64?ZWNobw==?=' }],
    ['one marker alone', { 'mcp-name': '=?base64?ZWNobw==' }],
    ['base64 twice', { 'mcp-name': base64(base64('echo')) }],
    ['another version', { 'mcp-protocol-version': '2025-11-25' }],
    ['an unknown version', { 'mcp-protocol-version': '1999-01-01' }],
    ['no version', { 'mcp-protocol-version': null }],
  ])('refuses %s, and decides nothing', async (_name, headers) => {
    const response = await app.send({ headers })
    expectRefused(app, response, 400, 'protocol-guard.header-mismatch', { id: 1 })
  })

  it('refuses it before it says whether the caller may', async () => {
    const weak = testApp({ scopes: ['mcp:use'] })
    const body = toolCall('delete_report', { id: 'A'.repeat(22) })
    const disguised = await weak.send({ body, headers: { 'mcp-name': 'echo' } })
    expectRefused(weak, disguised, 400, 'protocol-guard.header-mismatch', { id: 1 })
    const honest = await weak.send({ body })
    expectRefused(weak, honest, 403, 'authorize.missing-scope', { id: 1, also: ['decision'] })
  })

  it.each<[string, TestRequest]>([
    ['equal headers', {}],
    ['the name in base64', { headers: { 'mcp-name': base64('echo') } }],
  ])('lets %s through', async (_name, request) => {
    expectServed(await app.send(request))
  })

  it.each([
    ['prompts/get', { name: 'summarize_report' }, 'mcp-name', 'other'],
    ['resources/read', { uri: 'report://a' }, 'mcp-name', 'report://b'],
    ['tools/list', {}, 'mcp-method', 'prompts/list'],
  ])('compares %s too', async (method, params, header, value) => {
    const body = { jsonrpc: '2.0', id: 1, method, params: { ...params, _meta: META } }
    const response = await app.send({ body, headers: { [header]: value } })
    expectRefused(app, response, 400, 'protocol-guard.header-mismatch', { id: 1 })
    expect((await app.send({ body })).status).toBe(200)
  })

  it('refuses a character that no header may have, though the body has it too', async () => {
    const uri = 'report://caf\u00e9'
    const body = { jsonrpc: '2.0', id: 1, method: 'resources/read', params: { uri, _meta: META } }
    const response = await app.send({ body })
    expectRefused(app, response, 400, 'protocol-guard.header-mismatch', { id: 1 })
    expect((await app.send({ body, headers: { 'mcp-name': base64(uri) } })).status).toBe(200)
  })
})

describe('threat: a version or _meta that nobody serves, a decision is on record for nothing', () => {
  const app = testApp()
  const withMeta = (meta: object | undefined): object => ({
    jsonrpc: '2.0',
    id: 1,
    method: 'tools/call',
    params: { name: 'echo', arguments: { text: 'x' }, ...(meta && { _meta: meta }) },
  })

  it.each([
    ['no _meta', undefined],
    ['an empty _meta', {}],
    ['a version that is a number', { ...META, [VERSION]: 7 }],
    ['no capabilities', { [VERSION]: '2026-07-28' }],
    ['a client without a name', { ...META, 'io.modelcontextprotocol/clientInfo': {} }],
  ])('refuses %s', async (_name, meta) => {
    const response = await app.send({ body: withMeta(meta) })
    expectRefused(app, response, 400, 'protocol-guard.invalid-meta', { id: 1 })
  })

  it.each([
    ['2027-01-01', { requested: '2027-01-01' }],
    ['2025-11-25', { requested: '2025-11-25' }],
    ['v999.0.0', { requested: 'v999.0.0' }],
    ['canary', {}],
    ['1-canary', {}],
    ['1'.repeat(40), {}],
    ['2026-07-28\u00a0', {}],
  ])('refuses the version %j and says which there are', async (version, requested) => {
    const { status, json, events, text } = await app.send({
      body: withMeta({ ...META, [VERSION]: version }),
      headers: { 'mcp-protocol-version': version },
    })
    expect(status).toBe(400)
    expect(json).toEqual({
      jsonrpc: '2.0',
      id: 1,
      error: {
        code: -32022,
        message: 'Unsupported protocol version',
        data: { supported: ['2026-07-28'], ...requested },
      },
    })
    expect(text).not.toContain('canary')
    expect(events).toEqual([
      expect.objectContaining({ event: 'request', reason: 'protocol-guard.unsupported-version' }),
    ])
  })

  it.each(['2024-11-05', '1999-01-01', '', '2025-11-25x'])(
    'refuses %j in the header of a client of 2025',
    async (version) => {
      const headers = { 'mcp-protocol-version': version }
      const { status, json, events } = await app.send({ body: withMeta(undefined), headers })
      expect(status).toBe(400)
      expect(json).toMatchObject({
        error: { code: -32022, data: { supported: expect.arrayContaining(['2025-11-25']) } },
      })
      expect(events).toEqual([
        expect.objectContaining({ event: 'request', reason: 'protocol-guard.unsupported-version' }),
      ])
    },
  )

  it.each(['2025-03-26', '2025-06-18', '2025-11-25', null])(
    'serves a client of 2025 with the version %j',
    async (version) => {
      const headers = { 'mcp-protocol-version': version }
      expectServed(await app.send({ body: withMeta(undefined), headers }))
    },
  )
})

describe('threat: a parameter that a proxy reads in a header, the tool gets another one', () => {
  const parameters = new Map<string, readonly HeaderParameter[]>([
    [
      'query',
      [
        { header: 'Mcp-Param-Region', path: ['region'] },
        { header: 'Mcp-Param-Size', path: ['page', 'size'] },
        { header: 'Mcp-Param-Dry', path: ['dry'] },
      ],
    ],
  ])
  const args = { region: 'eu', page: { size: 5 }, dry: true }
  const equal = { region: 'eu', size: '5', dry: 'true' }

  function repeats(values: object, named: Readonly<Record<string, string | undefined>>): boolean {
    const message: Message = {
      jsonrpc: '2.0',
      id: 1,
      method: 'tools/call',
      params: { name: 'query', arguments: values },
    }
    const sent = Object.entries(named).flatMap(([name, value]): [string, string[]][] =>
      value === undefined ? [] : [[`mcp-param-${name}`, [value]]],
    )
    const headers: RawHeaders = new Map([
      ['mcp-protocol-version', ['2026-07-28']],
      ['mcp-method', ['tools/call']],
      ['mcp-name', ['query']],
      ...sent,
    ])
    return headersRepeat(message, headers, parameters)
  }

  it.each([
    ['another text', { region: 'us' }],
    ['no text', { region: undefined }],
    ['the text in another case', { region: 'EU' }],
    ['text that is not base64', { region: '=?base64?ZXU?=' }],
    ['another number', { size: '6' }],
    ['no number', { size: undefined }],
    ['a number in hexadecimal', { size: '0x5' }],
    ['a number with an exponent', { size: '5e0' }],
    ['a number with a sign', { size: '+5' }],
    ['an empty number', { size: '' }],
    ['another truth', { dry: 'false' }],
    ['a truth in another case', { dry: 'True' }],
  ])('refuses %s', (_name, changes) => {
    expect(repeats(args, { ...equal, ...changes })).toBe(false)
  })

  it('refuses bytes that are not UTF-8, for text that stands for such bytes', () => {
    const broken = { ...args, region: '\ufffd' }
    expect(repeats(broken, { ...equal, region: '=?base64?/w==?=' })).toBe(false)
    expect(repeats(broken, { ...equal, region: base64('\ufffd') })).toBe(true)
  })

  it.each([
    ['equal values', {}],
    ['a number written differently', { size: '5.0' }],
    ['text in base64', { region: base64('eu') }],
  ])('lets %s through', (_name, changes) => {
    expect(repeats(args, { ...equal, ...changes })).toBe(true)
  })

  it.each([
    ['no arguments', {}],
    ['nothing in place of a value', { region: null, page: null, dry: null }],
    ['what the schema refuses', { region: ['eu'], page: 5, dry: {} }],
  ])('expects no header for %s', (_name, values) => {
    expect(repeats(values, {})).toBe(true)
  })
})

describe('contract: what is refused here the SDK would refuse, and what is served it serves', () => {
  type Verdict = { readonly era: string } | { readonly status: number; readonly code: number }

  const METAS = [
    undefined,
    {},
    META,
    { progressToken: 1 },
    { ...META, [VERSION]: '2025-11-25' },
    { ...META, [VERSION]: '2099-01-01' },
    { ...META, [VERSION]: 7 },
    { [VERSION]: '2026-07-28' },
    { [VERSION]: null },
  ]
  const VERSIONS = [undefined, '2024-11-05', '2025-06-18', '2025-11-25', '2026-07-28', 'x']
  const METHODS = [
    ['initialize', {}],
    [
      'initialize',
      {
        protocolVersion: '2025-11-25',
        capabilities: {},
        clientInfo: { name: 'a', version: '1' },
      },
    ],
    ['ping', {}],
    ['tools/list', {}],
    ['tools/call', { name: 'query', arguments: { region: 'eu', size: 5 } }],
    ['tools/call', { name: 'query', arguments: {} }],
    ['tools/call', { name: 7 }],
    ['resources/read', { uri: 'report://a' }],
    ['notifications/initialized', {}],
    ['no/such', {}],
  ] as const
  const PARAMETERS = [
    { header: 'Mcp-Param-Region', path: ['region'] },
    { header: 'Mcp-Param-Size', path: ['size'] },
  ]
  const OTHERS: readonly (readonly [name: string, value: string][])[] = [
    [
      ['mcp-param-region', 'eu'],
      ['mcp-param-size', '5.0'],
    ],
    [
      ['mcp-param-region', 'us'],
      ['mcp-param-size', '5'],
    ],
    [],
  ]

  const NAMES = [undefined, 'query', base64('query'), '=?base64?*?=', 'report://a']

  const seen = new Set<string>()
  let servedIn: string | undefined
  const sdk = createMcpHandler(
    ({ era }) => {
      servedIn = era
      const server = new McpServer(
        { name: 'test', version: '1' },
        {
          supportedProtocolVersions: ['2026-07-28', '2025-11-25', '2025-06-18', '2025-03-26'],
        },
      )
      const inputSchema = z.object({
        region: z.string().optional().meta({ 'x-mcp-header': 'Region' }),
        size: z.int().optional().meta({ 'x-mcp-header': 'Size' }),
      })
      server.registerTool('query', { inputSchema }, async () => ({ content: [] }))
      return server
    },
    { legacy: 'stateless' },
  )
  const answered = z.object({ error: z.object({ code: z.int() }) })

  async function verdictOfSdk(message: Message, headers: RawHeaders): Promise<Verdict> {
    servedIn = undefined
    const all = [...headers].map(([name, [value = '']]): [string, string] => [name, value])
    const request = new Request('http://localhost/mcp', {
      method: 'POST',
      headers: [
        ...all,
        ['content-type', 'application/json'],
        ['accept', 'application/json, text/event-stream'],
      ],
    })
    const response = await sdk.fetch(request, { parsedBody: message })
    const { status } = response
    if (status !== 400) {
      await response.body?.cancel()
      return { era: servedIn ?? 'none' }
    }
    const { code } = answered.parse(await response.json()).error
    // A version of 2025 that is not served: MCP had no code for it.
    return { status, code: code === -32000 ? -32022 : code }
  }

  const eraOf = eraReader('stateless')
  function verdict(message: Message, headers: RawHeaders): Verdict {
    try {
      const era = eraOf(message, headers)
      const isRequest = message.id !== undefined
      if (
        era === 'legacy' ||
        !isRequest ||
        headersRepeat(message, headers, new Map([['query', PARAMETERS]]))
      ) {
        return { era }
      }
      return { status: 400, code: -32020 }
    } catch (error) {
      if (!(error instanceof Denied)) throw error
      const { status, rpcCode } = DENIALS[error.reason]
      return { status, code: rpcCode }
    }
  }

  it.each(METHODS.flatMap(([method, params]) => VERSIONS.map((v) => [method, params, v] as const)))(
    '%s %j, version %s',
    async (method, params, version) => {
      for (const meta of METAS) {
        for (const sentMethod of [undefined, method, 'tools/other']) {
          for (const name of 'name' in params || 'uri' in params ? NAMES : ['query']) {
            for (const others of 'name' in params ? OTHERS : [[]]) {
              const message: Message = {
                jsonrpc: '2.0',
                ...(method.startsWith('notifications/') ? {} : { id: 1 }),
                method,
                params: { ...params, ...(meta && { _meta: meta }) },
              }
              const headers: RawHeaders = new Map(
                [
                  ['mcp-protocol-version', version],
                  ['mcp-method', sentMethod],
                  ['mcp-name', name],
                  ...others,
                ].flatMap(([key = '', value]): [string, string[]][] =>
                  value === undefined ? [] : [[key, [value]]],
                ),
              )
              const expected = await verdictOfSdk(message, headers)
              const what = JSON.stringify([meta, [...headers]])
              expect(verdict(message, headers), what).toEqual(expected)
              seen.add(JSON.stringify(expected))
            }
          }
        }
      }
    },
  )

  it('has seen each verdict', () => {
    expect([...seen].toSorted()).toEqual([
      '{"era":"legacy"}',
      '{"era":"modern"}',
      '{"status":400,"code":-32020}',
      '{"status":400,"code":-32022}',
      '{"status":400,"code":-32602}',
    ])
  })
})
