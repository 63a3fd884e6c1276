// optional: api-key
import { execFileSync, spawnSync } from 'node:child_process'
import { chmodSync, cpSync, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import type { Warning } from '../../src/cli/doctor/warnings.ts'
import { daysFromNow } from '../key-file.ts'
import { type Production, production } from '../production.ts'
import { ROOT } from '../source-tree.ts'

interface Ended {
  readonly code: number | null
  readonly out: string
  readonly err: string
}

type Env = Readonly<Record<string, string>>

function doctor({ env, unprivileged }: Production, more: Env = {}, ...args: string[]): Ended {
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [join(ROOT, 'src/cli/doctor.ts'), ...args],
    { cwd: ROOT, encoding: 'utf8', ...unprivileged, env: { ...env, ...more } },
  )
  return { code: status, out: stdout, err: stderr }
}

/** A production server that has nothing to be asked about. */
function spotless(): Production & { readonly settings: Env } {
  const made = production()
  const file = (name: string, text: string): string => {
    const path = join(made.folder, name)
    writeFileSync(path, text)
    chmodSync(path, 0o600)
    made.give(path)
    return path
  }
  chmodSync(made.keysFile, 0o600)
  const keys = readFileSync(made.keysFile, 'utf8').replace(
    '"allowedCidrs": []',
    '"allowedCidrs": ["10.0.0.0/8"]',
  )
  writeFileSync(made.keysFile, keys)
  const signing = execFileSync('openssl', ['genpkey', '-algorithm', 'ed25519'], {
    encoding: 'utf8',
  })
  const settings = {
    MCP_TRUSTED_PROXIES: '127.0.0.0/16',
    MCP_AUDIT_SIGNING_KEY_FILE: file('signing.pem', signing),
    MCP_DENY_LIST_FILE: file('denied.json', '{"jti":[],"subjects":[]}'),
  }
  return { ...made, settings }
}

/** The policies with a text replaced. */
function policies({ folder, give }: Production, file: string, from: string, to: string): Env {
  const dir = join(folder, 'policies')
  cpSync(join(ROOT, 'policies'), dir, { recursive: true })
  const text = readFileSync(join(dir, file), 'utf8')
  expect(text).toContain(from)
  writeFileSync(join(dir, file), text.replace(from, to))
  give(dir)
  return { MCP_POLICY_DIR: dir }
}

function warnings(server: Production, env: Env): readonly Pick<Warning, 'severity' | 'field'>[] {
  const { code, out } = doctor(server, env, '--json')
  expect(code).toBe(0)
  const found: readonly Warning[] = JSON.parse(out).warnings
  return found.map(({ severity, field }) => ({ severity, field }))
}

const openssl = spawnSync('openssl', ['version']).error === undefined

describe.runIf(openssl || process.env['CI'])(
  'contract: the doctor tells how a server would stand',
  () => {
    it('has nothing to ask about a server that leaves nothing open', () => {
      const server = spotless()
      const { code, out, err } = doctor(server, server.settings, '--strict')
      expect({ code, err }).toEqual({ code: 0, err: '' })
      expect(out).toContain('The server would start.')
      expect(out).toContain('public URL https://mcp.example.com/mcp')
      expect(out).toContain('API keys as Bearer, for at most 365 days')
      expect(out).toContain('origins: none: no web page may call')
      expect(out).toMatch(/nothing to ask about\n$/)
    })

    it('tells each way in of development once', () => {
      const { out } = doctor({ ...production(), env: { NODE_ENV: 'development' } })
      expect(out).toContain('  hosts: 127.0.0.1:3000, localhost:3000, [::1]:3000\n')
      expect(out).toContain('who can authenticate\n  the API key that each start prints\n\n')
    })

    it.each([
      [
        'unsigned checkpoints',
        'medium',
        'MCP_AUDIT_SIGNING_KEY_FILE',
        { MCP_AUDIT_SIGNING_KEY_FILE: '' },
      ],
      ['no deny list', 'low', 'MCP_DENY_LIST_FILE', { MCP_DENY_LIST_FILE: '' }],
      ['probes for everybody', 'medium', 'ADMIN_HOST', { ADMIN_HOST: '0.0.0.0' }],
      [
        'a wide network of proxies',
        'medium',
        'MCP_TRUSTED_PROXIES',
        { MCP_TRUSTED_PROXIES: '10.0.0.0/8' },
      ],
    ] as const)('asks about %s', (_name, severity, field, change) => {
      const server = spotless()
      const env = { ...server.settings, ...change }
      const set = Object.fromEntries(Object.entries(env).filter(([, value]) => value !== ''))
      expect(warnings(server, set)).toEqual([{ severity, field }])
      expect(doctor(server, set, '--strict').code).toBe(1)
    })

    it.each([
      [
        'unaudited calls',
        'high',
        'audit.yaml onSinkFailure',
        'audit.yaml',
        'onSinkFailure: refuse',
        'onSinkFailure: continue',
      ],
      [
        'a destructive tool for everybody',
        'high',
        'access.yaml tools.delete_report.scopes',
        'access.yaml',
        'scopes: ["reports:delete"]',
        'scopes: []',
      ],
      [
        'refused calls without a store',
        'low',
        'limits.yaml onStoreFailure',
        'limits.yaml',
        'onStoreFailure: insurance',
        'onStoreFailure: refuse',
      ],
    ] as const)('asks about %s', (_name, severity, field, file, from, to) => {
      const server = spotless()
      const env = { ...server.settings, ...policies(server, file, from, to) }
      expect(warnings(server, env)).toEqual([{ severity, field }])
    })

    it('tells where tools may send requests, and asks about what is open', () => {
      const server = spotless()
      const credential = join(server.folder, 'rates-key')
      writeFileSync(credential, 'canary')
      chmodSync(credential, 0o644)
      server.give(credential)
      const entry = `{ origin: "https://a.example", methods: [GET, POST], paths: [/v1/], private: true, credential: { file: "${credential}" }, why: "test" }`
      const env = {
        ...server.settings,
        ...policies(server, 'egress.yaml', 'tools: {}', `tools: { echo: [${entry}] }`),
      }
      expect(warnings(server, env)).toEqual([
        { severity: 'high', field: 'egress.yaml tools.echo.0.credential.file' },
        { severity: 'medium', field: 'egress.yaml tools.echo.0.private' },
      ])
      const { out } = doctor(server, env)
      expect(out).toContain(
        'tool echo: GET POST https://a.example /v1/, with a credential in authorization',
      )
      expect(out).not.toMatch(/canary|rates-key/)
      writeFileSync(credential, '')
      const { code, err } = doctor(server, env)
      expect(code).toBe(78)
      expect(err).toContain('egress.yaml tools.echo.0.credential.file')
    })

    it('asks about keys that end soon, that everybody can read, and that work from anywhere', () => {
      const server = spotless()
      const text = readFileSync(server.keysFile, 'utf8')
      writeFileSync(
        server.keysFile,
        text
          .replace(/"expiresAt": "[^"]*"/, `"expiresAt": "${daysFromNow(3)}"`)
          .replace('"10.0.0.0/8"', ''),
      )
      chmodSync(server.keysFile, 0o644)
      expect(warnings(server, server.settings)).toEqual([
        { severity: 'high', field: 'MCP_API_KEYS_FILE' },
        { severity: 'medium', field: 'MCP_API_KEYS_FILE' },
        { severity: 'low', field: 'MCP_API_KEYS_FILE' },
      ])
    })

    it('asks about a certificate that ends soon', () => {
      const server = spotless()
      const cert = join(server.folder, 'server.crt')
      const key = join(server.folder, 'server.key')
      execFileSync(
        'openssl',
        [
          ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'],
          ...['-days', '3', '-subj', '/CN=mcp.example.com', '-keyout', key, '-out', cert],
        ],
        { stdio: 'ignore' },
      )
      for (const file of [cert, key]) server.give(file)
      chmodSync(key, 0o600)
      const env = { ...server.settings, MCP_TLS_CERT_FILE: cert, MCP_TLS_KEY_FILE: key }
      expect(warnings(server, env)).toEqual([{ severity: 'medium', field: 'MCP_TLS_CERT_FILE' }])
    })
  },
)

describe('contract: the doctor says what would stop the start', () => {
  it('says everything at once, as a start would', () => {
    const server = spotless()
    const broken = policies(server, 'limits.yaml', 'depth: 64', 'depth: 640')
    const env = { ...server.settings, ...broken, MCP_PUBLIC_URL: 'http://mcp.example.com' }
    const { code, out, err } = doctor(server, env)
    expect({ code, out }).toEqual({ code: 78, out: '' })
    expect(err).toContain('MCP_PUBLIC_URL')
    expect(err).toContain('limits.yaml body.depth')
  })

  it.each([
    ['nobody could authenticate', { MCP_API_KEYS_FILE: '' }, 'MCP_API_KEYS_FILE'],
    ['the audit trail has no place', { MCP_AUDIT_FILE: '/nowhere/audit.jsonl' }, 'MCP_AUDIT_FILE'],
    [
      'the signing key is none',
      { MCP_AUDIT_SIGNING_KEY_FILE: '/dev/null' },
      'MCP_AUDIT_SIGNING_KEY_FILE',
    ],
    ['the key file is none', { MCP_API_KEYS_FILE: '/dev/null' }, 'MCP_API_KEYS_FILE'],
  ])('%s', (_name, change, field) => {
    const server = spotless()
    const env = Object.entries({ ...server.env, ...server.settings, ...change })
    const set = Object.fromEntries(env.filter(([, value]) => value !== ''))
    const { code, err } = doctor({ ...server, env: {} }, set)
    expect(code).toBe(78)
    expect(err).toContain(`  ${field}: `)
  })

  it('knows its usage', () => {
    expect(doctor(production(), {}, '--canary')).toMatchObject({ code: 2, out: '' })
  })
})

describe('threat: what the doctor prints ends up in a ticket, and a secret with it', () => {
  it('prints no secret and no path, and leaves nothing behind', () => {
    const server = spotless()
    const trail = join(server.folder, 'audit.jsonl')
    const before = readdirSync(server.folder)
    const { out, err } = doctor(server, { ...server.settings, MCP_AUDIT_FILE: trail })
    const records: { sha256: string }[] = JSON.parse(readFileSync(server.keysFile, 'utf8')).keys
    const secrets = [
      server.env['MCP_SECRET'] ?? '',
      server.key,
      server.folder,
      ...records.map(({ sha256 }) => sha256),
    ]
    for (const secret of secrets) expect(out + err).not.toContain(secret)
    expect(existsSync(trail)).toBe(false)
    expect(readdirSync(server.folder)).toEqual(before)
  })
})
