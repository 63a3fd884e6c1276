import { hash } from 'node:crypto'
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, it, onTestFinished } from 'vitest'
import { Problems } from '../../src/problems.ts'
import { PUBLIC_URL, type TestApp, testApp } from '../app.ts'
import { daysFromNow, keyFile } from '../key-file.ts'
import { ROOT, textOf } from '../source-tree.ts'
import { forgedKey } from './forged-key.ts'

const RUNS = Math.ceil(Number(process.env['FUZZ_RUNS'] ?? 20_000) / 100)
const SECRET = hash('sha256', 'a secret of this test', 'base64')

/** Environment variables, and under their dotted names members of policies as YAML text. */
type Settings = Readonly<Record<string, string | undefined>>

/** Good settings of production and of development, and of an anonymous server. */
const PRODUCTION: Settings = {
  NODE_ENV: 'production',
  MCP_PUBLIC_URL: PUBLIC_URL,
  MCP_SECRET: SECRET,
  MCP_API_KEYS_FILE: 'live',
  'auth.baseScope': '"mcp:use"',
  'auth.apiKeys.enabled': 'true',
  'auth.apiKeys.header': 'null',
  'auth.issuers': '[]',
  'http.hosts': '[]',
  'http.origins': '[]',
}
const DEVELOPMENT: Settings = {
  ...PRODUCTION,
  NODE_ENV: 'development',
  MCP_PUBLIC_URL: undefined,
  MCP_SECRET: undefined,
}
const ANONYMOUS: Settings = {
  ...PRODUCTION,
  NODE_ENV: 'development',
  MCP_API_KEYS_FILE: undefined,
  MCP_DANGEROUSLY_ALLOW_ANONYMOUS: 'true',
}

/** What each setting may be instead. */
const OTHERS: Readonly<Record<string, readonly (string | undefined)[]>> = {
  NODE_ENV: ['production', 'development', undefined, 'test', ''],
  HOST: ['127.0.0.1', '::1', 'localhost', '0.0.0.0', '::', '10.0.0.1', '*'],
  MCP_PUBLIC_URL: [
    'https://mcp.example.com/mcp',
    undefined,
    'http://127.0.0.1:3000/mcp',
    'http://mcp.example.com/mcp',
    'https://mcp.example.com/',
  ],
  MCP_SECRET: [SECRET, undefined, 'c2hvcnQ=', ''],
  MCP_API_KEYS_FILE: ['live', undefined, 'none', 'dead', 'broken', 'missing', ''],
  MCP_DENY_LIST_FILE: [undefined, 'missing'],
  MCP_DANGEROUSLY_ALLOW_ANONYMOUS: [undefined, 'true', 'false', 'TRUE', '1', 'yes', ''],
  MCP_BEHIND_TLS_PROXY: ['true', 'false', '1'],
  MCP_TRUSTED_PROXIES: ['10.0.0.0/8', '0.0.0.0/0', '203.0.113.0/24'],
  MCP_TLS_CERT_FILE: ['missing'],
  MCP_ANONYMOUS: ['true'],
  'auth.baseScope': ['"use"', '""', '"*"', 'null', '[]'],
  'auth.apiKeys.enabled': ['true', 'false', '"true"', 'null', 'yes'],
  'auth.apiKeys.header': ['null', 'X-API-Key', 'Authorization', 'Host', '""', '"*"', 'Cookie'],
  'auth.issuers': [
    '[]',
    '[{ issuer: "https://10.0.0.1", why: "at a private address" }]',
    '[{ issuer: "http://127.0.0.1:9", why: "on loopback" }]',
    '[{ issuer: "https://10.0.0.1", tokenTypes: ["absent", "JWT"], why: "wide" }]',
    '[{ issuer: "https://10.0.0.1", algorithms: [none], why: "unsigned" }]',
    '[{ issuer: "https://10.0.0.1", algorithms: [HS256], why: "a shared secret" }]',
    '[{ issuer: "https://10.0.0.1", audiences: [], why: "for nobody" }]',
    '[{ issuer: "*", why: "anybody" }]',
  ],
  'http.hosts': ['[mcp.internal.example.com]', '["*"]', '[""]'],
  'http.origins': [
    '[{ value: "https://console.example.com", why: "a console" }]',
    '[{ value: "*", why: "everybody" }]',
    '[{ value: "null", why: "files" }]',
  ],
}

const change = fc.oneof(
  ...Object.entries(OTHERS).map(([name, values]) =>
    fc.constantFrom(...values).map((value) => ({ [name]: value })),
  ),
)
/** Good ones with up to four changes. */
const settings: fc.Arbitrary<Settings> = fc
  .tuple(fc.constantFrom(PRODUCTION, DEVELOPMENT, ANONYMOUS), fc.array(change, { maxLength: 4 }))
  .map(([base, changes]) => Object.fromEntries([base, ...changes].flatMap(Object.entries)))

const text = fc.string({ unit: fc.constantFrom(...' \t,;:=-._~+/abzAZ09"{}[]é'), maxLength: 30 })
const scheme = fc.constantFrom('Bearer', 'bearer', 'DPoP', 'Basic', 'Digest', 'Negotiate', '')

/** Headers that prove nothing: no credential, no good one, and what others take for one. */
function credentialless(bad: readonly string[]): fc.Arbitrary<Headers> {
  const value = fc.oneof(
    fc.constantFrom(
      '',
      'null',
      'undefined',
      'anonymous',
      'mcpk_',
      'eyJhbGciOiJub25lIn0.e30.',
      ...bad,
    ),
    text,
  )
  const authorization = fc.tuple(scheme, value).map((parts) => parts.join(' '))
  return fc
    .record(
      {
        authorization: fc.oneof(authorization, text),
        'x-api-key': value,
        cookie: value,
        dpop: value,
        'proxy-authorization': authorization,
        'x-forwarded-for': fc.constantFrom('127.0.0.1', '10.0.0.1', '::1', 'unknown'),
        'x-forwarded-user': fc.constantFrom('admin', 'anonymous'),
        'x-forwarded-client-cert': fc.constant('Hash=00'),
        'ssl-client-verify': fc.constant('SUCCESS'),
        'user-agent': fc.constantFrom('kube-probe/1.31', 'GoogleHC/1.0'),
        origin: fc.constantFrom('null', '', 'http://localhost:3000', 'https://console.example.com'),
        host: fc.constantFrom('localhost:3000', '127.0.0.1:3000', 'mcp.internal.example.com'),
        'sec-fetch-site': fc.constantFrom('same-origin', 'none'),
      },
      { requiredKeys: [] },
    )
    .map((headers) => ({ ...headers }))
}

/** The folder of policies and the files that settings name. */
function place(): {
  readonly folder: string
  readonly live: string
  readonly bad: readonly string[]
  envOf(settings: Settings): Settings
} {
  const folder = mkdtempSync(join(tmpdir(), 'gatehouse-settings-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  cpSync(join(ROOT, 'policies'), join(folder, 'policies'), { recursive: true })
  const live = keyFile({}, { scopes: [] })
  const dead = keyFile({ expiresAt: daysFromNow(-1) }, { revokedAt: daysFromNow(-1) })
  const files = new Map([
    ['live', live.file],
    ['dead', dead.file],
    ['none', keyFile().file],
    ['broken', join(folder, 'broken.json')],
    ['missing', join(folder, 'missing.json')],
  ])
  writeFileSync(join(folder, 'broken.json'), '{"keys":[{}]}')
  const [good = '', unscoped = ''] = live.keys
  return {
    folder,
    live: good,
    bad: [unscoped, ...dead.keys, ...[good, ...dead.keys].map(forgedKey)],
    envOf(settings) {
      const named = Object.entries(settings).flatMap(([name, value]) => {
        if (name.includes('.')) return []
        const file = name.endsWith('_FILE') ? files.get(value ?? '') : undefined
        return [[name, file ?? value] as const]
      })
      return { ...Object.fromEntries(named), MCP_POLICY_DIR: join(folder, 'policies') }
    },
  }
}

function writePolicies(folder: string, settings: Settings): void {
  for (const file of ['auth', 'http']) {
    let text = textOf(`policies/${file}.yaml`)
    for (const [name, value] of Object.entries(settings)) {
      const [of, ...path] = name.split('.')
      if (of !== file || path.length === 0) continue
      const line = new RegExp(`^(${'  '.repeat(path.length - 1)}${path.at(-1)}:) .*$`, 'm')
      if (!line.test(text)) throw new Error(`${file}.yaml has no ${path}`)
      text = text.replace(line, `$1 ${value}`)
    }
    writeFileSync(join(folder, 'policies', `${file}.yaml`), text)
  }
}

/** The app under these settings; `undefined` when the start is refused. */
function started(
  settings: Settings,
  { folder, envOf }: ReturnType<typeof place>,
): TestApp | undefined {
  writePolicies(folder, settings)
  const env = envOf(settings)
  try {
    // The key of development is made by `run.ts`, in development alone.
    return testApp({ env, keyless: env['NODE_ENV'] !== 'development' })
  } catch (error) {
    if (error instanceof Problems) return undefined
    throw error
  }
}

/** The one exception: asked for by name, in development, on loopback, with no other way in. */
function mayBeAnonymous(settings: Settings): boolean {
  return (
    settings['MCP_DANGEROUSLY_ALLOW_ANONYMOUS'] === 'true' &&
    settings['NODE_ENV'] === 'development' &&
    ['127.0.0.1', '::1', 'localhost'].includes(settings['HOST'] ?? '127.0.0.1') &&
    settings['MCP_API_KEYS_FILE'] === undefined &&
    settings['auth.issuers'] === '[]'
  )
}

type Headers = Readonly<Record<string, string>>
type Outcome = 'refused' | 'served' | 'anonymous'

/** Starts it, and tries to get in. */
async function outcomeOf(
  settings: Settings,
  where: ReturnType<typeof place>,
  attempts: readonly Headers[],
): Promise<Outcome> {
  const app = started(settings, where)
  if (app === undefined) return 'refused'
  const { host } = new URL(settings['MCP_PUBLIC_URL'] ?? PUBLIC_URL)
  const bad = where.bad.map((key) => ({ authorization: `Bearer ${key}` }))
  try {
    if (mayBeAnonymous(settings)) {
      await servesNobodyElse(app, host, [...bad, ...attempts])
      return 'anonymous'
    }
    for (const headers of [{}, ...bad, ...attempts]) await keepsOut(app, host, headers)
    await servesGoodKey(app, host, settings, where.live)
    return 'served'
  } finally {
    app.close()
  }
}

async function keepsOut(app: TestApp, host: string, headers: Headers): Promise<void> {
  const response = await app.send({ headers: { host, authorization: null, ...headers } })
  expect(response.reached).toBe(0)
  expect(response.status).toBeGreaterThanOrEqual(400)
  expect(response.status).toBeLessThan(500)
}

/** The passing twin: what keeps the others out is that they have no good key. */
async function servesGoodKey(
  app: TestApp,
  host: string,
  settings: Settings,
  key: string,
): Promise<void> {
  const response = await app.send({ headers: { host, authorization: `Bearer ${key}` } })
  const isKey =
    settings['auth.apiKeys.enabled'] === 'true' && settings['MCP_API_KEYS_FILE'] === 'live'
  const isScoped = settings['auth.baseScope'] === '"mcp:use"'
  expect(response.reached).toBe(isKey && isScoped ? 1 : 0)
  expect(response.status).toBe(isKey ? (isScoped ? 200 : 403) : 401)
}

/** Anonymous is who brings nothing. A bad credential is no better for it, nor is a foreign page. */
async function servesNobodyElse(
  app: TestApp,
  host: string,
  attempts: readonly Headers[],
): Promise<void> {
  const nothing = await app.send({ headers: { host, authorization: null } })
  expect(nothing.reached).toBe(1)
  for (const headers of attempts) {
    const { authorization, origin = 'http://localhost:3000' } = headers
    if (authorization !== undefined || origin !== 'http://localhost:3000') {
      await keepsOut(app, host, headers)
    }
  }
}

describe('threat: misconfiguration, the server serves its tools to nobody in particular (CVE-2026-32211)', () => {
  it.each<[string, Outcome, Settings]>([
    ['production', 'served', PRODUCTION],
    ['development', 'served', DEVELOPMENT],
    ['an anonymous server', 'anonymous', ANONYMOUS],
  ])(
    'is refused or keeps out strangers, one change away from %s',
    async (_name, as, base) => {
      const where = place()
      expect(await outcomeOf(base, where, [])).toBe(as)
      const outcomes = new Set<Outcome>()
      for (const [name, values] of Object.entries(OTHERS)) {
        for (const value of values)
          outcomes.add(await outcomeOf({ ...base, [name]: value }, where, []))
      }
      expect(outcomes).toContain('refused')
      expect(outcomes).toContain(as)
    },
    120_000,
  )

  it('is refused or keeps out strangers, whatever is combined', async () => {
    const where = place()
    const attempts = fc.array(credentialless(where.bad), { minLength: 1, maxLength: 6 })
    await fc.assert(
      fc.asyncProperty(settings, attempts, async (chosen, tried) => {
        await outcomeOf(chosen, where, tried)
      }),
      { numRuns: RUNS },
    )
  }, 600_000)
})
