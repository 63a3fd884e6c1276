import { randomBytes } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseEnv } from 'node:util'
import { afterAll, describe, expect, it, onTestFinished, vi } from 'vitest'
import { environment, loadConfig, readConfig } from '../src/config.ts'
import type { Runtime } from '../src/config-checks.ts'
import { type Problem, Problems } from '../src/problems.ts'

const folder = mkdtempSync(join(tmpdir(), 'config-'))
afterAll(() => rmSync(folder, { recursive: true }))

function file(name: string, text: string): string {
  const path = join(folder, name)
  writeFileSync(path, text)
  return path
}

const secret = (bytes = 32): string => randomBytes(bytes).toString('base64')
const base64 = (text: string): string => Buffer.from(text).toString('base64')

const pem = file('some.pem', 'x')
const MISSING = join(folder, 'canary-missing')
const runtime: Runtime = { nodeVersion: 'v24.21.0', uid: 1000, execArgv: [] }
const production = { MCP_PUBLIC_URL: 'https://mcp.example.com/mcp', MCP_SECRET: secret() }
const development = { NODE_ENV: 'development' }

type Env = Readonly<Record<string, string>>

function problemsOf(env: Env, overrides: Partial<Runtime> = {}): readonly Problem[] {
  try {
    loadConfig(env, { ...runtime, ...overrides })
  } catch (error) {
    if (error instanceof Problems) return error.problems
    throw error
  }
  return []
}

function expectNoValue(problems: readonly Problem[], env: Env): void {
  const said = JSON.stringify(problems)
  // Shorter values, such as a port, are part of ordinary words and ranges.
  for (const value of Object.values(env).filter(({ length }) => length > 5)) {
    expect(said).not.toContain(value)
  }
}

/** Added to settings that are good for production. */
const BAD_IN_PRODUCTION: readonly [string, Env, string][] = [
  ['another mode', { NODE_ENV: 'canary-mode' }, 'NODE_ENV'],
  ['the mode of test runners', { NODE_ENV: 'test' }, 'NODE_ENV'],
  ['a host name to bind to', { HOST: 'canary.example.com' }, 'HOST'],
  ['an address with a port', { HOST: '127.0.0.1:3000' }, 'HOST'],
  ['an empty value', { HOST: '' }, 'HOST'],
  ['an empty secret', { MCP_SECRET: '' }, 'MCP_SECRET'],
  ['spaces around a value', { LOG_LEVEL: ' info ' }, 'LOG_LEVEL'],
  ['a line break after a value', { MCP_POLICY_DIR: 'canary\n' }, 'MCP_POLICY_DIR'],
  ['a bind to all addresses without TLS', { HOST: '0.0.0.0' }, 'HOST'],
  ['a bind to all IPv6 addresses without TLS', { HOST: '::' }, 'HOST'],
  ['a port that is a word', { PORT: 'canary' }, 'PORT'],
  ['a port above 65535', { PORT: '65536' }, 'PORT'],
  ['a negative port', { PORT: '-1' }, 'PORT'],
  ['a port in hexadecimal', { PORT: '0x10' }, 'PORT'],
  ['a port with a leading zero', { PORT: '03000' }, 'PORT'],
  ['an admin port with a fraction', { ADMIN_PORT: '90.5' }, 'ADMIN_PORT'],
  ['the same port twice', { PORT: '4000', ADMIN_PORT: '4000' }, 'ADMIN_PORT'],
  ['an http public URL', { MCP_PUBLIC_URL: 'http://mcp.example.com/mcp' }, 'MCP_PUBLIC_URL'],
  ['another scheme', { MCP_PUBLIC_URL: 'ftp://mcp.example.com/mcp' }, 'MCP_PUBLIC_URL'],
  ['another path', { MCP_PUBLIC_URL: 'https://mcp.example.com/canary' }, 'MCP_PUBLIC_URL'],
  ['no path', { MCP_PUBLIC_URL: 'https://mcp.example.com' }, 'MCP_PUBLIC_URL'],
  ['a trailing slash', { MCP_PUBLIC_URL: 'https://mcp.example.com/mcp/' }, 'MCP_PUBLIC_URL'],
  ['a query', { MCP_PUBLIC_URL: 'https://mcp.example.com/mcp?a=b' }, 'MCP_PUBLIC_URL'],
  ['an empty query', { MCP_PUBLIC_URL: 'https://mcp.example.com/mcp?' }, 'MCP_PUBLIC_URL'],
  ['a fragment', { MCP_PUBLIC_URL: 'https://mcp.example.com/mcp#a' }, 'MCP_PUBLIC_URL'],
  ['a user', { MCP_PUBLIC_URL: 'https://me:pw@mcp.example.com/mcp' }, 'MCP_PUBLIC_URL'],
  ['upper case', { MCP_PUBLIC_URL: 'https://MCP.example.com/mcp' }, 'MCP_PUBLIC_URL'],
  ['the default port', { MCP_PUBLIC_URL: 'https://mcp.example.com:443/mcp' }, 'MCP_PUBLIC_URL'],
  ['dot segments', { MCP_PUBLIC_URL: 'https://mcp.example.com/a/../mcp' }, 'MCP_PUBLIC_URL'],
  ['an odd spelling of 127.0.0.1', { MCP_PUBLIC_URL: 'https://127.1/mcp' }, 'MCP_PUBLIC_URL'],
  ['a wildcard host', { MCP_PUBLIC_URL: 'https://*.example.com/mcp' }, 'MCP_PUBLIC_URL'],
  ['a secret of 31 bytes', { MCP_SECRET: secret(31) }, 'MCP_SECRET'],
  ['a short second secret', { MCP_SECRET: `${secret()} ${secret(31)}` }, 'MCP_SECRET'],
  ['a secret that is not base64', { MCP_SECRET: `${secret()}!` }, 'MCP_SECRET'],
  ['a secret in base64url', { MCP_SECRET: `${'-_'.repeat(21)}w=` }, 'MCP_SECRET'],
  ['a secret of zeros', { MCP_SECRET: Buffer.alloc(32).toString('base64') }, 'MCP_SECRET'],
  ['a secret of one byte', { MCP_SECRET: Buffer.alloc(64, 0xa5).toString('base64') }, 'MCP_SECRET'],
  [
    'a phrase',
    { MCP_SECRET: base64('Change me: 32 random bytes, not The Quick Fox') },
    'MCP_SECRET',
  ],
  [
    'a counter',
    { MCP_SECRET: Buffer.from([...Array(32).keys()]).toString('base64') },
    'MCP_SECRET',
  ],
  [
    'sixteen bytes twice',
    { MCP_SECRET: Buffer.concat(Array(2).fill(randomBytes(16))).toString('base64') },
    'MCP_SECRET',
  ],
  [
    'one secret twice',
    { MCP_SECRET: `${production.MCP_SECRET} ${production.MCP_SECRET}` },
    'MCP_SECRET',
  ],
  [
    'nine secrets',
    { MCP_SECRET: Array.from({ length: 9 }, () => secret()).join(' ') },
    'MCP_SECRET',
  ],
  ['a secret beside its file', { MCP_SECRET_FILE: file('beside', secret()) }, 'MCP_SECRET_FILE'],
  ['a missing key file', { MCP_API_KEYS_FILE: MISSING }, 'MCP_API_KEYS_FILE'],
  ['a folder as key file', { MCP_API_KEYS_FILE: folder }, 'MCP_API_KEYS_FILE'],
  ['a certificate without its key', { MCP_TLS_CERT_FILE: pem }, 'MCP_TLS_CERT_FILE'],
  ['a key without its certificate', { MCP_TLS_KEY_FILE: pem }, 'MCP_TLS_KEY_FILE'],
  ['a client CA without TLS', { MCP_TLS_CLIENT_CA_FILE: pem }, 'MCP_TLS_CLIENT_CA_FILE'],
  [
    'a missing certificate',
    { MCP_TLS_CERT_FILE: MISSING, MCP_TLS_KEY_FILE: pem },
    'MCP_TLS_CERT_FILE',
  ],
  [
    'a missing private key',
    { MCP_TLS_CERT_FILE: pem, MCP_TLS_KEY_FILE: MISSING },
    'MCP_TLS_KEY_FILE',
  ],
  ['a flag that is 1', { MCP_BEHIND_TLS_PROXY: '1' }, 'MCP_BEHIND_TLS_PROXY'],
  ['trust in some traces', { MCP_TRUST_TRACE_CONTEXT: 'some' }, 'MCP_TRUST_TRACE_CONTEXT'],
  ['a flag in upper case', { MCP_BEHIND_TLS_PROXY: 'TRUE' }, 'MCP_BEHIND_TLS_PROXY'],
  [
    'a proxy flag without networks',
    { HOST: '0.0.0.0', MCP_BEHIND_TLS_PROXY: 'true' },
    'MCP_BEHIND_TLS_PROXY',
  ],
  ['all of IPv4 as proxy', { MCP_TRUSTED_PROXIES: '0.0.0.0/0' }, 'MCP_TRUSTED_PROXIES'],
  ['all of IPv6 as proxy', { MCP_TRUSTED_PROXIES: '::/0' }, 'MCP_TRUSTED_PROXIES'],
  ['IPv4 in two halves', { MCP_TRUSTED_PROXIES: '0.0.0.0/1,128.0.0.0/1' }, 'MCP_TRUSTED_PROXIES'],
  ['IPv4 mapped into IPv6', { MCP_TRUSTED_PROXIES: '::ffff:0.0.0.0/96' }, 'MCP_TRUSTED_PROXIES'],
  ['IPv4 mapped, in hexadecimal', { MCP_TRUSTED_PROXIES: '::ffff:0:0/96' }, 'MCP_TRUSTED_PROXIES'],
  ['IPv6 that covers IPv4', { MCP_TRUSTED_PROXIES: '::/16' }, 'MCP_TRUSTED_PROXIES'],
  ['a proxy without length', { MCP_TRUSTED_PROXIES: '10.0.0.1' }, 'MCP_TRUSTED_PROXIES'],
  ['a proxy by name', { MCP_TRUSTED_PROXIES: 'canary.example' }, 'MCP_TRUSTED_PROXIES'],
  ['a prefix of 33', { MCP_TRUSTED_PROXIES: '10.0.0.0/33' }, 'MCP_TRUSTED_PROXIES'],
  ['an odd spelling', { MCP_TRUSTED_PROXIES: '010.0.0.0/8' }, 'MCP_TRUSTED_PROXIES'],
  ['one bad proxy of two', { MCP_TRUSTED_PROXIES: '10.0.0.0/8,canary' }, 'MCP_TRUSTED_PROXIES'],
  ['a drain of 121 s', { MCP_DRAIN_SECONDS: '121' }, 'MCP_DRAIN_SECONDS'],
  ['a log level that is not one', { LOG_LEVEL: 'canary-verbose' }, 'LOG_LEVEL'],
  ['a misspelt setting', { MCP_SECRT: 'canary' }, 'MCP_SECRT'],
  ['a setting of another product', { MCP_TRUST_PROXY: 'canary' }, 'MCP_TRUST_PROXY'],
  ['no certificate checks', { NODE_TLS_REJECT_UNAUTHORIZED: '0' }, 'NODE_TLS_REJECT_UNAUTHORIZED'],
  ['a lenient parser', { NODE_OPTIONS: '--insecure-http-parser --canary' }, 'NODE_OPTIONS'],
  ['a lenient parser, spelt with _', { NODE_OPTIONS: '--insecure_http_parser' }, 'NODE_OPTIONS'],
  ['a debugger', { NODE_OPTIONS: '--inspect=0.0.0.0:9229' }, 'NODE_OPTIONS'],
  ['a debugger, spelt with _', { NODE_OPTIONS: '--canary --inspect_wait' }, 'NODE_OPTIONS'],
  ['a missing deny list', { MCP_DENY_LIST_FILE: MISSING }, 'MCP_DENY_LIST_FILE'],
  ['a shared store in clear text', { REDIS_URL: 'redis://u:canary@r/' }, 'REDIS_URL'],
  ['a shared store in a file', { REDIS_URL_FILE: MISSING }, 'REDIS_URL_FILE'],
  ['a missing signing key', { MCP_AUDIT_SIGNING_KEY_FILE: MISSING }, 'MCP_AUDIT_SIGNING_KEY_FILE'],
  ['a key for stdio', { MCP_STDIO_KEY: 'mcpk_canary' }, 'MCP_STDIO_KEY'],
  [
    'anonymous access',
    { MCP_DANGEROUSLY_ALLOW_ANONYMOUS: 'true' },
    'MCP_DANGEROUSLY_ALLOW_ANONYMOUS',
  ],
]

const BAD_IN_DEVELOPMENT: readonly [string, Env, string][] = [
  ['a bind to all addresses', { HOST: '0.0.0.0' }, 'HOST'],
  [
    'a bind behind a proxy',
    { HOST: '10.0.0.1', MCP_BEHIND_TLS_PROXY: 'true', MCP_TRUSTED_PROXIES: '10.0.0.0/8' },
    'HOST',
  ],
  ['an admin bind to all addresses', { ADMIN_HOST: '::' }, 'ADMIN_HOST'],
  ['http that is not loopback', { MCP_PUBLIC_URL: 'http://a.example/mcp' }, 'MCP_PUBLIC_URL'],
  [
    'anonymous access beside keys',
    { MCP_DANGEROUSLY_ALLOW_ANONYMOUS: 'true', MCP_API_KEYS_FILE: pem },
    'MCP_DANGEROUSLY_ALLOW_ANONYMOUS',
  ],
]

describe('threat: a mistake in the settings opens the server or weakens it unnoticed', () => {
  it.each(BAD_IN_PRODUCTION)('refuses in production %s', (_name, overrides, field) => {
    const env = { ...production, ...overrides }
    const problems = problemsOf(env)
    expect(problems.map((problem) => problem.field)).toEqual([field])
    expectNoValue(problems, env)
  })

  it.each(BAD_IN_DEVELOPMENT)('refuses in development %s', (_name, overrides, field) => {
    const problems = problemsOf({ ...development, ...overrides })
    expect(problems.map((problem) => problem.field)).toEqual([field])
    expectNoValue(problems, overrides)
  })

  it('requires a secret and a public URL in production', () => {
    const fields = problemsOf({}).map(({ field }) => field)
    expect(fields.sort()).toEqual(['MCP_PUBLIC_URL', 'MCP_SECRET'])
  })

  it.each([
    ['end of life', 'v20.20.2'],
    ['one patch below 24.18.1', 'v24.18.0'],
    ['an odd release', 'v25.9.0'],
    ['one patch below 26.5.1', 'v26.5.0'],
    ['a nightly build', 'v27.0.0-nightly20260101'],
    ['nothing', ''],
  ])('refuses Node that is %s', (_name, nodeVersion) => {
    expect(problemsOf(production, { nodeVersion }).map(({ field }) => field)).toEqual(['node'])
  })

  it.each(['v24.18.1', 'v24.19.0', 'v26.5.1', 'v26.10.0', 'v27.0.0'])(
    'runs on %s',
    (nodeVersion) => {
      expect(problemsOf(production, { nodeVersion })).toEqual([])
    },
  )

  it('refuses uid 0 in production and lets it be in development', () => {
    expect(problemsOf(production, { uid: 0 }).map(({ field }) => field)).toEqual(['uid'])
    expect(problemsOf(development, { uid: 0 })).toEqual([])
  })

  it('refuses the lenient HTTP parser as a flag', () => {
    const execArgv = ['--enable-source-maps', '--insecure-http-parser']
    expect(problemsOf(production, { execArgv }).map(({ field }) => field)).toEqual(['node'])
    expect(problemsOf(production, { execArgv: ['--enable-source-maps'] })).toEqual([])
  })

  it.each(['--inspect', '--inspect-brk=9229', '--inspect_wait'])(
    'refuses a debugger in production and lets it be in development: %s',
    (flag) => {
      const execArgv = ['--enable-source-maps', flag]
      expect(problemsOf(production, { execArgv }).map(({ field }) => field)).toEqual(['node'])
      expect(problemsOf(development, { execArgv })).toEqual([])
    },
  )

  it('names a secret file that cannot be read, and not the secret that it would hold', () => {
    const { MCP_PUBLIC_URL } = production
    const problems = problemsOf({ MCP_PUBLIC_URL, MCP_SECRET_FILE: MISSING })
    expect(problems).toEqual([{ field: 'MCP_SECRET_FILE', message: 'cannot be read' }])
  })

  it('reports everything at once, and no value', () => {
    const env = {
      HOST: 'canary-host',
      PORT: 'canary-port',
      MCP_PUBLIC_URL: 'https://canary-url/',
      MCP_SECRET: 'canary-secret',
      MCP_TRUSTED_PROXIES: 'canary-proxy',
      MCP_TLS_KEY_FILE: '/canary-file',
      MCP_UNKNOWN: 'canary-unknown',
      MCP_DANGEROUSLY_ALLOW_ANONYMOUS: 'true',
    }
    const problems = problemsOf(env, { nodeVersion: 'v20.0.0', uid: 0 })
    const fields = new Set(problems.map(({ field }) => field))
    expect(fields).toEqual(new Set([...Object.keys(env), 'node', 'uid']))
    expect(JSON.stringify(problems)).not.toContain('canary')
    expect(new Problems(problems).message).not.toContain('canary')
  })
})

describe('contract: settings', () => {
  it.each<[string, Env]>([
    ['nothing else', {}],
    ['another port', { PORT: '0', ADMIN_PORT: '0' }],
    ['a public port', { MCP_PUBLIC_URL: 'https://mcp.example.com:8443/mcp' }],
    ['an IPv6 public address', { MCP_PUBLIC_URL: 'https://[2001:db8::1]/mcp' }],
    ['a ring of secrets', { MCP_SECRET: `${secret()} ${secret(48)}` }],
    ['an API key file', { MCP_API_KEYS_FILE: pem }],
    ['TLS in process', { HOST: '0.0.0.0', MCP_TLS_CERT_FILE: pem, MCP_TLS_KEY_FILE: pem }],
    [
      'client certificates',
      { MCP_TLS_CERT_FILE: pem, MCP_TLS_KEY_FILE: pem, MCP_TLS_CLIENT_CA_FILE: pem },
    ],
    [
      'a TLS proxy',
      { HOST: '::', MCP_BEHIND_TLS_PROXY: 'true', MCP_TRUSTED_PROXIES: '10.0.0.0/8 fd00::/8' },
    ],
    ['a proxy on this machine', { MCP_TRUSTED_PROXIES: '127.0.0.1/32, ::1/128' }],
    ['an admin listener for probes', { ADMIN_HOST: '0.0.0.0' }],
    ['no drain', { MCP_DRAIN_SECONDS: '0' }],
    ['harmless flags of Node', { NODE_OPTIONS: '--enable-source-maps' }],
    [
      'service links of Kubernetes',
      {
        MCP_PORT: 'tcp://10.0.0.1:80',
        MCP_SERVICE_HOST: '10.0.0.1',
        MCP_SERVICE_PORT: '80',
        MCP_SERVER_SERVICE_PORT_HTTP: '80',
        MCP_SERVER_PORT_80_TCP: 'tcp://10.0.0.1:80',
        MCP_SERVER_PORT_80_TCP_ADDR: '10.0.0.1',
      },
    ],
  ])('accepts %s', (_name, overrides) => {
    expect(problemsOf({ ...production, ...overrides })).toEqual([])
  })

  it('accepts anonymous access in development without keys', () => {
    const config = loadConfig({ ...development, MCP_DANGEROUSLY_ALLOW_ANONYMOUS: 'true' }, runtime)
    expect(config.anonymous).toBe(true)
  })

  it('gives a frozen configuration', () => {
    const env = { ...production, MCP_TLS_CERT_FILE: pem, MCP_TLS_KEY_FILE: pem }
    const config = loadConfig(env, runtime)
    expect(config).toEqual({
      mode: 'production',
      host: '127.0.0.1',
      port: 3000,
      adminHost: '127.0.0.1',
      adminPort: 9090,
      publicUrl: 'https://mcp.example.com/mcp',
      policyDir: 'policies',
      secrets: [Buffer.from(production.MCP_SECRET, 'base64')],
      apiKeysFile: undefined,
      tls: { certFile: pem, keyFile: pem, clientCaFile: undefined },
      trustedProxies: [],
      trustTraceContext: false,
      auditFile: undefined,
      drainSeconds: 10,
      anonymous: false,
      logLevel: 'info',
      digest: expect.stringMatching(/^[0-9a-f]{64}$/),
    })
    for (const part of [config, config.secrets, config.tls, config.trustedProxies]) {
      expect(Object.isFrozen(part)).toBe(true)
    }
  })

  it('makes a new secret at each start in development, and needs no URL there', () => {
    const [first, second] = [loadConfig(development, runtime), loadConfig(development, runtime)]
    expect(first.publicUrl).toBeUndefined()
    expect(first.secrets[0]).toHaveLength(32)
    expect(first.secrets[0].equals(second.secrets[0])).toBe(false)
  })

  it('reads a secret from its file, without the final line break', () => {
    const { MCP_PUBLIC_URL, MCP_SECRET } = production
    const MCP_SECRET_FILE = file('secret', `${MCP_SECRET}\n`)
    const config = loadConfig({ MCP_PUBLIC_URL, MCP_SECRET_FILE }, runtime)
    expect(config.secrets[0].toString('base64')).toBe(MCP_SECRET)
  })

  it('writes mapped IPv4 networks as IPv4', () => {
    const env = { ...production, MCP_TRUSTED_PROXIES: '::ffff:10.1.0.0/112' }
    expect(loadConfig(env, runtime).trustedProxies).toEqual(['10.1.0.0/16'])
  })

  it('digests settings, and of a secret only that it is set', () => {
    const digest = (env: Env): string => loadConfig(env, runtime).digest
    expect(digest(production)).toBe(digest({ ...production, MCP_SECRET: secret() }))
    expect(digest(production)).toBe(digest({ ...production, PORT: '3000' }))
    expect(digest(production)).not.toBe(digest({ ...production, PORT: '3001' }))
    expect(digest(development)).not.toBe(digest({ ...development, MCP_SECRET: secret() }))
  })

  it('reads the environment of the process', () => {
    vi.stubEnv('MCP_NO_SUCH_SETTING', '1')
    onTestFinished(() => {
      vi.unstubAllEnvs()
    })
    expect(() => readConfig()).toThrow(
      /^MCP_NO_SUCH_SETTING: is not a setting; .env.example lists them$/m,
    )
  })
})

describe('contract: .env.example says the same as the code', () => {
  const code = readFileSync(new URL('../src/config.ts', import.meta.url), 'utf8')
  const example = readFileSync(new URL('../.env.example', import.meta.url), 'utf8')
  const words = (text: string): string => text.replaceAll(/(?:^\s*[#*]|\s)+/gm, ' ').trim()

  const variables = [
    ...code
      .slice(code.indexOf('export const environment'), code.indexOf('export type Settings'))
      .matchAll(/\/\*\*((?:(?!\*\/)[\s\S])*)\*\/(?: \/\/ optional: [a-z-]+)?\s+([A-Z_]+):/g),
  ].map(([, comment = '', name = '']) => ({ name, words: words(comment) }))
  const examples = [...example.matchAll(/((?:^# .*\n)+)# ([A-Z_]+)=(.*)$/gm)].map(
    ([, comment = '', name = '', value = '']) => ({ name, value, words: words(comment) }),
  )

  it('in the same order, with the same words', () => {
    expect(variables.map(({ name }) => name)).toEqual(Object.keys(environment.shape))
    expect(examples.map(({ name, words }) => ({ name, words }))).toEqual(variables)
  })

  it('with the same defaults', () => {
    const env = { ...production }
    const shown = Object.fromEntries(
      examples.filter(({ value }) => value !== '').map(({ name, value }) => [name, value]),
    )
    expect(loadConfig({ ...env, ...shown }, runtime).digest).toBe(loadConfig(env, runtime).digest)
    const defaults: Record<string, unknown> = environment.parse({})
    const defaulted = Object.keys(defaults).filter((name) => !Array.isArray(defaults[name]))
    expect(Object.keys(shown)).toEqual(defaulted)
  })

  it('and sets nothing when it is copied as it is', () => {
    expect(parseEnv(example)).toEqual({})
  })
})
