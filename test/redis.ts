import { type ChildProcess, execFile, spawn, spawnSync } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { promisify } from 'node:util'
import { describe, it } from 'vitest'
import { temporaryFolder } from './audit/pipe.ts'

/** A real Redis of the test alone: on loopback, in a folder of its own, nothing on disk. */
export interface Redis extends AsyncDisposable {
  /** `redis://127.0.0.1:<port>`, `rediss://` with TLS. Stays the same over `stop` and `start`. */
  readonly url: string
  readonly port: number
  /** Kills it, as a crash does. What it held is gone. */
  stop(): Promise<void>
  /** Starts it again, empty, on the same port. */
  start(): Promise<void>
  /** It takes connections and commands, and answers nothing until `resume`. */
  pause(): void
  resume(): void
  /** Forgets everything it holds. */
  flush(): Promise<void>
  /** Runs `redis-cli` with these arguments. @returns what it printed, without the last line break */
  cli(...args: readonly string[]): Promise<string>
}

export interface RedisOptions {
  readonly tls?: { readonly cert: string; readonly key: string; readonly ca: string }
  /** Added to its command line. */
  readonly args?: readonly string[]
}

const MISSING = 'redis-server is not installed: apt-get install redis-server'
export const redisInstalled = spawnSync('redis-server', ['--version']).status === 0

/**
 * A `describe` of tests that need a real Redis. Without one they fail by name in CI, and are skipped
 * elsewhere with the reason in their name.
 */
export function describeRedis(name: string, tests: () => void): void {
  if (redisInstalled) describe(name, tests)
  else if (process.env['CI'] === undefined) describe.skip(`${name} (${MISSING})`, tests)
  else
    describe(name, () => {
      it('runs on a real Redis', () => {
        throw new Error(MISSING)
      })
    })
}

const running = new Set<ChildProcess>()
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL')
})

export async function startRedis({ tls, args = [] }: RedisOptions = {}): Promise<Redis> {
  const folder = temporaryFolder()
  let child: ChildProcess | undefined
  let port = 0

  async function start(): Promise<void> {
    const listen =
      tls === undefined
        ? ['--port', `${port}`]
        : ['--port', '0', '--tls-port', `${port}`, '--tls-auth-clients', 'no'].concat([
            '--tls-cert-file',
            tls.cert,
            '--tls-key-file',
            tls.key,
            '--tls-ca-cert-file',
            tls.ca,
          ])
    child = await launch([
      ...['--bind', '127.0.0.1', '--dir', folder.path, '--save', '', '--appendonly', 'no'],
      ...listen,
      ...args,
    ])
  }

  async function stop(): Promise<void> {
    if (child === undefined) return
    const ended = new Promise((resolve) => child?.once('close', resolve))
    child.kill('SIGKILL')
    await ended
    running.delete(child)
    child = undefined
  }

  async function cli(...words: readonly string[]): Promise<string> {
    const secure = tls === undefined ? [] : ['--tls', '--cacert', tls.ca]
    const all = ['-h', '127.0.0.1', '-p', `${port}`, ...secure, ...words]
    const { stdout } = await promisify(execFile)('redis-cli', all)
    return stdout.replace(/\n$/, '')
  }

  for (let attempt = 1; child === undefined; attempt += 1) {
    // Below the ports that systems give away by themselves, so that it is still free for a restart.
    port = randomInt(10_000, 32_000)
    await start().catch((error: unknown) => {
      if (attempt === 5) throw error
    })
  }
  return {
    url: `${tls === undefined ? 'redis' : 'rediss'}://127.0.0.1:${port}`,
    port,
    stop,
    start,
    pause: () => void child?.kill('SIGSTOP'),
    resume: () => void child?.kill('SIGCONT'),
    async flush() {
      await cli('FLUSHALL')
    },
    cli,
    async [Symbol.asyncDispose]() {
      await stop()
      folder[Symbol.dispose]()
    },
  }
}

/** @returns the process once it takes connections. @throws {Error} with what it said, if it ends. */
function launch(args: readonly string[]): Promise<ChildProcess> {
  const child = spawn('redis-server', args, { stdio: ['ignore', 'pipe', 'ignore'] })
  running.add(child)
  return new Promise((resolve, reject) => {
    let output = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      output += text
      if (output.includes('Ready to accept connections')) resolve(child)
    })
    child.once('error', reject)
    child.once('close', () => {
      running.delete(child)
      reject(new Error(`redis-server has ended:\n${output}`))
    })
  })
}
