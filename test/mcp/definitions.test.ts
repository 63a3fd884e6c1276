import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { defineTool } from '../../src/define.ts'
import { definitionsOf, paramHeaders } from '../../src/mcp/definitions.ts'
import { tools } from '../../src/tools/index.ts'
import { HOST, testApp } from '../app.ts'

const query = defineTool({
  name: 'query',
  title: 'Query',
  description: 'Runs a query in a region.',
  annotations: { readOnlyHint: true },
  input: z.strictObject({
    region: z.string().max(32).describe('Region.').meta({ 'x-mcp-header': 'Region' }),
  }),
  output: z.strictObject({ region: z.string() }),
  longRunning: false,
  run: async ({ region }) => ({ region }),
})

describe('contract: what callers see of a tool', () => {
  it('lists each tool as MCP wants it, with JSON Schema made once', () => {
    const { tools: defined } = definitionsOf({ tools, resources: [], prompts: [] })
    expect([...defined.keys()]).toEqual(tools.map(({ name }) => name))
    for (const [name, { listed, headerSchema }] of defined) {
      expect(listed).toMatchObject({ name, inputSchema: { type: 'object' } })
      expect(headerSchema).toBeUndefined()
    }
  })

  it('holds no reference that a client would have to follow', () => {
    const { tools: defined } = definitionsOf({ tools, resources: [], prompts: [] })
    const schemas = [...defined.values()].map(({ listed }) => listed)
    expect(JSON.stringify(schemas)).toContain('"properties"')
    expect(JSON.stringify(schemas)).not.toMatch(/"\$(?:dynamic|recursive)?[Rr]ef"/)
  })

  it('converts the schema that the SDK compares headers with once', () => {
    const { tools: defined } = definitionsOf({ tools: [query], resources: [], prompts: [] })
    const { jsonSchema } = defined.get('query')?.headerSchema?.['~standard'] ?? {}
    const options = { target: 'draft-2020-12' } as const
    expect(jsonSchema?.input(options)).toBe(jsonSchema?.input(options))
  })

  it('names the headers that repeat parameters, and only those', () => {
    expect(paramHeaders(definitionsOf({ tools: [query], resources: [], prompts: [] }))).toEqual([
      'Mcp-Param-Region',
    ])
    expect(paramHeaders(definitionsOf({ tools, resources: [], prompts: [] }))).toEqual([])
  })

  it('lets a browser send them', async () => {
    const app = testApp({
      catalog: { tools: [query], resources: [], prompts: [] },
      policies: (policies) => ({
        ...policies,
        access: {
          tools: {
            query: { scopes: [], listed: false, timeoutSeconds: 60, why: 'a test of headers' },
          },
          resources: {},
          prompts: {},
        },
        http: {
          ...policies.http,
          origins: [{ value: 'https://console.example.com', why: 'a test of headers' }],
        },
      }),
    })
    const { headers } = await app.send({
      method: 'OPTIONS',
      wire: [
        ['host', HOST],
        ['origin', 'https://console.example.com'],
        ['access-control-request-method', 'POST'],
      ],
    })
    expect(headers.get('access-control-allow-headers')).toContain('Mcp-Param-Region')
    app.close()
  })
})

/** What tools have callers repeat in headers. Proxies log headers: nothing sensitive belongs here. */
const IN_HEADERS: readonly string[] = []

describe('threat: a parameter in a header, a proxy logs what only the tool may see', () => {
  it('is one that somebody has looked at, of the tools that are served', () => {
    expect(paramHeaders(definitionsOf({ tools, resources: [], prompts: [] }))).toEqual(IN_HEADERS)
  })

  it('would be seen', () => {
    const marked = definitionsOf({ tools: [...tools, query], resources: [], prompts: [] })
    expect(paramHeaders(marked)).not.toEqual(IN_HEADERS)
  })
})
