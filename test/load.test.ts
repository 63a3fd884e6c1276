import { afterEach, describe, expect, it } from 'vitest'
import { type Gauge, type Load, type Shortage, watchLoad } from '../src/load.ts'
import { type TestClock, testClock } from './clock.ts'
import { greedyAccess } from './greedy-tools.ts'
import { connect } from './raw-http.ts'
import { callOf, type Server, type ServerOptions, startServer, stopServers } from './server.ts'
import { callWith, filled } from './wire.ts'

/** Between two readings, ms. */
const READING_MS = 2500
/** Readings after which memory is tried again. */
const RETRY = 4

interface Turned {
  readonly load: Load
  readonly clock: TestClock
  readonly reading: { turnMs: number; share: number | undefined }
}

/** A gauge that a test turns. */
function turned(): Turned {
  const clock = testClock()
  const reading: Turned['reading'] = { turnMs: 20, share: 0.1 }
  const gauge: Gauge = { turnMs: () => reading.turnMs, memoryShare: () => reading.share }
  return { load: watchLoad(clock, gauge), clock, reading }
}

/** What is said after each of these readings. */
function said<What extends 'turnMs' | 'share'>(
  what: What,
  values: readonly Turned['reading'][What][],
): (Shortage | undefined)[] {
  const { load, clock, reading } = turned()
  return values.map((value) => {
    reading[what] = value
    clock.advance(READING_MS)
    return load.shortage()
  })
}

const [LOOP, MEMORY] = ['event-loop', 'memory'] as const
const OK = undefined

describe('threat: more work than the process can do, every call fails', () => {
  it.each([
    ['at the threshold', [500, 500, 500], [OK, LOOP, LOOP]],
    ['below it', [499, 499, 499], [OK, OK, OK]],
    ['once, as after a pause of the machine', [60_000, 20, 60_000, 20], [OK, OK, OK, OK]],
    ['between the thresholds, on the way up', [400, 400, 400], [OK, OK, OK]],
    ['between them, on the way down', [600, 600, 250, 250], [OK, LOOP, LOOP, LOOP]],
    ['below the lower one', [600, 600, 249, 249], [OK, LOOP, LOOP, OK]],
    ['below the lower one once', [600, 600, 20, 600, 20], [OK, LOOP, LOOP, LOOP, LOOP]],
    ['again', [600, 600, 20, 20, 600, 600], [OK, LOOP, LOOP, OK, OK, LOOP]],
  ])('says so when turns of the loop are long: %s', (_name, values, expected) => {
    expect(said('turnMs', values)).toEqual(expected)
  })

  it.each([
    ['at the threshold', [0.9, 0.9, 0.9], [OK, MEMORY, MEMORY]],
    ['below it', [0.89, 0.89, 0.89], [OK, OK, OK]],
    ['once', [0.95, 0.5, 0.95, 0.5], [OK, OK, OK, OK]],
    ['between the thresholds, on the way down', [0.9, 0.9, 0.8, 0.8], [OK, MEMORY, MEMORY, MEMORY]],
    ['below the lower one', [0.9, 0.9, 0.79, 0.79], [OK, MEMORY, MEMORY, OK]],
    ['unknown', [undefined, undefined, undefined], [OK, OK, OK]],
  ])('says so when memory is nearly used up: %s', (_name, values, expected) => {
    expect(said('share', values)).toEqual(expected)
  })
})

describe('threat: garbage passes for memory in use, a process that nobody asks stays unready', () => {
  it('lets requests in again after ten seconds, and refuses when they show that it is short', () => {
    const round = [MEMORY, MEMORY, MEMORY, MEMORY, OK, OK]
    const values = Array.from({ length: 2 * round.length + 1 }, () => 0.95)
    expect(said('share', values)).toEqual([OK, ...round, ...round])
    expect(round.indexOf(OK)).toBe(RETRY)
  })
})

describe('contract: what the probes and callers of a running server learn', {
  timeout: 120_000,
}, () => {
  afterEach(stopServers)
  const PATIENCE = { timeout: 50_000, interval: 200 }
  const readiness = async ({ adminUrl }: Server): Promise<unknown> => {
    const response = await fetch(`${adminUrl}/readyz`)
    const { load } = Object(await response.json())
    return [response.status, load]
  }

  it.each<[Shortage, ServerOptions, string, object]>([
    // 40 % over the threshold, so that a turn in which nothing else runs is one as well.
    ['event-loop', {}, 'blocking', { seconds: 600, ms: 700 }],
    // What the server needs for itself is well below a tenth of this heap.
    [
      'memory',
      { env: { NODE_OPTIONS: '--max-old-space-size=600 --max-semi-space-size=1' } },
      'hoarding',
      { seconds: 600, mebibytes: 530 },
    ],
  ])(
    'refuses for %s while a call takes it, and serves again',
    async (lacking, options, tool, args) => {
      const server = await startServer({
        ...options,
        entry: 'test/greedy-server.ts',
        policies: [greedyAccess],
      })
      const echo = (): Promise<Response> => server.call('echo', { text: 'x' })
      expect((await echo()).status).toBe(200)
      expect(await readiness(server)).toEqual([200, 'ok'])

      using greedy = connect(server)
      greedy.write(filled(callWith(callOf(tool, args)), server))
      await expect.poll(() => readiness(server), PATIENCE).toEqual([503, 'overloaded'])
      await expect.poll(async () => (await echo()).status, PATIENCE).toBe(503)
      expect((await fetch(`${server.adminUrl}/livez`)).status).toBe(200)
      const refused = await server.recorded(({ status_code }) => status_code === '503')
      expect(refused.status_detail).toBe(`overload.${lacking}`)
      const metrics = await (await fetch(`${server.adminUrl}/metrics`)).text()
      expect(metrics).toMatch(
        new RegExp(`^gatehouse_refusals_total\\{reason="overload.${lacking}"\\} [1-9]`, 'm'),
      )

      greedy.socket.destroy()
      await expect.poll(async () => (await echo()).status, PATIENCE).toBe(200)
      await expect.poll(() => readiness(server), PATIENCE).toEqual([200, 'ok'])
      expect(await server.stop()).toBe(0)
    },
  )
})
