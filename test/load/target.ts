import { readFileSync } from 'node:fs'
import type { PolicyEdit, Server, ServerOptions } from '../server.ts'
import { startServer } from '../server.ts'

/** A server in development without limits on rates, streams and connections. */
export function startRoomy(options: ServerOptions = {}): Promise<Server> {
  const { env, policies = [] } = options
  return startServer({
    ...options,
    // Nobody reads it, and a run of a minute writes hundreds of megabytes.
    env: { MCP_AUDIT_FILE: '/dev/null', NODE_OPTIONS: FLAGS, ...env },
    policies: [...ROOM, ...policies],
  })
}

/**
 * That of `npm start`, without which the young generation of V8 alone takes up to 192 MiB, and a heap
 * as in a container of 768 MiB: V8 collects garbage as late as its heap allows, so that memory means
 * nothing without a bound.
 */
const FLAGS = '--max-semi-space-size=16 --max-old-space-size=512'

const ROOM: readonly PolicyEdit[] = [
  [
    'limits.yaml',
    'connections: 200, requestsPerMinute: 600, authFailuresPerMinute: 30',
    'connections: 20000, requestsPerMinute: 1000000, authFailuresPerMinute: 1000',
  ],
  [
    'limits.yaml',
    'requestsPerMinute: 1200, concurrentCalls: 32, openStreams: 16',
    'requestsPerMinute: 1000000, concurrentCalls: 10000, openStreams: 10000',
  ],
]

/** Resident memory of a process, bytes (proc_pid_status(5)). */
export function rssOf({ child }: Pick<Server, 'child'>): number {
  const status = readFileSync(`/proc/${child.pid}/status`, 'utf8')
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024
}

/** What it lets a scenario that reads `/proc` run on. */
export function missingProc(): string | undefined {
  return process.platform === 'linux' ? undefined : 'it reads /proc of Linux'
}
