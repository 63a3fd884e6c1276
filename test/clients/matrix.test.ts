import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import type { AuditEvent } from '../../src/audit/trail.ts'
import type { HttpPolicy } from '../../src/policy.ts'
import { temporaryFolder } from '../audit/pipe.ts'
import { inspect } from '../canaries.ts'
import { startEndpoint } from '../mcp/endpoint.ts'
import { textOf } from '../source-tree.ts'
import { policiesWith, stopProcesses } from '../stdio/process.ts'
import { firstSdk, secondSdk, type Way } from './clients.ts'
import { type HangRecords, type MatrixClient, probe, type Verdicts } from './probes.ts'
import { MATRIX_ENTRIES, matrixTools } from './tools.ts'

type Connect = (way: Way) => Promise<MatrixClient>
const second =
  (mode: 'legacy' | 'auto'): Connect =>
  (way) =>
    secondSdk(mode, way)

/** What a client of 2025 gets where it has a connection of its own. */
const CONNECTED: Verdicts = {
  revision: '2025-11-25',
  lists: 'yes',
  calls: 'yes',
  progress: 'yes',
  logs: 'by level',
  elicitation: 'yes',
  cancel: 'yes',
}
/** And where each request stands for itself. */
const STATELESS: Verdicts = {
  ...CONNECTED,
  logs: 'all, always',
  elicitation: '`isError`',
  cancel: 'when the client leaves',
}
const MODERN: Verdicts = { ...CONNECTED, revision: '2026-07-28', logs: 'by level, per call' }

type Protocol = Pick<HttpPolicy['protocol'], 'legacy' | 'httpSse'>
const stateless: Protocol = { legacy: 'stateless', httpSse: false }
const sessions: Protocol = { legacy: 'sessions', httpSse: true }

/** Client, transport, how it connects, the policy it meets, and what it sees. */
const ROWS: readonly (readonly [
  string,
  string,
  Connect,
  Protocol | 'stdio',
  Way['transport'],
  Verdicts,
])[] = [
  ['SDK 1.32', 'Streamable HTTP, stateless', firstSdk, stateless, 'http', STATELESS],
  ['SDK 1.32', 'Streamable HTTP, sessions', firstSdk, sessions, 'http', CONNECTED],
  ['SDK 1.32', 'HTTP+SSE', firstSdk, sessions, 'sse', CONNECTED],
  ['SDK 1.32', 'stdio', firstSdk, 'stdio', 'stdio', CONNECTED],
  ['SDK 2, default', 'Streamable HTTP, stateless', second('legacy'), stateless, 'http', STATELESS],
  ['SDK 2, default', 'Streamable HTTP, sessions', second('legacy'), sessions, 'http', CONNECTED],
  ['SDK 2, default', 'HTTP+SSE', second('legacy'), sessions, 'sse', CONNECTED],
  ['SDK 2, default', 'stdio', second('legacy'), 'stdio', 'stdio', CONNECTED],
  ['SDK 2, `auto`', 'Streamable HTTP', second('auto'), stateless, 'http', MODERN],
  ['SDK 2, `auto`', 'stdio', second('auto'), 'stdio', 'stdio', MODERN],
]

/** What the run saw, in the order of the table. */
const seen = new Map<string, Verdicts>()

afterAll(stopProcesses)

async function overHttp(
  connect: Connect,
  protocol: Protocol,
  kind: 'http' | 'sse',
): Promise<Verdicts> {
  await using endpoint = await startEndpoint({
    catalog: { tools: matrixTools },
    policies: (policies) => ({
      ...policies,
      http: { ...policies.http, protocol: { ...policies.http.protocol, ...protocol } },
    }),
  })
  const url = kind === 'sse' ? new URL('/sse', endpoint.url).href : endpoint.url
  const client = await connect({ transport: kind, url, key: endpoint.key() })
  return await probe(client, recordsOf(endpoint.audited))
}

function recordsOf(audited: readonly AuditEvent[]): HangRecords {
  const count = (holds: (event: AuditEvent) => boolean): number => audited.filter(holds).length
  return {
    begun: () => count((e) => e.event === 'decision' && e.name === 'hang'),
    cancelled: () => count((e) => e.event === 'outcome' && e.outcome === 'cancelled'),
    notified: () => count((e) => e.event === 'request' && e.method === 'notifications/cancelled'),
  }
}

async function overStdio(connect: Connect): Promise<Verdicts> {
  using folder = temporaryFolder()
  const file = join(folder.path, 'audit.jsonl')
  const client = await connect({
    transport: 'stdio',
    args: ['test/clients/stdio-server.ts'],
    env: {
      NODE_ENV: 'development',
      MCP_AUDIT_FILE: file,
      MCP_POLICY_DIR: policiesWith(MATRIX_ENTRIES),
    },
  })
  const count = (...texts: readonly string[]): number =>
    (existsSync(file) ? readFileSync(file, 'utf8') : '')
      .split('\n')
      .filter((line) => texts.every((text) => line.includes(text))).length
  const verdicts = await probe(client, {
    begun: () => count('"event_code":"decision"', '"tool":"hang"'),
    cancelled: () => count('"event_code":"outcome"', '"status_code":"cancelled"'),
    notified: () => count('"event_code":"request"', '"operation":"notifications/cancelled"'),
  })
  inspect(readFileSync(file, 'utf8'))
  return verdicts
}

describe('contract: real clients', () => {
  it.each(ROWS)(
    '%s over %s',
    async (name, over, connect, protocol, kind, expected) => {
      const verdicts =
        protocol === 'stdio' || kind === 'stdio'
          ? await overStdio(connect)
          : await overHttp(connect, protocol, kind)
      seen.set(`${name} | ${over}`, verdicts)
      expect(verdicts).toEqual(expected)
    },
    60_000,
  )

  it('README.md says what the run saw', () => {
    const [, block] =
      /<!-- clients: made by test\/clients\/matrix.test.ts -->\n([\s\S]*?)<!-- end of clients -->/.exec(
        textOf('README.md'),
      ) ?? []
    expect(block?.trim()).toBe(table())
  })
})

function table(): string {
  const head = ['Client', 'Transport', 'Revision', 'List, call', 'Progress', 'Log notifications']
  const rows = ROWS.map(([name, over]) => {
    const verdicts = seen.get(`${name} | ${over}`)
    if (verdicts === undefined) return []
    const { revision, lists, calls, progress, logs, elicitation, cancel } = verdicts
    const used = lists === 'yes' && calls === 'yes' ? 'yes' : 'no'
    return [name, over, revision, used, progress, logs, elicitation, cancel]
  })
  const all = [[...head, 'Elicitation', 'Cancel reaches the tool'], Array(8).fill('---'), ...rows]
  return all.map((cells) => `| ${cells.join(' | ')} |`).join('\n')
}
