import { join } from 'node:path'
import { type Entry, enter } from '../../bench/bouts.ts'
import { START_FLAGS, startFork } from '../../bench/contestants.ts'
import { makeFork } from '../../bench/fork.ts'
import { load } from '../../bench/load.ts'
import { pinLoad, startServer } from '../../bench/server-process.ts'
import { call } from '../../bench/work.ts'
import { temporaryFolder } from '../audit/pipe.ts'
import { quantile, type Scenario, some } from './scenario.ts'
import { missingProc } from './target.ts'

const SIZES = {
  whole: { rounds: 10, seconds: 2, warmUps: 4 },
  smoke: { rounds: 1, seconds: 0.3, warmUps: 1 },
} as const

/**
 * The server beside its own handler without any control, limit, credential or record, in turn; and
 * beside the SDK with ten tools, as bench/ has it, for what a server without security usually is.
 */
export const cost: Scenario = {
  name: 'cost',
  about: 'CPU of the same handler with and without security',
  missing: missingProc,
  async run(size) {
    const { rounds, seconds, warmUps } = SIZES[size]
    using folder = temporaryFolder()
    const pinned = pinLoad()
    const { guarded, bare, sdk } = await start(folder.path, pinned)
    const cpuMs = async ({ server, clients }: Entry): Promise<number> => {
      const before = server.cpuMs()
      const { requests } = await load(clients, call, seconds)
      calls += requests
      return (server.cpuMs() - before) / requests
    }
    let calls = 0
    for (let warmUp = 0; warmUp < warmUps; warmUp += 1) {
      await cpuMs(guarded)
      await cpuMs(bare)
      await cpuMs(sdk)
    }
    const ofSdk: number[] = []
    const withIt: number[] = []
    const without: number[] = []
    for (let round = 0; round < rounds; round += 1) {
      withIt.push(await cpuMs(guarded))
      without.push(await cpuMs(bare))
      ofSdk.push(await cpuMs(sdk))
    }
    await Promise.all([guarded, bare, sdk].map(({ server }) => server.stop()))
    const ratios = withIt.map((ms, round) => ms / (without[round] ?? Number.NaN))
    return [
      some('calls', calls, 2),
      { what: 'CPU of a call with security', measured: quantile(withIt, 0.5), unit: 'ms' },
      { what: 'CPU of a call without', measured: quantile(without, 0.5), unit: 'ms' },
      { what: 'CPU of a call of the SDK alone', measured: quantile(ofSdk, 0.5), unit: 'ms' },
      {
        what: 'with / without',
        measured: quantile(ratios, 0.5),
        unit: '',
        target: { atMost: 1.35 },
      },
    ]
  },
}

async function start(
  folder: string,
  pinned: boolean,
): Promise<Readonly<Record<'guarded' | 'bare' | 'sdk', Entry>>> {
  const cwd = join(folder, 'fork')
  const env = { PATH: process.env['PATH'], NODE_ENV: 'development', BENCH_TOOLS: '10' }
  const guarded = await startFork(cwd, makeFork(cwd, 10), pinned)
  const root = join(import.meta.dirname, '../..')
  const bare = await startServer('test/load/bare-server.ts', {
    cwd: root,
    env,
    pinned,
    flags: START_FLAGS,
  })
  const hoisted = { ...env, NODE_ENV: 'production', BENCH_SCHEMAS: 'hoisted' }
  const sdk = await startServer('bench/servers/sdk.ts', { cwd: root, env: hoisted, pinned })
  const named = (id: string): Pick<Entry, 'id' | 'label' | 'era'> => ({
    id,
    label: id,
    era: '2026',
  })
  return {
    guarded: await enter(named('guarded'), guarded),
    bare: await enter(named('bare'), bare),
    sdk: await enter(named('sdk'), sdk),
  }
}
