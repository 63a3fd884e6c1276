import { execFileSync } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { stopServers } from '../server.ts'
import { isWhole, openStreams } from './open-streams.ts'
import { type Figure, none, type Scenario, some } from './scenario.ts'
import { missingProc, rssOf, startRoomy } from './target.ts'

const SIZES = {
  whole: { stages: [1000, 5000], settleSeconds: 10 },
  smoke: { stages: [200], settleSeconds: 0 },
} as const
/** Per stream, at so many. At fewer, what belongs to no stream weighs more. */
const TARGETS_KIB: ReadonlyMap<number, number> = new Map([
  [1000, 45],
  [5000, 35],
])
/** Descriptors besides those of streams. */
const OTHERS = 200

/** Idle `subscriptions/listen` streams, and what each of them costs. */
export const streams: Scenario = {
  name: 'streams',
  about: 'idle subscriptions/listen streams',
  missing(size) {
    const needed = Math.max(...SIZES[size].stages) + OTHERS
    // Node raises its own limit to the hard one.
    const limit = execFileSync('sh', ['-c', 'ulimit -Hn'], { encoding: 'utf8' }).trim()
    const enough = limit === 'unlimited' || Number(limit) >= needed
    return enough ? missingProc() : `${needed} descriptors (ulimit -Hn says ${limit})`
  },
  async run(size) {
    const { stages, settleSeconds } = SIZES[size]
    const server = await startRoomy()
    // Code and buffers that all of them share are there after the first ones.
    for (let call = 0; call < 200; call += 1) {
      await (await server.call('echo', { text: 'x' }, 'modern')).text()
    }
    for (const { socket } of await openStreams(server, 50)) socket.destroy()
    await sleep(settleSeconds * 100)
    const before = rssOf(server)
    const open = []
    const figures: Figure[] = []
    for (const stage of stages) {
      open.push(...(await openStreams(server, stage - open.length)))
      await sleep(settleSeconds * 1000)
      const atMost = TARGETS_KIB.get(stage)
      figures.push({
        what: `RSS of each of ${stage}`,
        measured: (rssOf(server) - before) / stage / 1024,
        unit: 'KiB',
        ...(atMost !== undefined && { target: { atMost } }),
      })
    }
    const answer = await server.call('echo', { text: 'x' }, 'modern')
    const exitCode = await server.stop()
    const texts = await Promise.all(open.map(({ closed }) => closed))
    await stopServers()
    return [
      ...figures,
      some('streams that ended with their result', texts.filter(isWhole).length, open.length),
      none('calls refused beside them', answer.status === 200 ? 0 : 1),
      none('exit code', exitCode ?? 1),
    ]
  },
}
