import { clockJump } from './clock-jump.ts' // optional: oauth
import { cost } from './cost.ts'
import { flood } from './flood.ts'
import { fullDisk } from './full-disk.ts'
import { issuerDown } from './issuer-down.ts' // optional: oauth
import { redisKilled } from './redis-killed.ts' // optional: redis
import { restarts } from './restarts.ts'
import type { Scenario } from './scenario.ts'
import { slowReadersAttack } from './slow-readers.ts'
import { steady } from './steady.ts'
import { streams } from './streams.ts'

/** In the order in which they run. */
export const scenarios: readonly Scenario[] = [
  steady,
  streams,
  flood,
  slowReadersAttack,
  issuerDown, // optional: oauth
  fullDisk,
  redisKilled, // optional: redis
  clockJump, // optional: oauth
  cost,
  restarts,
]
