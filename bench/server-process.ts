import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { get } from './client.ts'

/** A server in a process of its own. */
export interface ServerProcess {
  readonly port: number
  /** API key that it printed, or `undefined` for a server without authentication. */
  readonly key: string | undefined
  /** CPU time used so far by all its threads, ms, in steps of 10; `NaN` where there is no `/proc`. */
  cpuMs(): number
  /** Asks the process what it has used; for `memory` it collects garbage first. */
  usage(wanted: 'cpu' | 'memory'): Promise<Usage>
  stop(): Promise<void>
}

export interface Usage {
  /** CPU time so far, all threads, ms. */
  readonly cpuMs: number
  /** Resident memory, bytes. */
  readonly rss: number
  /** Memory of JavaScript objects and their buffers, bytes. */
  readonly heap: number
}

/** Core of the servers and core of the load generator, when there are two. */
const SERVER_CORE = '0'
const LOAD_CORE = '1'

/** `/proc/<pid>/stat` counts in units of USER_HZ, 100 a second on every Linux (proc_pid_stat(5)). */
const MS_PER_TICK = 10

const PROBE = join(import.meta.dirname, 'probe.ts')
const READY = /\blistening$|\blistens on http:\/\/127\.0\.0\.1:\d+/m

/** Moves this process away from the core of the servers. @returns whether it could. */
export function pinLoad(): boolean {
  try {
    execFileSync('taskset', ['-cp', LOAD_CORE, String(process.pid)], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

export interface ServerOptions {
  readonly cwd: string
  readonly env: NodeJS.ProcessEnv
  /** Whether the process is bound to the core of the servers. */
  readonly pinned: boolean
  /** Variable of the environment that takes the port. */
  readonly portVariable?: string
  /** Options of Node. */
  readonly flags?: readonly string[]
}

/**
 * Starts `node <script>` with a free port and waits until it says that it listens.
 *
 * @throws when it ends first
 */
export async function startServer(
  script: string,
  { cwd, env, pinned, portVariable = 'PORT', flags = [] }: ServerOptions,
): Promise<ServerProcess> {
  const given = await freePort()
  const watched = ['--no-warnings', '--expose-gc', '--import', PROBE]
  const command = [process.execPath, ...watched, ...flags, script]
  const [file = '', ...args] = pinned ? ['taskset', '-c', SERVER_CORE, ...command] : command
  const child = spawn(file, args, {
    cwd,
    env: { ...env, [portVariable]: String(given) },
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  })
  const output = await outputUntil(child, READY)
  const port = Number(/listens on http:\/\/127\.0\.0\.1:(\d+)/.exec(output)?.[1] ?? given)
  await untilAccepted(port)
  return {
    port,
    key: /\bmcpk_[\w-]+/.exec(output)?.[0],
    cpuMs: () => cpuMs(child.pid ?? 0),
    usage: (wanted) => usageOf(child, wanted),
    stop: () => stop(child),
  }
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.on('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      const port = typeof address === 'object' && address !== null ? address.port : 0
      server.close(() => resolve(port))
    })
  })
}

/** Some say that they listen a moment before they do. */
async function untilAccepted(port: number): Promise<void> {
  const deadline = performance.now() + 10_000
  while (!(await accepts(port))) {
    if (performance.now() > deadline) throw new Error('the server does not listen')
    await sleep(5)
  }
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port })
    socket.on('error', () => resolve(false))
    socket.on('connect', () => {
      socket.destroy()
      resolve(true)
    })
  })
}

function outputUntil(child: ChildProcess, ready: RegExp): Promise<string> {
  return new Promise((resolve, reject) => {
    let output = ''
    let isReady = false
    const take = (chunk: Buffer): void => {
      if (isReady) return
      output += chunk.toString()
      isReady = ready.test(output)
      if (isReady) resolve(output)
    }
    child.stdout?.on('data', take)
    child.stderr?.on('data', take)
    child.on('error', reject)
    child.on('exit', (code) => reject(new Error(`the server ended with ${code}:\n${output}`)))
  })
}

function usageOf(child: ChildProcess, wanted: string): Promise<Usage> {
  return new Promise((resolve, reject) => {
    child.once('message', (message) => {
      const number = (name: string): number => Number(get(message, name))
      resolve({ cpuMs: number('cpuMs'), rss: number('rss'), heap: number('heap') })
    })
    child.send(wanted, (error) => {
      if (error !== null) reject(error)
    })
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
    sleep(5000, undefined, { ref: false }).then(() => child.kill('SIGKILL'))
  })
}
