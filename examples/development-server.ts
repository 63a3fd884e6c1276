import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'

/** The server of this repository in development: on loopback, with a key that ends with it. */
export interface DevelopmentServer {
  readonly process: ChildProcess
  readonly url: string
  readonly key: string
}

const ROOT = join(import.meta.dirname, '..')
const START_MS = 15_000
const STOP_MS = 15_000

/**
 * Starts it on a free port and waits until it has said where it listens and which key it made.
 *
 * @param children gets the process at once, so that the caller can end it whatever happens
 */
export async function startServer(
  auditFile: string,
  children: ChildProcess[],
): Promise<DevelopmentServer> {
  const child = spawn(process.execPath, ['src/main.ts'], {
    cwd: ROOT,
    env: {
      PATH: process.env['PATH'],
      NODE_ENV: 'development',
      PORT: '0',
      ADMIN_PORT: '0',
      MCP_AUDIT_FILE: auditFile,
    },
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  children.push(child)
  const timer = setTimeout(() => child.kill('SIGKILL'), START_MS)
  try {
    let said = ''
    for await (const chunk of child.stderr
      .setEncoding('utf8')
      .iterator({ destroyOnReturn: false })) {
      said += chunk
      const url = /Gatehouse listens on (http:\/\/\S+)/.exec(said)?.[1]
      const key = /--key (mcpk_\S+)\s/.exec(said)?.[1]
      if (url === undefined || key === undefined) continue
      child.stderr.resume()
      return { process: child, url, key }
    }
    throw new Error(`The server did not start. It said:\n${said}`)
  } finally {
    clearTimeout(timer)
  }
}

/** @throws {Error} when it does not end as it should. */
export async function stopServer({ process: child }: DevelopmentServer): Promise<void> {
  const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS)
  const ended = once(child, 'close')
  child.kill('SIGTERM')
  await ended
  clearTimeout(timer)
  if (child.exitCode !== 0) throw new Error('The server did not stop as it should')
}
