import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import type { Target } from './load.ts'

/** A server in a process of its own. */
export interface ServerProcess extends Target {
  /** CPU time used so far by all its threads, ms; `NaN` where there is no `/proc`. */
  cpuMs(): number
  stop(): Promise<void>
}

/** Core of the servers and core of the load generator, when there are two. */
const SERVER_CORE = '0'
const LOAD_CORE = '1'

/** `/proc/<pid>/stat` counts in units of USER_HZ, 100 a second on every Linux (proc_pid_stat(5)). */
const MS_PER_TICK = 10

/** Moves this process away from the core of the servers. @returns whether it could. */
export function pinLoad(): boolean {
  try {
    execFileSync('taskset', ['-cp', LOAD_CORE, String(process.pid)], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

/**
 * Starts `node <script>` and waits until it says where it listens (`… http://127.0.0.1:<port>…`).
 *
 * @param pinned whether the process is bound to the core of the servers
 * @throws when it ends first
 */
export async function startServer(
  script: string,
  options: { readonly cwd: string; readonly env: NodeJS.ProcessEnv; readonly pinned: boolean },
): Promise<ServerProcess> {
  const { cwd, env, pinned } = options
  const command = [process.execPath, '--no-warnings', script]
  const [file, ...args] = pinned ? ['taskset', '-c', SERVER_CORE, ...command] : command
  const child = spawn(file ?? '', args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] })
  const output = await outputUntil(child, /listens on http:\/\/127\.0\.0\.1:\d+/)
  const port = Number(/listens on http:\/\/127\.0\.0\.1:(\d+)/.exec(output)?.[1])
  const key = /\bmcpk_[\w-]+/.exec(output)?.[0]
  return { port, key, cpuMs: () => cpuMs(child.pid ?? 0), stop: () => stop(child) }
}

function outputUntil(child: ChildProcess, ready: RegExp): Promise<string> {
  return new Promise((resolve, reject) => {
    let output = ''
    const take = (chunk: Buffer): void => {
      output += chunk.toString()
      if (ready.test(output)) resolve(output)
    }
    child.stdout?.on('data', take)
    child.stderr?.on('data', take)
    child.on('error', reject)
    child.on('exit', (code) => reject(new Error(`the server ended with ${code}:\n${output}`)))
  })
}

function cpuMs(pid: number): number {
  try {
    // The second field is the name of the program in brackets; the fields behind it are fixed.
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return (Number(fields[11]) + Number(fields[12])) * MS_PER_TICK
  } catch {
    return Number.NaN
  }
}

function stop(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) resolve()
    child.once('close', () => resolve())
    child.kill('SIGTERM')
  })
}
