// optional: redis
import { setTimeout as sleep } from 'node:timers/promises'
import { redisInstalled, startRedis } from '../redis.ts'
import { stopServers } from '../server.ts'
import { startCallers } from './callers.ts'
import { none, quantile, type Scenario, some } from './scenario.ts'
import { startRoomy } from './target.ts'

const SIZES = {
  whole: { rounds: 5, seconds: 5 },
  smoke: { rounds: 1, seconds: 0.5 },
} as const

/** Redis is killed and started again under load, policy `insurance`. */
export const redisKilled: Scenario = {
  name: 'redis-killed',
  about: 'Redis is killed and comes back',
  missing: () => (redisInstalled ? undefined : 'redis-server'),
  async run(size) {
    const { rounds, seconds } = SIZES[size]
    await using redis = await startRedis()
    const server = await startRoomy({ env: { REDIS_URL: redis.url } })
    const ready = async (): Promise<boolean> => (await fetch(`${server.adminUrl}/readyz`)).ok
    const store = async (): Promise<string> => (await fetch(`${server.adminUrl}/readyz`)).text()
    const callers = startCallers(server, { count: 8 })
    let unready = 0
    let away = 0
    for (let round = 0; round < rounds; round += 1) {
      await callers.reaches(callers.latencies.length + callers.failures.length + 50)
      await redis.stop()
      while (!(await store()).includes('"store":"unreachable"')) await sleep(20)
      away += 1
      await sleep(seconds * 1000)
      if (!(await ready())) unready += 1
      await redis.start()
      while (!(await store()).includes('"store":"ok"')) await sleep(20)
    }
    await callers.stop()
    await stopServers()
    return [
      some('times that Redis was away', away, rounds),
      some('calls answered', callers.latencies.length, 50),
      none('calls failed', callers.failures.length),
      none('times that the process said it was not ready', unready),
      { what: 'slowest call', measured: quantile(callers.latencies, 1), unit: 'ms' },
    ]
  },
}
