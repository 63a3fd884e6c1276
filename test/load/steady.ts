import { setTimeout as sleep } from 'node:timers/promises'
import { stopServers } from '../server.ts'
import { startCallers } from './callers.ts'
import { none, quantile, type Scenario, some } from './scenario.ts'
import { missingProc, rssOf, startRoomy } from './target.ts'

const SIZES = {
  whole: { warmUpSeconds: 20, rounds: 12, roundSeconds: 5 },
  smoke: { warmUpSeconds: 0.5, rounds: 3, roundSeconds: 0.5 },
} as const
const MIB = 1_048_576

/** Calls for a minute. What grows with each call shows in the memory of the last third. */
export const steady: Scenario = {
  name: 'steady',
  about: 'sustained load of 16 callers',
  missing: missingProc,
  async run(size) {
    const { warmUpSeconds, rounds, roundSeconds } = SIZES[size]
    const server = await startRoomy()
    const callers = startCallers(server, { count: 16 })
    await sleep(warmUpSeconds * 1000)
    const warm = callers.latencies.length
    const startedAt = performance.now()
    const memory: number[] = []
    for (let round = 0; round < rounds; round += 1) {
      await sleep(roundSeconds * 1000)
      memory.push(rssOf(server))
    }
    const seconds = (performance.now() - startedAt) / 1000
    await callers.stop()
    await stopServers()
    const third = Math.ceil(rounds / 3)
    const drift = quantile(memory.slice(-third), 0.5) - quantile(memory.slice(0, third), 0.5)
    return [
      some('calls answered', callers.latencies.length, 16),
      none('calls failed', callers.failures.length),
      {
        what: 'calls a second',
        measured: (callers.latencies.length - warm) / seconds,
        unit: '',
      },
      { what: 'p99', measured: quantile(callers.latencies.slice(warm), 0.99), unit: 'ms' },
      { what: 'RSS', measured: quantile(memory.slice(-third), 0.5) / MIB, unit: 'MiB' },
      // V8 collects when it likes, so RSS goes up and down; a leak of 1 KiB a call would be 100 MiB.
      { what: 'RSS drift', measured: drift / MIB, unit: 'MiB', target: { atMost: 32 } },
    ]
  },
}
