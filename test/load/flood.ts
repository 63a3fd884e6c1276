import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Server, startServer, stopServers } from '../server.ts'
import { startCallers } from './callers.ts'
import { none, quantile, type Scenario, some } from './scenario.ts'
import { missingProc } from './target.ts'

const SIZES = {
  whole: { rounds: 6, roundSeconds: 5, dawdlers: 500 },
  smoke: { rounds: 1, roundSeconds: 1, dawdlers: 50 },
} as const
const SENDERS = 32
/** Well below what one caller may send: 1200 a minute. */
const PAUSE_MS = 60

/**
 * A client with a live key beside strangers that send what they can: rounds with and without them, in
 * turn, so that both see the same machine. The limits are those that ship.
 */
export const flood: Scenario = {
  name: 'flood',
  about: 'an authenticated caller beside a flood without credentials and 500 slow sockets',
  // Other systems have no loopback addresses besides 127.0.0.1.
  missing: missingProc,
  async run(size) {
    const { rounds, roundSeconds, dawdlers } = SIZES[size]
    const server = await startServer({ env: { MCP_AUDIT_FILE: '/dev/null' }, policies: MORE_CALLS })
    await measure(server, roundSeconds)
    const quiet: number[] = []
    const flooded: number[] = []
    let failed = 0
    for (let round = 0; round < rounds; round += 1) {
      const alone = await measure(server, roundSeconds)
      quiet.push(...alone.latencies)
      const strangers = await startFlood(server, dawdlers)
      const beside = await measure(server, roundSeconds)
      flooded.push(...beside.latencies)
      failed += alone.failures.length + beside.failures.length
      strangers.kill('SIGKILL')
      await once(strangers, 'close')
    }
    const refused = await refusals(server)
    await stopServers()
    const [quietMs, floodedMs] = [quantile(quiet, 0.99), quantile(flooded, 0.99)]
    return [
      some('requests of the flood refused', refused, 100),
      some('calls answered beside it', flooded.length, 1),
      none('calls failed', failed),
      { what: 'p99 alone', measured: quietMs, unit: 'ms' },
      { what: 'p99 beside the flood', measured: floodedMs, unit: 'ms' },
      {
        what: 'p99 beside / alone',
        measured: floodedMs / quietMs,
        unit: '',
        target: { atMost: 5 },
      },
    ]
  },
}

/** The caller that is measured is one, and the rate of one caller is what ships but for this. */
const MORE_CALLS = [['limits.yaml', 'requestsPerMinute: 1200', 'requestsPerMinute: 12000']] as const

async function measure(
  server: Server,
  seconds: number,
): Promise<Pick<ReturnType<typeof startCallers>, 'latencies' | 'failures'>> {
  const callers = startCallers(server, { count: 4, pauseMs: PAUSE_MS })
  await sleep(seconds * 1000)
  await callers.stop()
  return callers
}

/** Returns once it is felt. */
async function startFlood(server: Server, dawdlers: number): Promise<ChildProcess> {
  const before = await refusals(server)
  const script = join(import.meta.dirname, 'flood-process.ts')
  const args = [script, server.port, SENDERS, dawdlers].map(String)
  const child = spawn(process.execPath, args, { stdio: 'inherit' })
  process.once('exit', () => child.kill('SIGKILL'))
  while ((await refusals(server)) < before + SENDERS) await sleep(20)
  return child
}

async function refusals({ adminUrl }: Server): Promise<number> {
  const metrics = await (await fetch(`${adminUrl}/metrics`)).text()
  const counts = [...metrics.matchAll(/^gatehouse_refusals_total\{[^}]*\} (\d+)$/gm)]
  return counts.reduce((sum, [, count]) => sum + Number(count), 0)
}
