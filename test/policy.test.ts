import { createHash } from 'node:crypto'
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, describe, expect, it } from 'vitest'
import type { Mode } from '../src/config.ts'
import { loadPolicies, type Policies } from '../src/policy.ts'
import { type Problem, Problems } from '../src/problems.ts'

const SHIPPED = fileURLToPath(new URL('../policies', import.meta.url))
const root = mkdtempSync(join(tmpdir(), 'policy-'))
afterAll(() => rmSync(root, { recursive: true }))

type Edit = readonly [file: string, from: string, to: string]

/** A copy of the shipped policies in which the first `from` of a file has become `to`. */
function edited(...edits: readonly Edit[]): string {
  const dir = mkdtempSync(join(root, 'p-'))
  cpSync(SHIPPED, dir, { recursive: true })
  for (const [file, from, to] of edits) {
    const text = readFileSync(join(dir, file), 'utf8')
    expect(text).toContain(from)
    writeFileSync(
      join(dir, file),
      text.replace(from, () => to),
    )
  }
  return dir
}

function load(edits: readonly Edit[], mode: Mode = 'production'): Policies {
  return loadPolicies(edited(...edits), mode)
}

function problemsOf(dir: string, mode: Mode = 'production'): readonly Problem[] {
  try {
    loadPolicies(dir, mode)
  } catch (error) {
    if (error instanceof Problems) return error.problems
    throw error
  }
  return []
}

const hosts = (value: unknown): Edit => [
  'http.yaml',
  'hosts: []',
  `hosts: ${JSON.stringify(value)}`,
]
const origins = (...values: unknown[]): Edit => [
  'http.yaml',
  'origins: []',
  `origins: ${JSON.stringify(values.map((value) => ({ value, why: 'a test' })))}`,
]
const ISSUER = { issuer: 'https://auth.example.com', why: 'a test' }
const issuers = (...entries: readonly Readonly<Record<string, unknown>>[]): Edit => [
  'auth.yaml',
  'issuers: []',
  `issuers: ${JSON.stringify(entries.map((entry) => ({ ...ISSUER, ...entry })))}`,
]
const keyHeader = (name: string): Edit => ['auth.yaml', 'header: null', `header: "${name}"`]
const echo = (text: string): Edit => [
  'access.yaml',
  'echo: { scopes: [], why: "no side effects" }',
  `echo: { ${text} }`,
]
const limits = (from: string, to: string): Edit => ['limits.yaml', from, to]

const BAD: readonly [string, Edit, string][] = [
  ['a host with a scheme', hosts(['https://canary.example']), 'http.yaml hosts.0'],
  ['a host with a path', hosts(['canary.example/']), 'http.yaml hosts.0'],
  ['a host in upper case', hosts(['Canary.example']), 'http.yaml hosts.0'],
  ['a wildcard host', hosts(['*.canary.example']), 'http.yaml hosts.0'],
  ['any host', hosts(['*']), 'http.yaml hosts.0'],
  ['an empty host', hosts(['']), 'http.yaml hosts.0'],
  ['a host with a user', hosts(['me@canary.example']), 'http.yaml hosts.0'],
  ['an odd spelling of 127.0.0.1', hosts(['0x7f.1']), 'http.yaml hosts.0'],
  ['a port out of range', hosts(['canary.example:65536']), 'http.yaml hosts.0'],
  ['the second host of two', hosts(['good.example', 'bad canary']), 'http.yaml hosts.1'],
  ['a host twice', hosts(['canary.example', 'canary.example']), 'http.yaml hosts'],
  ['hosts that are not a list', hosts('canary.example'), 'http.yaml hosts'],
  ['no hosts at all', hosts(null), 'http.yaml hosts'],
  ['the wildcard origin', origins('*'), 'http.yaml origins.0.value'],
  ['the opaque origin', origins('null'), 'http.yaml origins.0.value'],
  ['null as origin', origins(null), 'http.yaml origins.0.value'],
  ['an empty origin', origins(''), 'http.yaml origins.0.value'],
  ['an origin with a slash', origins('https://canary.example/'), 'http.yaml origins.0.value'],
  ['an origin with a path', origins('https://canary.example/a'), 'http.yaml origins.0.value'],
  ['an origin in upper case', origins('https://Canary.example'), 'http.yaml origins.0.value'],
  ['an origin with its default port', origins('https://canary.a:443'), 'http.yaml origins.0.value'],
  ['an origin without scheme', origins('canary.example'), 'http.yaml origins.0.value'],
  ['an origin of another scheme', origins('ftp://canary.example'), 'http.yaml origins.0.value'],
  ['a wildcard inside an origin', origins('https://*.canary.a'), 'http.yaml origins.0.value'],
  ['a Unicode origin', origins('https://canarÿ.example'), 'http.yaml origins.0.value'],
  ['an origin twice', origins('https://canary.a', 'https://canary.a'), 'http.yaml origins'],
  [
    'an origin without why',
    ['http.yaml', 'origins: []', 'origins: [{ value: "https://canary.example" }]'],
    'http.yaml origins.0.why',
  ],
  [
    'an origin with a blank why',
    ['http.yaml', 'origins: []', 'origins: [{ value: "https://canary.example", why: "    " }]'],
    'http.yaml origins.0.why',
  ],
  [
    'another era',
    ['http.yaml', 'legacy: stateless', 'legacy: canary'],
    'http.yaml protocol.legacy',
  ],
  [
    'no, which is a text',
    ['http.yaml', 'httpSse: false', 'httpSse: no'],
    'http.yaml protocol.httpSse',
  ],
  ['an unknown key', ['http.yaml', 'hosts: []', 'hosts: []\nhost: []'], 'http.yaml host'],
  [
    'an unknown key further in',
    ['http.yaml', 'httpSse: false', 'httpSse: false\n  httpsse: false'],
    'http.yaml protocol.httpsse',
  ],
  ['a missing key', ['http.yaml', 'hosts: []', ''], 'http.yaml hosts'],

  ['no base scope', ['auth.yaml', 'baseScope: "mcp:use"', ''], 'auth.yaml baseScope'],
  ['an empty base scope', ['auth.yaml', '"mcp:use"', '""'], 'auth.yaml baseScope'],
  ['two base scopes', ['auth.yaml', '"mcp:use"', '"canary one"'], 'auth.yaml baseScope'],
  [
    'keys that live too long',
    ['auth.yaml', 'Days: 365', 'Days: 731'],
    'auth.yaml apiKeys.maxLifetimeDays',
  ],
  ['Authorization as key header', keyHeader('Authorization'), 'auth.yaml apiKeys.header'],
  ['Cookie as key header', keyHeader('cookie'), 'auth.yaml apiKeys.header'],
  ['Host as key header', keyHeader('HOST'), 'auth.yaml apiKeys.header'],
  ['a header of the protocol as key header', keyHeader('Mcp-Name'), 'auth.yaml apiKeys.header'],
  ['a header of proxies as key header', keyHeader('X-Forwarded-For'), 'auth.yaml apiKeys.header'],
  ['a header with a space', keyHeader('X Canary'), 'auth.yaml apiKeys.header'],
  ['an empty header', keyHeader(''), 'auth.yaml apiKeys.header'],
  ['an http issuer', issuers({ issuer: 'http://canary.example' }), 'auth.yaml issuers.0.issuer'],
  ['a loopback issuer', issuers({ issuer: 'http://127.0.0.1:9' }), 'auth.yaml issuers.0.issuer'],
  [
    'an issuer with a query',
    issuers({ issuer: 'https://canary.a/?b' }),
    'auth.yaml issuers.0.issuer',
  ],
  [
    'an issuer with a fragment',
    issuers({ issuer: 'https://canary.a/#' }),
    'auth.yaml issuers.0.issuer',
  ],
  [
    'an issuer with a user',
    issuers({ issuer: 'https://me@canary.a' }),
    'auth.yaml issuers.0.issuer',
  ],
  [
    'an issuer in upper case',
    issuers({ issuer: 'https://Canary.a' }),
    'auth.yaml issuers.0.issuer',
  ],
  ['an issuer without scheme', issuers({ issuer: 'canary.a' }), 'auth.yaml issuers.0.issuer'],
  ['an issuer twice', issuers({}, {}), 'auth.yaml issuers'],
  ['an issuer without why', issuers({ why: undefined }), 'auth.yaml issuers.0.why'],
  ['the algorithm none', issuers({ algorithms: ['none'] }), 'auth.yaml issuers.0.algorithms.0'],
  ['a symmetric algorithm', issuers({ algorithms: ['HS256'] }), 'auth.yaml issuers.0.algorithms.0'],
  [
    'an algorithm in lower case',
    issuers({ algorithms: ['es256'] }),
    'auth.yaml issuers.0.algorithms.0',
  ],
  ['no algorithm', issuers({ algorithms: [] }), 'auth.yaml issuers.0.algorithms'],
  ['no token type', issuers({ tokenTypes: [] }), 'auth.yaml issuers.0.tokenTypes'],
  [
    'DPoP proofs as tokens',
    issuers({ tokenTypes: ['dpop+jwt'] }),
    'auth.yaml issuers.0.tokenTypes.0',
  ],
  ['logout tokens', issuers({ tokenTypes: ['Logout+JWT'] }), 'auth.yaml issuers.0.tokenTypes.0'],
  [
    'a media type',
    issuers({ tokenTypes: ['application/at+jwt'] }),
    'auth.yaml issuers.0.tokenTypes.0',
  ],
  ['an empty list of audiences', issuers({ audiences: [] }), 'auth.yaml issuers.0.audiences'],
  ['an empty audience', issuers({ audiences: [''] }), 'auth.yaml issuers.0.audiences.0'],
  [
    'a tolerance of 61 s',
    issuers({ clockToleranceSeconds: 61 }),
    'auth.yaml issuers.0.clockToleranceSeconds',
  ],
  [
    'an endless token',
    issuers({ maxTokenLifetimeSeconds: 1e9 }),
    'auth.yaml issuers.0.maxTokenLifetimeSeconds',
  ],
  ['http keys', issuers({ jwksUri: 'http://canary.a/k' }), 'auth.yaml issuers.0.jwksUri'],
  ['a constraint', issuers({ senderConstraint: 'canary' }), 'auth.yaml issuers.0.senderConstraint'],
  [
    'DPoP with other types of tokens',
    issuers({ senderConstraint: 'dpop', tokenTypes: ['at+jwt', 'canary'] }),
    'auth.yaml issuers.0.tokenTypes',
  ],
  [
    'DPoP with a type in another case',
    issuers({ senderConstraint: 'dpop', tokenTypes: ['AT+JWT'] }),
    'auth.yaml issuers.0.tokenTypes',
  ],
  ['a misspelt key of an issuer', issuers({ audience: 'canary' }), 'auth.yaml issuers.0.audience'],
  [
    'a cache of 61 s',
    ['auth.yaml', 'verificationCacheSeconds: 60', 'verificationCacheSeconds: 61'],
    'auth.yaml verificationCacheSeconds',
  ],

  ['an entry without why', echo('scopes: []'), 'access.yaml tools.echo.why'],
  ['an empty why', echo('scopes: [], why: ""'), 'access.yaml tools.echo.why'],
  ['an entry without scopes', echo('why: "a test"'), 'access.yaml tools.echo.scopes'],
  [
    'scopes as one text',
    echo('scopes: "canary scope", why: "a test"'),
    'access.yaml tools.echo.scopes',
  ],
  [
    'two scopes in one',
    echo('scopes: ["canary scope"], why: "a test"'),
    'access.yaml tools.echo.scopes.0',
  ],
  [
    'a scope with a quote',
    echo(`scopes: ['a"b'], why: "a test"`),
    'access.yaml tools.echo.scopes.0',
  ],
  ['a scope twice', echo('scopes: [a, a], why: "a test"'), 'access.yaml tools.echo.scopes'],
  [
    'offline_access',
    echo('scopes: [offline_access], why: "a test"'),
    'access.yaml tools.echo.scopes.0',
  ],
  [
    'a scope that looks like all scopes',
    echo('scopes: ["*"], why: "a test"'),
    'access.yaml tools.echo.scopes.0',
  ],
  [
    'a misspelt condition',
    echo('scopes: [], wen: "canary", why: "a test"'),
    'access.yaml tools.echo.wen',
  ],
  [
    'an empty condition',
    echo('scopes: [], when: "", why: "a test"'),
    'access.yaml tools.echo.when',
  ],
  [
    'a condition that is null',
    echo('scopes: [], when: null, why: "a test"'),
    'access.yaml tools.echo.when',
  ],
  [
    'a timeout of 0',
    echo('scopes: [], timeoutSeconds: 0, why: "a test"'),
    'access.yaml tools.echo.timeoutSeconds',
  ],
  [
    'a timeout over an hour',
    echo('scopes: [], timeoutSeconds: 3601, why: "a test"'),
    'access.yaml tools.echo.timeoutSeconds',
  ],
  [
    'a limit of 0 calls',
    echo('scopes: [], callsPerMinutePerPrincipal: 0, why: "a test"'),
    'access.yaml tools.echo.callsPerMinutePerPrincipal',
  ],
  [
    'a kind without entries, written as nothing',
    [
      'access.yaml',
      'prompts:\n  summarize_report: { scopes: ["reports:read"], why: "text over a report of the caller" }',
      'prompts:',
    ],
    'access.yaml prompts',
  ],

  [
    'as many streams as connections',
    limits('streams: 5000', 'streams: 6000'),
    'limits.yaml streams',
  ],
  [
    'headers slower than the request',
    limits('requestMs: 15000', 'requestMs: 7999'),
    'limits.yaml timeouts.headersMs',
  ],
  ['a depth of 65', limits('depth: 64', 'depth: 65'), 'limits.yaml body.depth'],
  ['no body at all', limits('bytes: 1048576', 'bytes: 0'), 'limits.yaml body.bytes'],
  ['101 headers', limits('count: 100', 'count: 101'), 'limits.yaml headers.count'],
  ['an infinite number', limits('streams: 5000', 'streams: .inf'), 'limits.yaml streams'],
  ['a fraction', limits('streams: 5000', 'streams: 0.5'), 'limits.yaml streams'],
  ['a number as text', limits('streams: 5000', 'streams: "5000"'), 'limits.yaml streams'],
  [
    'a limit left out',
    limits('authFailuresPerMinute: 30', ''),
    'limits.yaml address.authFailuresPerMinute',
  ],
  ['failing open by another name', limits('insurance\n', 'canary\n'), 'limits.yaml onStoreFailure'],
  [
    'another principal',
    ['audit.yaml', 'principal: clear', 'principal: canary'],
    'audit.yaml principal',
  ],
  [
    'a sink failure that is ignored',
    ['audit.yaml', 'SinkFailure: refuse', 'SinkFailure: canary'],
    'audit.yaml onSinkFailure',
  ],

  ['broken YAML', ['audit.yaml', 'principal: clear', 'principal: [canary'], 'audit.yaml'],
  ['a tab as indentation', ['http.yaml', '  legacy', '\tlegacy'], 'http.yaml'],
  ['a duplicate key', ['http.yaml', 'hosts: []', 'hosts: []\nhosts: [canary]'], 'http.yaml'],
  ['an anchor', ['http.yaml', 'hosts: []', 'hosts: &canary []'], 'http.yaml'],
  ['a merge key', ['http.yaml', 'hosts: []', 'hosts: []\n<<: { a: 1 }'], 'http.yaml'],
  ['a tag', ['http.yaml', 'hosts: []', 'hosts: !!seq []'], 'http.yaml'],
  ['an unknown tag', ['http.yaml', 'hosts: []', 'hosts: !canary []'], 'http.yaml'],
  [
    'a second document',
    ['audit.yaml', 'principal: clear', 'principal: clear\n---\na: 1'],
    'audit.yaml',
  ],
  ['another version of YAML', ['http.yaml', '#', '%YAML 1.1\n---\n#'], 'http.yaml'],
  ['__proto__', ['access.yaml', 'echo:', '__proto__:'], 'access.yaml'],
  ['a key that is a list', ['access.yaml', 'echo:', '[canary]:'], 'access.yaml'],
]

describe('threat: a mistake in a policy allows more than its author meant', () => {
  it.each(BAD)('refuses %s', (_name, edit, field) => {
    const problems = problemsOf(edited(edit))
    expect(new Set(problems.map((problem) => problem.field))).toEqual(new Set([field]))
    expect(JSON.stringify(problems)).not.toMatch(/canary/i)
    expect(problems[0]?.message).toMatch(/ \(line \d+\)$/)
  })

  it('refuses an alias, where it is used', () => {
    const [{ field, message } = { field: '', message: '' }] = problemsOf(
      edited(
        ['http.yaml', 'hosts: []', 'hosts: &a []'],
        ['http.yaml', 'origins: []', 'origins: *a'],
      ),
    )
    expect(field).toBe('http.yaml')
    expect(message).toMatch(/^has an a/)
  })

  it('reports everything in all files at once, with lines', () => {
    const problems = problemsOf(
      edited(
        hosts(['*', '/']),
        keyHeader('cookie'),
        echo('scopes: [], nope: 1'),
        limits('depth: 64', 'depth: 1000'),
        ['audit.yaml', 'principal: clear', 'principal: &a clear'],
      ),
    )
    expect(problems.map(({ field }) => field).sort()).toEqual([
      'access.yaml tools.echo.nope',
      'access.yaml tools.echo.why',
      'audit.yaml',
      'auth.yaml apiKeys.header',
      'http.yaml hosts.0',
      'http.yaml hosts.1',
      'limits.yaml body.depth',
    ])
    const depth = problems.find(({ field }) => field === 'limits.yaml body.depth')
    const line = readFileSync(join(SHIPPED, 'limits.yaml'), 'utf8')
      .split('\n')
      .findIndex((text) => text.startsWith('body:'))
    expect(depth?.message).toContain(`(line ${line + 1})`)
  })

  it('refuses a missing file, an empty file, bytes that are not UTF-8 and a file it does not know', () => {
    const dir = edited()
    rmSync(join(dir, 'http.yaml'))
    writeFileSync(join(dir, 'auth.yaml'), '# nothing\n')
    writeFileSync(join(dir, 'audit.yaml'), Buffer.from([0x61, 0x3a, 0x20, 0xff]))
    writeFileSync(join(dir, 'acess.yml'), 'tools: {}')
    expect(problemsOf(dir)).toEqual([
      { field: 'http.yaml', message: 'cannot be read' },
      { field: 'acess.yml', message: 'is not a policy file of this version' },
      { field: 'auth.yaml', message: 'is empty' },
      { field: 'audit.yaml', message: 'is not UTF-8' },
    ])
  })

  it('refuses a folder that does not exist', () => {
    const [problem, ...others] = problemsOf(join(root, 'canary'))
    expect(problem?.field).toBe('MCP_POLICY_DIR')
    expect(problem?.message).toMatch(/^does not exist/)
    expect(others).toEqual([])
  })
})

describe('contract: policies', () => {
  it('loads the shipped ones in both modes, and they let nobody in from outside', () => {
    for (const mode of ['development', 'production'] as const) {
      const { http, auth } = loadPolicies(SHIPPED, mode)
      expect([http.hosts, http.origins, auth.issuers]).toEqual([[], [], []])
    }
  })

  it.each<[string, Edit]>([
    [
      'exact hosts',
      hosts(['mcp.example.com', 'mcp.example.com:8443', '10.0.0.1:80', '[::1]:3000']),
    ],
    ['exact origins', origins('https://a.example', 'http://localhost:5173', 'https://[::1]:8443')],
    ['a header for keys', keyHeader('X-API-Key')],
    ['an issuer with a path', issuers({ issuer: 'https://login.example/tenant/v2.0' })],
    ['an issuer with a trailing slash', issuers({ issuer: 'https://login.example/' })],
    ['keys with a query', issuers({ jwksUri: 'https://login.example/keys?p=a' })],
    ['a token type by name', issuers({ tokenTypes: ['at+jwt', 'JWT'] })],
    ['two issuers', issuers({}, { issuer: 'https://other.example' })],
    ['a tolerance of 60 s', issuers({ clockToleranceSeconds: 60 })],
    ['no legacy clients', ['http.yaml', 'legacy: stateless', 'legacy: off']],
    ['sessions of legacy clients', ['http.yaml', 'legacy: stateless', 'legacy: sessions']],
    ['HTTP+SSE', ['http.yaml', 'httpSse: false', 'httpSse: true']],
    ['a timeout of an hour', echo('scopes: [], timeoutSeconds: 3600, why: "a test"')],
    ['one stream less than connections', limits('streams: 5000', 'streams: 5999')],
    ['refusal without the store', limits('insurance\n', 'refuse\n')],
  ])('accepts %s', (_name, edit) => {
    expect(problemsOf(edited(edit))).toEqual([])
  })

  it('accepts an issuer on loopback over http in development only', () => {
    const dir = edited(issuers({ issuer: 'http://localhost:9000' }))
    expect(problemsOf(dir, 'development')).toEqual([])
    expect(problemsOf(dir, 'production')).toHaveLength(1)
    const remote = edited(issuers({ issuer: 'http://auth.example.com' }))
    expect(problemsOf(remote, 'development')).toHaveLength(1)
  })

  it('fills in the safe values', () => {
    const { auth, access } = load([issuers({})])
    expect(auth.issuers).toEqual([
      {
        ...ISSUER,
        verification: 'jwt',
        algorithms: ['ES256', 'EdDSA', 'PS256', 'RS256'],
        tokenTypes: ['at+jwt'],
        senderConstraint: 'none',
        scopeClaim: 'scope',
        scopeFormat: 'string',
        clientIdClaims: ['client_id', 'azp'],
        rolesClaim: null,
        tenantClaim: null,
        clockToleranceSeconds: 30,
        maxTokenLifetimeSeconds: 86_400,
        jwksUri: null,
        introspection: null,
      },
    ])
    expect(access.tools['echo']).toEqual({
      scopes: [],
      listed: false,
      timeoutSeconds: 60,
      why: 'no side effects',
    })
  })

  it('writes the header for keys in lower case', () => {
    expect(load([keyHeader('X-API-Key')]).auth.apiKeys.header).toBe('x-api-key')
  })

  it('freezes everything', () => {
    const thawed = (value: unknown): boolean =>
      typeof value === 'object' &&
      value !== null &&
      (!Object.isFrozen(value) || Object.values(value).some(thawed))
    expect(thawed(load([issuers({ audiences: ['a'] }), origins('https://a.example')]))).toBe(false)
  })

  it('has a digest that anybody can compute, and that follows every byte', () => {
    const sum = (data: string | Buffer): string => createHash('sha256').update(data).digest('hex')
    const files = ['access', 'audit', 'auth', 'egress', 'http', 'limits'].map((n) => `${n}.yaml`)
    const lines = files.map((file) => `${sum(readFileSync(join(SHIPPED, file)))}  ${file}\n`)
    const { digest } = loadPolicies(SHIPPED, 'production')
    expect(digest).toBe(sum(lines.join('')))
    expect(load([['audit.yaml', '#', '##']]).digest).not.toBe(digest)
  })
})
