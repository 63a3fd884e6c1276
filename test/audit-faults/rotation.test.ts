import { readFileSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { temporaryFolder } from '../audit/pipe.ts'
import { type Server, stopServers } from '../server.ts'
import {
  effectsIn,
  FAULT_TIMEOUT_MS,
  type Load,
  startLoad,
  startMarking,
  trailIn,
  verdictOn,
} from './load.ts'

afterEach(stopServers)

/** A server under load that writes its trail to a file. */
async function setUp(folder: string) {
  const log = join(folder, 'audit.jsonl')
  const effects = join(folder, 'effects')
  const server = await startMarking({ env: { MCP_AUDIT_FILE: log } })
  return { log, server, load: startLoad(server, effects), effects: () => effectsIn(effects) }
}

/** Waits until the server has found out that its file has another name, or none. */
async function found(log: string): Promise<void> {
  await expect.poll(() => sizeOf(log), { timeout: 5000, interval: 20 }).toBeGreaterThan(0)
}

function sizeOf(path: string): number {
  try {
    return readFileSync(path).length
  } catch {
    return 0
  }
}

async function end(server: Server, load: Load): Promise<void> {
  await load.stop()
  expect(await server.stop()).toBe(0)
  expect(new Set(load.answers.map(({ status }) => status))).toEqual(new Set([200]))
  expect(server.stderr()).not.toContain('The audit trail cannot be written')
}

describe('threat: the file of the trail is taken away under load, records go to nowhere', {
  timeout: FAULT_TIMEOUT_MS,
}, () => {
  it('goes on in new files when they are renamed, and loses nothing', async () => {
    using folder = temporaryFolder()
    const { log, server, load, effects } = await setUp(folder.path)
    await load.reaches(100)
    for (const number of [1, 2]) {
      renameSync(log, `${log}.${number}`)
      await found(log)
      await load.reaches(load.answers.length + 100)
    }
    await end(server, load)

    const bytes = Buffer.concat([`${log}.1`, `${log}.2`, log].map((file) => readFileSync(file)))
    expect(verdictOn(bytes).damage).toBeUndefined()
    const trail = trailIn(bytes.toString())
    const calls = load.answers.map(({ call }) => call).toSorted()
    expect(effects().toSorted()).toEqual(calls)
    expect(trail.allowed.toSorted()).toEqual(calls)
    expect(trail.ended.toSorted()).toEqual(calls)
    expect(trail.requests).toHaveLength(calls.length)
  })

  it('goes on in a new file when it is deleted, and the chain shows what is gone', async () => {
    using folder = temporaryFolder()
    const { log, server, load, effects } = await setUp(folder.path)
    await load.reaches(100)
    rmSync(log)
    await found(log)
    await load.reaches(load.answers.length + 100)
    await end(server, load)

    const bytes = readFileSync(log)
    expect(trailIn(bytes.toString()).allowed.length).toBeLessThan(effects().length)
    expect(verdictOn(bytes).damage).toMatchObject({ kind: 'missing start' })
    expect(verdictOn(bytes, { allowMissingStart: true }).damage).toBeUndefined()
  })
})
