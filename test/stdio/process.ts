import { type ChildProcess, spawn } from 'node:child_process'
import { chmodSync, cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect, inspectDevelopmentLog, noteSettings } from '../canaries.ts'
import type { Received } from './host.ts'

const ROOT = join(import.meta.dirname, '../..')

export interface StdioOptions {
  /** Source file to run, from the root of the repository. */
  readonly entry?: string
  /**
   * Added to those of development, or in their place; `undefined` takes one away. Nothing else of this
   * process's environment is passed on.
   */
  readonly env?: Readonly<Record<string, string | undefined>>
  /** User and group to run as. */
  readonly uid?: number
}

/** A server on the standard streams of a process of its own. */
export interface StdioProcess {
  readonly child: ChildProcess
  /** What it wrote to standard output: the parsed lines. @throws {SyntaxError} when one is no JSON */
  received(): Received[]
  stderr(): string
  /** The audit records so far. */
  audited(): Received[]
  send(message: object | string): void
  arrived(like: (message: Received) => boolean): Promise<Received>
  ask(message: object & { readonly id: string | number }): Promise<Received>
  readonly exited: Promise<number | null>
}

const running = new Set<StdioProcess>()
const folders = new Set<string>()

/** Ends every process that a test has left behind. */
export async function stopProcesses(): Promise<void> {
  const all = [...running]
  for (const { child } of all) child.kill('SIGKILL')
  await Promise.all(all.map(({ exited }) => exited))
  for (const folder of folders) rmSync(folder, { recursive: true })
  folders.clear()
}

function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'gatehouse-stdio-'))
  folders.add(folder)
  chmodSync(folder, 0o777) // Other users run the server, too.
  return folder
}

/** The shipped policies with entries for more tools. */
export function policiesWith(entries: string): string {
  const folder = temporaryFolder()
  cpSync(join(ROOT, 'policies'), folder, { recursive: true })
  const path = join(folder, 'access.yaml')
  writeFileSync(path, readFileSync(path, 'utf8').replace('\ntools:\n', `\ntools:\n${entries}`))
  return folder
}

export function startStdio(options: StdioOptions = {}): StdioProcess {
  const { entry = 'src/stdio.ts', uid } = options
  const auditFile = join(temporaryFolder(), 'audit.jsonl')
  const env: Record<string, string> = {}
  const wanted = { NODE_ENV: 'development', MCP_AUDIT_FILE: auditFile, ...options.env }
  for (const [name, value] of Object.entries(wanted)) if (value !== undefined) env[name] = value
  noteSettings(env)
  const user = uid === undefined ? {} : { uid, gid: uid }
  const child = spawn(process.execPath, [entry], { cwd: ROOT, env, stdio: 'pipe', ...user })
  const output = { stdout: '', stderr: '' }
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (text: string) => {
      output[name] += text
    })
  }
  child.stdin.on('error', () => {
    // It has ended.
  })
  const audited = (): string => {
    try {
      return readFileSync(auditFile, 'utf8')
    } catch {
      return '' // It did not start.
    }
  }
  const exited = new Promise<number | null>((resolve) => {
    child.once('close', (code) => {
      running.delete(server)
      inspect(audited())
      if (env['NODE_ENV'] === 'production') inspect(output.stderr)
      else inspectDevelopmentLog(output.stderr)
      resolve(code)
    })
  })
  const until = async <Value>(look: () => Value | undefined): Promise<Value> => {
    for (;;) {
      const found = look()
      if (found !== undefined) return found
      if (!running.has(server)) throw new Error(`It has ended:\n${output.stderr}`)
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
  }
  const server: StdioProcess = {
    child,
    received: () =>
      output.stdout
        .slice(0, output.stdout.lastIndexOf('\n') + 1)
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => JSON.parse(line)),
    stderr: () => output.stderr,
    audited: () =>
      audited()
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => JSON.parse(line)),
    send(message) {
      child.stdin.write(`${typeof message === 'string' ? message : JSON.stringify(message)}\n`)
    },
    arrived: (like) => until(() => server.received().find(like)),
    ask(message) {
      server.send(message)
      return server.arrived((one) => one.id === message.id && !('method' in one))
    },
    exited,
  }
  running.add(server)
  return server
}
