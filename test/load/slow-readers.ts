import { setTimeout as sleep } from 'node:timers/promises'
import { greedyAccess } from '../greedy-tools.ts'
import { connect } from '../raw-http.ts'
import { callOf, stopServers } from '../server.ts'
import { callWith, filled } from '../wire.ts'
import { none, type Scenario, some } from './scenario.ts'
import { missingProc, rssOf, startRoomy } from './target.ts'

const SIZES = {
  whole: { clients: 200, seconds: 20 },
  smoke: { clients: 20, seconds: 2 },
} as const
const MIB = 1_048_576
/**
 * As in a container of 384 MiB. What readers hold back is a part of the growth; the rest is garbage of
 * their tool, which V8 collects as late as its heap allows.
 */
const FLAGS = '--max-semi-space-size=16 --max-old-space-size=256'

/**
 * Clients that call a tool which says 1.6 MB a second to each of them, and read nothing. They are not
 * cut yet: `slowReaderMs` is 30 s.
 */
export const slowReadersAttack: Scenario = {
  name: 'slow-readers',
  about: '200 clients that read nothing of what a talkative tool says',
  missing: missingProc,
  async run(size) {
    const { clients, seconds } = SIZES[size]
    const server = await startRoomy({
      entry: 'test/greedy-server.ts',
      env: { NODE_OPTIONS: FLAGS },
      policies: [greedyAccess],
    })
    await (await server.call('echo', { text: 'x' }, 'modern')).text()
    const before = rssOf(server)
    const meta = { progressToken: 'p' }
    const attackers = Array.from({ length: clients }, () => {
      const attacker = connect(server)
      attacker.socket.pause()
      attacker.write(filled(callWith(callOf('flooding', { seconds: 600 }, 1, meta)), server))
      return attacker
    })
    while ((await runningCalls(server)) < clients) await sleep(50)
    let highest = 0
    const until = performance.now() + seconds * 1000
    while (performance.now() < until) {
      await sleep(200)
      highest = Math.max(highest, rssOf(server))
    }
    const running = await runningCalls(server)
    const answer = await server.call('echo', { text: 'x' }, 'modern')
    for (const { socket } of attackers) socket.destroy()
    await stopServers()
    return [
      some('clients that read nothing', running, clients),
      none('calls refused beside them', answer.status === 200 ? 0 : 1),
      {
        what: 'RSS growth',
        measured: (highest - before) / MIB,
        unit: 'MiB',
        target: { atMost: 200 },
      },
    ]
  },
}

async function runningCalls({ adminUrl }: { readonly adminUrl: string }): Promise<number> {
  const metrics = await (await fetch(`${adminUrl}/metrics`)).text()
  return Number(/^gatehouse_calls_running (\d+)$/m.exec(metrics)?.[1])
}
