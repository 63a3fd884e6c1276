import { type ChildProcess, spawn } from 'node:child_process'
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { CANARY_HEADERS, inspect, inspectDevelopmentLog, miss, noteSettings } from './canaries.ts'

/** The server as operators run it: a process of its own, real sockets, the shipped policies. */

const ROOT = join(import.meta.dirname, '..')

/** One change of a shipped policy: file, text that is in it, text that takes its place. */
export type PolicyEdit = readonly [file: string, from: string, to: string]

export interface ServerOptions {
  /** Added to development on free ports; nothing else of this process's environment is passed on. */
  readonly env?: Readonly<Record<string, string>>
  readonly policies?: readonly PolicyEdit[]
  /** Source file to run, from the root of the repository. */
  readonly entry?: string
  /** User and group to run as. */
  readonly uid?: number
  /** Descriptor that it gets as standard output; `stdout()` is empty then. */
  readonly stdout?: number
}

/** An audit record. */
// biome-ignore lint/suspicious/noExplicitAny: records are inspected by the tests
export type AuditRecord = any

export interface ServerProcess {
  readonly child: ChildProcess
  /** What it has said so far: the audit trail on standard output, everything else on standard error. */
  stdout(): string
  stderr(): string
  /** Audit records so far, oldest first. @throws {SyntaxError} when a line is not JSON. */
  audited(): readonly AuditRecord[]
  /** The first record for which this holds, once it is there. */
  recorded(holds: (record: AuditRecord) => boolean): Promise<AuditRecord>
  /** Once it has ended and said everything; `null` after a signal. */
  readonly exited: Promise<number | null>
  /** @returns the exit code */
  stop(signal?: NodeJS.Signals): Promise<number | null>
}

export interface Server extends ServerProcess {
  /** Of the endpoint. */
  readonly url: string
  readonly port: number
  readonly adminUrl: string
  /** The key of development; empty in production and for an anonymous server. */
  readonly key: string
  /** Calls a tool with that key, as a client of that era. */
  call(name: string, args: object, era?: 'legacy' | 'modern'): Promise<Response>
  /** Audit records, once those of every request that was answered are there: an answer can be faster. */
  settled(): Promise<readonly AuditRecord[]>
}

const running = new Set<ServerProcess>()
const folders = new Set<string>()

/** Ends every server that a test has left behind. For `afterEach` or `afterAll`. */
export async function stopServers(): Promise<void> {
  const all = [...running]
  for (const { child } of all) child.kill('SIGKILL')
  await Promise.all(all.map(({ exited }) => exited))
  for (const folder of folders) rmSync(folder, { recursive: true, force: true })
  folders.clear()
}
process.once('exit', () => {
  for (const { child } of running) child.kill('SIGKILL')
})

/** Starts a process that may or may not come to listen. */
export function spawnServer(options: ServerOptions = {}): ServerProcess {
  const { env = {}, policies = [], entry = 'src/main.ts', uid, stdout = 'pipe' } = options
  noteSettings(env)
  const child = spawn(process.execPath, [entry], {
    cwd: ROOT,
    env: {
      NODE_ENV: 'development',
      PORT: '0',
      ADMIN_PORT: '0',
      ...(policies.length > 0 ? { MCP_POLICY_DIR: editedPolicies(policies) } : {}),
      ...env,
    },
    stdio: ['ignore', stdout, 'pipe'],
    ...(uid === undefined ? {} : { uid, gid: uid }),
  })
  const output = { stdout: '', stderr: '' }
  let changed = Promise.withResolvers<void>()
  for (const name of ['stdout', 'stderr'] as const) {
    child[name]?.setEncoding('utf8').on('data', (text: string) => {
      output[name] += text
      changed.resolve()
      changed = Promise.withResolvers()
    })
  }
  const exited = new Promise<number | null>((resolve) => {
    child.once('close', (code) => {
      running.delete(server)
      inspectWritten(env, output)
      resolve(code)
      changed.resolve()
    })
  })
  const server: ServerProcess = {
    child,
    stdout: () => output.stdout,
    stderr: () => output.stderr,
    audited: () => recordsOf(output.stdout),
    async recorded(holds) {
      for (;;) {
        const found = server.audited().find(holds)
        if (found !== undefined) return found
        if (!running.has(server)) throw new Error('The server ended without this record')
        await changed.promise
      }
    },
    exited,
    stop(signal = 'SIGTERM') {
      child.kill(signal)
      return exited
    },
  }
  running.add(server)
  return server
}

/** Looks for secrets in what a server has written: its trail, wherever that is, and its log. */
function inspectWritten(
  env: NonNullable<ServerOptions['env']>,
  { stdout, stderr }: Readonly<Record<'stdout' | 'stderr', string>>,
): void {
  inspect(stdout)
  if (env['NODE_ENV'] === 'production') inspect(stderr)
  else inspectDevelopmentLog(stderr)
  const file = env['MCP_AUDIT_FILE']
  if (file === undefined || !HAS_STARTED.test(stderr)) return
  const paths = filesOf(file)
  if (paths.length === 0) miss('the trail of a server')
  for (const path of paths) if (statSync(path).isFile()) inspect(readFileSync(path, 'utf8'))
}

const HAS_STARTED = /Gatehouse listens on|"Listening for calls"/

/** A trail with those that were rotated away, which keep its name and add to it. */
function filesOf(trail: string): readonly string[] {
  const folder = dirname(trail)
  if (!existsSync(folder)) return []
  const names = readdirSync(folder).filter((name) => name.startsWith(basename(trail)))
  return names.map((name) => join(folder, name))
}

/** Starts a server and waits until it listens. */
export async function startServer(options: ServerOptions = {}): Promise<Server> {
  const server = spawnServer(options)
  const { url = '', adminUrl = '', key = '' } = await listening(server)
  const send = (body: string, more: Readonly<Record<string, string>> = {}): Promise<Response> =>
    fetch(url, {
      method: 'POST',
      headers: {
        ...CANARY_HEADERS,
        authorization: `Bearer ${key}`,
        'content-type': 'application/json',
        accept: 'application/json, text/event-stream',
        ...more,
      },
      body,
    })
  return {
    ...server,
    url,
    port: Number(new URL(url).port),
    adminUrl,
    key,
    call: (name, args, era = 'legacy') =>
      era === 'modern'
        ? send(callOf(name, args, 1, MODERN_META), { ...MODERN_HEADERS, 'mcp-name': name })
        : send(callOf(name, args)),
    async settled() {
      // Refusals are sampled: only a request that is served is on record for certain.
      const ping = await send(JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'ping' }))
      const id = ping.headers.get('x-request-id')
      await server.recorded(({ metadata }) => metadata.correlation_uid === id)
      return server.audited()
    },
  }
}

const MODERN_HEADERS = { 'mcp-protocol-version': '2026-07-28', 'mcp-method': 'tools/call' }
const MODERN_META = {
  'io.modelcontextprotocol/protocolVersion': '2026-07-28',
  'io.modelcontextprotocol/clientInfo': { name: 'test', version: '1.0.0' },
  'io.modelcontextprotocol/clientCapabilities': {},
}

/** A `tools/call` as JSON text: of a 2025 revision without `_meta`. */
export function callOf(name: string, args: object, id: string | number = 1, meta?: object): string {
  const params = { name, arguments: args, _meta: meta }
  return JSON.stringify({ jsonrpc: '2.0', id, method: 'tools/call', params })
}

const NOTICE =
  /Gatehouse listens on (?<url>\S+)\nProbes: (?<adminUrl>\S+)\/livez.* list(?: --key (?<key>\S+))?\n/s
const LOGGED =
  /"url":"(?<url>[^"]+)","msg":"Listening for calls".*"url":"(?<adminUrl>[^"]+)","msg":"Listening for probes"/s

/** The notice of development, or the log of production. */
async function listening(server: ServerProcess): Promise<Partial<Record<string, string>>> {
  const { promise, resolve, reject } = Promise.withResolvers<Partial<Record<string, string>>>()
  const look = (): void => {
    const found = (NOTICE.exec(server.stderr()) ?? LOGGED.exec(server.stderr()))?.groups
    if (found !== undefined) resolve(found)
  }
  server.child.stderr?.on('data', look)
  server.exited.then((code) => reject(new Error(`Ended with ${code}:\n${server.stderr()}`)))
  try {
    return await promise
  } finally {
    server.child.stderr?.off('data', look)
  }
}

/** A folder of the shipped policies with changes, gone with `stopServers`. */
function editedPolicies(edits: readonly PolicyEdit[]): string {
  const folder = mkdtempSync(join(tmpdir(), 'gatehouse-policies-'))
  folders.add(folder)
  chmodSync(folder, 0o755) // Other users run the server, too.
  cpSync(join(ROOT, 'policies'), folder, { recursive: true })
  for (const [file, from, to] of edits) {
    const path = join(folder, file)
    const text = readFileSync(path, 'utf8')
    if (!text.includes(from)) throw new Error(`${file} does not contain: ${from}`)
    writeFileSync(path, text.replace(from, to))
  }
  return folder
}

function recordsOf(stdout: string): AuditRecord[] {
  const lines = stdout.slice(0, stdout.lastIndexOf('\n') + 1).split('\n')
  return lines.filter((line) => line !== '').map((line) => JSON.parse(line))
}
