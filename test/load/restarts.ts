import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { temporaryFolder } from '../audit/pipe.ts'
import { misbehavingAccess } from '../misbehaving-tools.ts'
import { type AuditRecord, type Server, stopServers } from '../server.ts'
import { type Callers, startCallers } from './callers.ts'
import { isWhole, type OpenStream, openStreams } from './open-streams.ts'
import { none, type Scenario, some } from './scenario.ts'
import { startRoomy } from './target.ts'

const SIZES = { whole: { rounds: 200 }, smoke: { rounds: 3 } } as const
const STREAMS = 20
const CALLS_FIRST = 40
/** The drain ends before the slow calls have: each is then told to come back. */
const DRAIN_SECONDS = 2
const documents = Array.from({ length: 8 }, (_, index) => ({ name: `${index}`, text: 'a' }))

/** A deploy: a process is started, used, and ended by SIGTERM while it is busy, again and again. */
export const restarts: Scenario = {
  name: 'restarts',
  about: 'restarts under load',
  async run(size) {
    const { rounds } = SIZES[size]
    const total = {
      decisions: 0,
      answered: 0,
      withoutOutcome: 0,
      withoutAnswer: 0,
      streams: 0,
      badExits: 0,
      badEnds: 0,
    }
    for (let round = 0; round < rounds; round += 1) {
      using folder = temporaryFolder()
      const log = join(folder.path, 'audit.jsonl')
      const server = await startRoomy({
        entry: 'test/misbehaving-server.ts',
        env: { MCP_AUDIT_FILE: log, MCP_DRAIN_SECONDS: String(DRAIN_SECONDS) },
        policies: [misbehavingAccess],
      })
      const { callers, streams } = await keepBusy(server)
      // Everything else has its answer or is on its way; calls come on until the port is closed.
      if ((await server.stop('SIGTERM')) !== 0) total.badExits += 1
      await Promise.all(callers.map((some) => some.stop()))
      const texts = await Promise.all(streams.map(({ closed }) => closed))

      const records: AuditRecord[] = readFileSync(log, 'utf8')
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line))
      const decided = idsOf(records, 'decision')
      const ended = new Set(idsOf(records, 'outcome'))
      const answered = new Set(callers.flatMap((some) => some.answered))
      total.decisions += decided.length
      total.answered += decided.filter((id) => answered.has(id)).length
      total.withoutOutcome += decided.filter((id) => !ended.has(id)).length
      total.withoutAnswer += decided.filter((id) => !answered.has(id)).length
      total.streams += texts.filter(isWhole).length
      if (records.at(-2)?.metadata.event_code !== 'server.stop') total.badEnds += 1
      await stopServers()
    }
    return [
      some('calls accepted', total.decisions, rounds * CALLS_FIRST),
      none('of them without an outcome on record', total.withoutOutcome),
      none('of them without an answer', total.withoutAnswer),
      some('streams that ended with their final frame', total.streams, rounds * STREAMS),
      none('exit codes other than 0', total.badExits),
      none('trails that do not end with server.stop', total.badEnds),
    ]
  },
}

/** Quick calls, calls that stream, calls that outlive the drain, and streams. */
async function keepBusy(
  server: Server,
): Promise<{ readonly callers: readonly Callers[]; readonly streams: readonly OpenStream[] }> {
  const streams = await openStreams(server, STREAMS)
  const callers = [
    startCallers(server, { count: 8, pauseMs: 1 }),
    startCallers(server, {
      count: 4,
      call: { name: 'process_documents', args: { documents } },
      pauseMs: 1,
    }),
    startCallers(server, { count: 4, call: { name: 'deaf', args: { seconds: 30 } } }),
  ]
  await callers[0]?.reaches(CALLS_FIRST)
  await callers[1]?.reaches(4)
  return { callers, streams }
}

function idsOf(records: readonly AuditRecord[], event: string): string[] {
  return records
    .filter(({ metadata }) => metadata.event_code === event)
    .map(({ metadata }) => metadata.correlation_uid)
}
