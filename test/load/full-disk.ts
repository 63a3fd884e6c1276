import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { temporaryFolder } from '../audit/pipe.ts'
import {
  effectsIn,
  missing,
  startLoad,
  startMarking,
  trailIn,
  verdictOn,
} from '../audit-faults/load.ts'
import { canMakeSmallDisk, smallDisk } from '../audit-faults/small-disk.ts'
import { stopServers } from '../server.ts'
import { none, type Scenario, some } from './scenario.ts'

const SIZES = { whole: { rounds: 10, calls: 1000 }, smoke: { rounds: 1, calls: 200 } } as const

/** Space for about a hundred calls. */
const ROOM_BYTES = 393_216

/** The disk of the audit trail fills up and is freed again, under load, policy `refuse`. */
export const fullDisk: Scenario = {
  name: 'full-disk',
  about: 'the disk of the audit trail is full',
  missing: () => (canMakeSmallDisk ? undefined : 'a tmpfs in a user namespace (unshare -rm)'),
  async run(size) {
    const { rounds, calls } = SIZES[size]
    await using disk = await smallDisk()
    using folder = temporaryFolder()
    const log = join(disk.path, 'audit.jsonl')
    const effects = join(folder.path, 'effects')
    const server = await startMarking({ env: { MCP_AUDIT_FILE: log } })
    const load = startLoad(server, effects)
    let refused = 0
    for (let round = 0; round < rounds; round += 1) {
      await load.reaches(load.answers.length + calls / 10)
      disk.fill(ROOM_BYTES)
      await load.next(503)
      await load.reaches(load.answers.length + calls)
      refused = load.answers.filter(({ status }) => status === 503).length
      disk.free()
      await load.next(200)
    }
    await load.stop()
    const exitCode = await server.stop()
    const bytes = readFileSync(log)
    const trail = trailIn(bytes.toString())
    const done = effectsIn(effects)
    await stopServers()
    return [
      some('calls refused while it was full', refused, calls / 2),
      some('calls with an effect', done.length, rounds),
      none('effects without a decision on record', missing(done, trail.allowed).length),
      none('decisions without an outcome', missing(trail.allowed, trail.ended).length),
      none('calls without an answer', load.unanswered.length),
      none('damage of the chain', verdictOn(bytes).damage === undefined ? 0 : 1),
      none('exit code', exitCode ?? 1),
    ]
  },
}
