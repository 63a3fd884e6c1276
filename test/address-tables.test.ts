import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { describe, expect, it } from 'vitest'
import { sampled } from '../src/audit/sampling.ts'
import type { AuditEvent } from '../src/audit/trail.ts'
import { networkOf } from '../src/client-address.ts'
import { slots } from '../src/slots.ts'
import { memoryStore } from '../src/stores/memory.ts'
import { recordingTrail } from './audit/inspected-trail.ts'
import { testClock } from './clock.ts'

const ADDRESSES = 200_000

setFlagsFromString('--expose-gc')
const gc: unknown = runInNewContext('gc')

function heapMebibytes(): number {
  if (typeof gc !== 'function') throw new Error('There is no garbage collection to ask for')
  gc()
  return process.memoryUsage().heapUsed / 1_048_576
}

/** Addresses of as many networks, no two alike. */
const addressOf = (index: number): string =>
  `2001:db8:${(index >> 16).toString(16)}:${(index & 0xffff).toString(16)}::1`

type Meet = (address: string) => unknown

/** Tables that have an entry for each address that they remember. */
const TABLES: readonly [string, () => Meet][] = [
  [
    'limits of requests and of failed logins',
    () => {
      const store = memoryStore()
      const limiters = ['address', 'address-auth'].map((name) =>
        store.limiter({ name, limit: 600, windowSeconds: 60 }),
      )
      return (address) => Promise.all(limiters.map((limiter) => limiter.hit(networkOf(address))))
    },
  ],
  [
    'slots for connections',
    () => {
      const connections = slots(200)
      return (address) => connections.take(networkOf(address))?.()
    },
  ],
  [
    'counts of repeated refusals',
    () => {
      const trail = sampled({ ...recordingTrail([]), write() {} }, testClock())
      return (address) => trail.write(refusal(address))
    },
  ],
]

const refusal = (address: string): AuditEvent => ({
  event: 'request',
  requestId: 'request-1',
  address,
  principal: undefined,
  credentialId: undefined,
  trace: undefined,
  httpMethod: 'POST',
  path: '/mcp',
  method: undefined,
  status: 401,
  reason: 'authenticate.missing',
  durationMs: 1,
})

describe('threat: a flood from ever new addresses, tables of addresses grow until the process ends', () => {
  it.each(TABLES)(`${ADDRESSES} more addresses take no more memory: %s`, async (_name, begin) => {
    const meet = begin()
    for (let index = 0; index < ADDRESSES; index++) await meet(addressOf(index))
    const before = heapMebibytes()
    for (let index = 0; index < ADDRESSES; index++) await meet(addressOf(ADDRESSES + index))
    const grown = heapMebibytes() - before
    await meet(addressOf(0))
    expect(grown).toBeLessThan(5)
  })
})
