import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { temporaryFolder } from '../audit/pipe.ts'
import { stopServers } from '../server.ts'
import { effectsIn, startLoad, startMarking, trailIn, verdictOn } from './load.ts'

afterEach(stopServers)

/** The requirement is 100,000; a test run counts fewer. */
const CALLS = Number(process.env['AUDIT_CALLS'] ?? 20_000)

describe('threat: a stop under load, calls that were accepted are not on record', () => {
  it(`has one decision, one end and one request for each of ${CALLS} calls`, {
    timeout: 60_000 + CALLS * 3,
  }, async () => {
    using folder = temporaryFolder()
    const log = join(folder.path, 'audit.jsonl')
    const effects = join(folder.path, 'effects')
    const server = await startMarking({ env: { MCP_AUDIT_FILE: log } })
    const load = startLoad(server, effects)
    await load.reaches(CALLS)
    expect(await server.stop()).toBe(0)
    await load.stop()

    const bytes = readFileSync(log)
    const { damage, writers } = verdictOn(bytes)
    expect([damage, writers.map(({ stopped }) => stopped)]).toEqual([undefined, [true]])
    const trail = trailIn(bytes.toString())
    const done = load.answers.filter(({ ok }) => ok).map(({ call }) => call)
    expect(done.length).toBeGreaterThanOrEqual(CALLS)
    expect(difference(trail.allowed, done)).toEqual([])
    expect(difference(trail.ended, done)).toEqual([])
    expect(difference(effectsIn(effects), done)).toEqual([])
    const answers = load.answers.map(({ requestId }) => requestId)
    expect(difference(trail.requests, answers)).toEqual([])
    expect([trail.dropped, trail.counted]).toEqual([0, 0])
  })
})

/** What is in one of two lists only, or more often in one. */
function difference<T>(a: readonly T[], b: readonly T[]): readonly T[] {
  const counts = new Map<T, number>()
  for (const one of a) counts.set(one, (counts.get(one) ?? 0) + 1)
  for (const one of b) counts.set(one, (counts.get(one) ?? 0) - 1)
  return [...counts].filter(([, count]) => count !== 0).map(([one]) => one)
}
