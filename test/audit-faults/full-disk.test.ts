import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, expect, it } from 'vitest'
import { LANE_LINES } from '../../src/audit/sink.ts'
import { temporaryFolder } from '../audit/pipe.ts'
import { type Server, stopServers } from '../server.ts'
import { effectsIn, missing, startLoad, startMarking, trailIn, verdictOn } from './load.ts'
import { describeSmallDisk, smallDisk } from './small-disk.ts'

afterEach(stopServers)

/** Space for about a hundred calls. */
const ROOM_BYTES = 393_216
const told = (server: Server, text: string): number => server.stderr().split(text).length - 1
const readiness = async ({ adminUrl }: Server): Promise<number> =>
  (await fetch(`${adminUrl}/readyz`)).status

describeSmallDisk('threat: the disk of the trail is full, tools run and nobody can tell', () => {
  it('refuses every call while policy says refuse, and recovers by itself', async () => {
    await using disk = await smallDisk()
    using folder = temporaryFolder()
    const log = join(disk.path, 'audit.jsonl')
    const effects = join(folder.path, 'effects')
    const server = await startMarking({ env: { MCP_AUDIT_FILE: log } })
    disk.fill(ROOM_BYTES)
    const load = startLoad(server, effects)

    expect(await load.next(503)).toMatchObject({ ok: false, retryAfter: '5' })
    expect(await readiness(server)).toBe(503)
    await load.reaches(load.answers.length + 100) // What was let through before has ended by now.
    const before = effectsIn(effects)
    expect(missing(before, trailIn(readFileSync(log, 'utf8')).allowed)).toEqual([])
    expect(before.length).toBeGreaterThan(50)
    await load.reaches(load.answers.length + 500)
    expect(effectsIn(effects)).toEqual(before)
    expect(told(server, '"reason":"no-space","msg":"The audit trail cannot be written"')).toBe(1)

    disk.free()
    await load.next(200)
    expect(await readiness(server)).toBe(200)
    await load.stop()
    expect(await server.stop()).toBe(0)
    expect(told(server, 'The audit trail is written again')).toBe(1)

    const bytes = readFileSync(log)
    expect(verdictOn(bytes).damage).toBeUndefined()
    const trail = trailIn(bytes.toString())
    const ok = load.answers.filter((answer) => answer.ok).map(({ call }) => call)
    expect(effectsIn(effects).toSorted()).toEqual(ok.toSorted())
    expect(missing(ok, trail.allowed)).toEqual([])
    expect(trail.ended.toSorted()).toEqual(trail.allowed.toSorted())
    const ids = load.answers.map(({ requestId }) => requestId)
    expect(missing(trail.requests, ids)).toEqual([])
    expect(trail.requests.length + trail.counted).toBe(ids.length)
    expect(trail.dropped).toBe(0)
  })

  it('serves on while policy says continue, and counts what is lost in the next record', async () => {
    await using disk = await smallDisk()
    using folder = temporaryFolder()
    const log = join(disk.path, 'audit.jsonl')
    const effects = join(folder.path, 'effects')
    const server = await startMarking({ env: { MCP_AUDIT_FILE: log } }, [
      'audit.yaml',
      'onSinkFailure: refuse',
      'onSinkFailure: continue',
    ])
    disk.fill(ROOM_BYTES)
    const load = startLoad(server, effects)
    await load.reaches(LANE_LINES)
    await load.stop()
    expect(new Set(load.answers.map(({ status }) => status))).toEqual(new Set([200]))
    expect(await readiness(server)).toBe(200)
    expect(effectsIn(effects)).toHaveLength(load.answers.length)
    expect(told(server, '"reason":"no-space","msg":"The audit trail cannot be written"')).toBe(1)

    disk.free()
    const again = (): number => told(server, 'The audit trail is written again')
    await expect.poll(again, { timeout: 10_000 }).toBe(1)
    expect(await server.stop()).toBe(0)
    const bytes = readFileSync(log)
    expect(verdictOn(bytes).damage).toBeUndefined()
    const { allowed, ended, requests, dropped } = trailIn(bytes.toString())
    expect(dropped).toBeGreaterThan(LANE_LINES / 2)
    expect(allowed.length + ended.length + requests.length + dropped).toBe(3 * load.answers.length)
  })

  it.each(['refuse', 'continue'])('does not end as if nothing had happened: %s', async (answer) => {
    await using disk = await smallDisk()
    using folder = temporaryFolder()
    const log = join(disk.path, 'audit.jsonl')
    const effects = join(folder.path, 'effects')
    const server = await startMarking({ env: { MCP_AUDIT_FILE: log } }, [
      'audit.yaml',
      'onSinkFailure: refuse',
      `onSinkFailure: ${answer}`,
    ])
    disk.fill(ROOM_BYTES)
    const load = startLoad(server, effects)
    const isFull = (): boolean => told(server, 'The audit trail cannot be written') === 1
    await expect.poll(isFull, { timeout: 30_000 }).toBe(true)
    await load.next()
    expect(await server.stop()).toBe(1)
    await load.stop()

    const [, lost = ''] =
      /"level":"fatal",.*"count":(\d+),"msg":"Audit records are lost: .*"/.exec(server.stderr()) ??
      []
    const { allowed, ended, requests } = trailIn(readFileSync(log, 'utf8'))
    const answered = load.answers.filter(({ requestId }) => !requests.includes(requestId))
    expect(Number(lost)).toBeGreaterThanOrEqual(answered.length + allowed.length - ended.length + 1)
  })

  it('leaves half a line when it is killed then, which the next chain names', async () => {
    await using disk = await smallDisk()
    using folder = temporaryFolder()
    const log = join(disk.path, 'audit.jsonl')
    const effects = join(folder.path, 'effects')
    const env = { MCP_AUDIT_FILE: log }
    const server = await startMarking({ env })
    disk.fill(ROOM_BYTES)
    const load = startLoad(server, effects)
    await load.next(503)
    await server.stop('SIGKILL')
    await load.stop()
    expect(readFileSync(log).at(-1)).not.toBe('\n'.charCodeAt(0))

    disk.free()
    const next = await startMarking({ env })
    expect(await next.stop()).toBe(0)
    const bytes = readFileSync(log)
    expect(verdictOn(bytes).damage).toBeUndefined()
    const lines = bytes
      .toString()
      .split('\n')
      .filter((line) => line !== '')
    expect(lines.filter((line) => !line.endsWith('}}}'))).toHaveLength(1)
  })
})
