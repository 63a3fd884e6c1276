import { cpSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parse, stringify } from 'yaml'
import { generateKey } from '../src/auth/api-key.ts'
import { NAMED_TOOLS, sampleName } from './sample-tools.ts'

const ROOT = join(import.meta.dirname, '..')

const SAMPLED = 'let trail = sampled(records, systemClock)'
const SILENT = `let trail = {
    ...sampled(records, systemClock),
    write() {},
    async commit() {},
    digest: () => ({ hmac: '', bytes: 0 }),
  }`

/** Takes the audit trail out of a fork: what it costs is the difference. */
export function silence(folder: string): void {
  const path = join(folder, 'src/run.ts')
  const text = readFileSync(path, 'utf8')
  if (!text.includes(SAMPLED)) throw new Error('run.ts makes its audit trail in another way')
  writeFileSync(path, text.replace(SAMPLED, SILENT))
}

/**
 * Makes a fork of Gatehouse in a folder: the same `src` and the same policies, but with another list
 * of tools, and with limits that a benchmark from one address and one caller does not reach.
 *
 * @param tools number of tools, `echo`, `count` and `hold` included; at least 3
 * @returns what its process needs besides, in its environment
 */
export function makeFork(folder: string, tools: number): NodeJS.ProcessEnv {
  mkdirSync(folder, { recursive: true })
  for (const name of ['src', 'policies', 'package.json']) {
    cpSync(join(ROOT, name), join(folder, name), { recursive: true })
  }
  symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
  for (const name of ['sample-tools.ts', 'gatehouse-tools.ts']) {
    const text = readFileSync(join(import.meta.dirname, name), 'utf8')
    writeFileSync(join(folder, 'src/tools', name), text.replace("'../src/", "'../"))
  }
  writeFileSync(join(folder, 'src/tools/index.ts'), TOOLS)

  const samples = Array.from({ length: tools - NAMED_TOOLS }, (_, index) => sampleName(index))
  const entries = ['count', 'hold', ...samples].map(
    (name) => [name, { scopes: [], why: 'measured, or never called' }] as const,
  )
  edit(folder, 'access.yaml', (access) => ({
    ...access,
    tools: { echo: objectOf(access['tools'])['echo'], ...Object.fromEntries(entries) },
  }))
  edit(folder, 'limits.yaml', ({ address, principal, ...limits }) => ({
    ...limits,
    address: { ...objectOf(address), connections: 2000, requestsPerMinute: 1_000_000 },
    principal: {
      ...objectOf(principal),
      concurrentCalls: 2000,
      openStreams: 2000,
      requestsPerMinute: 1_000_000,
    },
  }))
  mkdirSync(join(folder, 'log'))
  return {
    NODE_ENV: 'development',
    ADMIN_PORT: '0',
    BENCH_TOOLS: String(tools),
    MCP_AUDIT_FILE: join(folder, 'log/audit.jsonl'),
  }
}

const TOOLS = `import type { Tool } from '../define.ts'
import { echo } from './echo.ts'
import { count, hold, sampleTools } from './gatehouse-tools.ts'

export const tools: readonly Tool[] = [echo, count, hold, ...sampleTools]
`

/** Lines of `app.ts` that can be taken out: nothing behind them needs what they leave. */
export function controlsOf(folder: string): readonly string[] {
  const app = readFileSync(join(folder, 'src/app.ts'), 'utf8')
  return [...app.matchAll(USE)].map(([, name = '']) => name)
}

const USE = /^ {2}app\.use\((?:parts\.)?([a-zA-Z.]+)[^\n]*\n/gm

/**
 * Takes lines out of the `app.ts` of a fork.
 *
 * @param controls names as `controlsOf` has them
 */
export function without(folder: string, controls: ReadonlySet<string>): void {
  const path = join(folder, 'src/app.ts')
  const app = readFileSync(path, 'utf8')
  writeFileSync(
    path,
    app.replace(USE, (line: string, name: string) => (controls.has(name) ? '' : line)),
  )
}

/**
 * Gives a fork callers.
 *
 * @returns their keys, and what the process needs in its environment
 */
export function withCallers(
  folder: string,
  callers: number,
): { readonly keys: readonly string[]; readonly env: NodeJS.ProcessEnv } {
  const day = 86_400_000
  const made = Array.from({ length: callers }, () => generateKey())
  const records = made.map(({ id, sha256 }, index) => ({
    id,
    name: `caller ${index}`,
    sha256,
    subject: `caller-${index}`,
    tenant: null,
    roles: [],
    scopes: ['mcp:use'],
    createdAt: new Date(Date.now() - day).toISOString(),
    expiresAt: new Date(Date.now() + day).toISOString(),
    allowedCidrs: [],
    revokedAt: null,
  }))
  const file = join(folder, 'keys.json')
  writeFileSync(file, JSON.stringify({ keys: records }), { mode: 0o600 })
  return { keys: made.map(({ key }) => key), env: { MCP_API_KEYS_FILE: file } }
}

type Fields = Readonly<Record<string, unknown>>

function edit(folder: string, file: string, change: (policy: Fields) => Fields): void {
  const path = join(folder, 'policies', file)
  writeFileSync(path, stringify(change(objectOf(parse(readFileSync(path, 'utf8'))))))
}

function objectOf(value: unknown): Fields {
  if (typeof value !== 'object' || value === null) throw new Error('a policy has another shape')
  return Object.fromEntries(Object.entries(value))
}
