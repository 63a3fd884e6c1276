import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, describe, expect, it } from 'vitest'
import { temporaryFolder } from '../audit/pipe.ts'
import { stopServers } from '../server.ts'
import {
  effectsIn,
  FAULT_TIMEOUT_MS,
  missing,
  startLoad,
  startMarking,
  trailIn,
  verdictOn,
} from './load.ts'

afterEach(stopServers)

describe('threat: kill -9 under load, what the tools have done is not on record', {
  timeout: FAULT_TIMEOUT_MS,
}, () => {
  it('leaves a decision for each effect and each answer, and chains that name each other', async () => {
    using folder = temporaryFolder()
    const log = join(folder.path, 'audit.jsonl')
    const effects = join(folder.path, 'effects')
    const answered: number[] = []
    const rounds = [50, 130, 210, 290]
    for (const afterMs of rounds) {
      const server = await startMarking({ env: { MCP_AUDIT_FILE: log } })
      const load = startLoad(server, effects)
      await load.next()
      await sleep(afterMs)
      await server.stop('SIGKILL')
      await load.stop()
      answered.push(...load.answers.filter(({ ok }) => ok).map(({ call }) => call))
      expect(load.unanswered.length).toBeGreaterThan(0)
    }
    const bytes = readFileSync(log)
    const trail = trailIn(bytes.toString())
    expect(answered.length).toBeGreaterThan(rounds.length)
    expect(missing(answered, effectsIn(effects))).toEqual([])
    expect(missing(effectsIn(effects), trail.allowed)).toEqual([])
    expect(missing(trail.ended, trail.allowed)).toEqual([])

    const server = await startMarking({ env: { MCP_AUDIT_FILE: log } })
    expect(await server.stop()).toBe(0)
    const { damage, writers } = verdictOn(readFileSync(log))
    expect(damage).toBeUndefined()
    expect(writers.map(({ stopped }) => stopped)).toEqual([...rounds.map(() => false), true])
  })
})
