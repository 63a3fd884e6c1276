import fc from 'fast-check'
import { describe, expect, it, onTestFinished } from 'vitest'
import { HOST, PUBLIC_URL, type TestApp, testApp, toolCall } from '../app.ts'
import { daysFromNow, keyFile } from '../key-file.ts'
import { forgedKey } from './forged-key.ts'
import { type Request, verdictOf, type World } from './oracle.ts'
import { requests } from './requests.ts'

/** How many requests are tried in all. `npm run fuzz` says 100,000 and more. */
const RUNS = Number(process.env['FUZZ_RUNS'] ?? 20_000)
const BODY = JSON.stringify(toolCall('echo', { text: 'hello' }))
/** What the modern client sends besides what is varied. */
const FIXED = [
  ['content-type', 'application/json'],
  ['accept', 'application/json, text/event-stream'],
  ['content-length', String(Buffer.byteLength(BODY))],
  ['mcp-protocol-version', '2026-07-28'],
  ['mcp-method', 'tools/call'],
  ['mcp-name', 'echo'],
] as const

interface Side {
  readonly app: TestApp
  readonly world: World
  /** Keys that are not good any more, not here, or forged. */
  readonly dead: readonly string[]
}

function sideOf(mode: 'production' | 'development', keyHeader: string | null): Side {
  const { file, keys } = keyFile(
    {},
    { scopes: ['documents:process'] },
    { expiresAt: daysFromNow(-1) },
    { revokedAt: daysFromNow(-1) },
    { allowedCidrs: ['10.0.0.0/8'] },
  )
  const [good = '', unscoped = '', ...dead] = keys
  const hosts = ['mcp.internal.example.com', '10.20.0.5:8443']
  const origins = ['https://console.example.com', 'https://console.example.com:8443']
  const loopback = ['localhost:3000', '127.0.0.1:3000', '[::1]:3000']
  const app = testApp({
    env: { NODE_ENV: mode, MCP_PUBLIC_URL: PUBLIC_URL, MCP_API_KEYS_FILE: file },
    policies: (policies) => ({
      ...policies,
      http: {
        ...policies.http,
        hosts,
        origins: origins.map((value) => ({ value, why: 'of the test' })),
      },
      auth: { ...policies.auth, apiKeys: { ...policies.auth.apiKeys, header: keyHeader } },
      limits: {
        ...policies.limits,
        address: {
          connections: 1_000_000,
          requestsPerMinute: 100_000_000,
          authFailuresPerMinute: 100_000_000,
        },
        principal: { ...policies.limits.principal, requestsPerMinute: 100_000_000 },
      },
    }),
  })
  const world: World = {
    hosts: [HOST, ...hosts, ...(mode === 'development' ? loopback : [])],
    origins,
    development: mode === 'development',
    keyHeader,
    goodKeys: [good, app.key],
    unscopedKeys: [unscoped],
  }
  onTestFinished(() => app.close())
  return { app, world, dead: [...dead, forgedKey(good), forgedKey(app.key)] }
}

/** Answer and oracle agree, and the answer gives nothing away. */
async function decides({ app, world }: Side, request: Request): Promise<number> {
  const { method, target, headers } = request
  const response = await app.send({ method, target, wire: [...headers, ...FIXED], body: BODY })
  const { statuses, reaches, reads } = verdictOf(request, world)
  expect(statuses).toContain(response.status)
  expect(response.reached).toBe(reaches ? 1 : 0)
  expect(response.bodyRead).toBe(reads)

  const challenge = response.headers.get('www-authenticate')
  if (response.status === 401) expect(challenge).toMatch(/^Bearer .*resource_metadata=/)
  else if (response.status !== 403) expect(challenge).toBeNull()
  const origin = response.headers.get('access-control-allow-origin')
  if (origin !== null) {
    expect(headers).toContainEqual([expect.stringMatching(/^origin$/i), origin])
  }
  const answer = response.text + [...response.headers].join()
  for (const key of [...world.goodKeys, ...world.unscopedKeys]) expect(answer).not.toContain(key)
  app.audited.length = 0
  return response.status
}

describe('threat: a combination that nobody thought of, a request gets where it must not', () => {
  it.each([
    ['in production', 'production', null],
    ['in production with a header for keys', 'production', 'x-api-key'],
    ['in development', 'development', null],
  ] as const)(
    'decides as the oracle does %s',
    async (_name, mode, keyHeader) => {
      const side = sideOf(mode, keyHeader)
      const seen = new Set<number>()
      await fc.assert(
        fc.asyncProperty(requests(side.world, side.dead), async (request) => {
          seen.add(await decides(side, request))
        }),
        { numRuns: Math.ceil(RUNS / 3) },
      )
      // None of the answers is missing: the oracle was asked about each.
      expect([...seen].toSorted()).toEqual([200, 204, 400, 401, 403, 404, 405, 421])
    },
    600_000,
  )
})
