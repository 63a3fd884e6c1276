import { join } from 'node:path'
import { cost, type Entry, enter, inTurn } from './bouts.ts'
import { openClient } from './client.ts'
import { type Bench, compare, withServers } from './compare.ts'
import { type Contestant, startFork } from './contestants.ts'
import { controlsOf, makeFork, silence, withCallers, without } from './fork.ts'
import { type Figures, quantile, type Row } from './results.ts'
import type { ServerProcess } from './server-process.ts'
import { call, count, hold, list } from './work.ts'

/** Requests a second and CPU time of a call, with ten tools. */
export function calls(bench: Bench): Promise<readonly Row[]> {
  return compare(bench, 10, bench.contestants, cost(call))
}

/** Callers of what takes some servers long, so that a slice does not become longer than it should. */
const FEW = 4

/** The same of a list of fifty tools. */
export function lists(bench: Bench): Promise<readonly Row[]> {
  return compare(fewer(bench), 50, bench.contestants.filter(speaks), cost(list(50), FEW))
}

const STEPS = 50
const FIRSTS = 9

/** Time until the first progress of a call arrives, progress events a second, CPU time of each. */
export function progress(bench: Bench): Promise<readonly Row[]> {
  const measure = cost(count(STEPS), FEW)
  return compare(fewer(bench), 10, bench.contestants.filter(tells), async (entry, seconds) => {
    const [client] = entry.clients
    const times: number[] = []
    for (let index = 0; client !== undefined && index < FIRSTS; index += 1) {
      times.push(await untilProgress((onBody) => count(1)(client, onBody)))
    }
    const { perSecond = 0, cpuMs = 0, busy = 0 } = await measure(entry, seconds)
    return {
      firstMs: quantile(times, 0.5),
      perSecond: perSecond * STEPS,
      cpuMs: cpuMs / STEPS,
      busy,
    }
  })
}

async function untilProgress(
  work: (onBody: (piece: string) => void) => Promise<void>,
): Promise<number> {
  const start = performance.now()
  let first = Number.NaN
  await work((piece) => {
    if (Number.isNaN(first) && piece.includes('notifications/progress')) {
      first = performance.now() - start
    }
  })
  return first
}

const STREAMS = 200

/** From the start of the process to its first right answer, and what streams that stay open take. */
export async function start(bench: Bench): Promise<readonly Row[]> {
  const rows: (Omit<Row, 'rounds'> & {
    readonly rounds: Figures[]
    readonly once: () => Promise<Figures>
  })[] = []
  for (const contestant of bench.contestants) {
    const { id, label, eras, knows } = contestant
    for (const era of eras) {
      const folder = join(bench.folder, `start-${id}-${era}`)
      const begin = contestant.prepare({ folder, tools: 10, pinned: bench.pinned })
      const once = (): Promise<Figures> => life(begin, { id, label, era }, knows === undefined)
      rows.push({ id, label, era, rounds: [], once })
    }
  }
  for (let round = 0; round < Math.ceil(bench.rounds / 10); round += 1) {
    for (const row of rows) row.rounds.push(await row.once())
  }
  return rows.map(({ once: _once, ...row }) => row)
}

/** One life of a server: the start, one call on each of 16 connections, 200 streams, the end. */
async function life(
  begin: () => Promise<ServerProcess>,
  named: Pick<Entry, 'id' | 'label' | 'era'>,
  streams: boolean,
): Promise<Figures> {
  const before = performance.now()
  const server = await begin()
  try {
    const keys = server.key === undefined ? [] : [server.key]
    const target = { port: server.port, keys, era: named.era }
    const first = await openClient(target)
    await call(first)
    const startMs = performance.now() - before
    const { cpuMs: startCpuMs } = await server.usage('cpu')
    const idle = await server.usage('memory')
    const figures = { startMs, startCpuMs, idleMiB: idle.rss / 1024 ** 2 }
    if (!streams) return figures

    // Once before, so that what is compiled and kept for the first stream is not counted.
    const ahead = await openClient(target)
    await hold(ahead)
    const empty = await server.usage('memory')
    const open = await Promise.all(
      Array.from({ length: STREAMS }, async () => {
        const client = await openClient(target)
        await hold(client)
        return client
      }),
    )
    const full = await server.usage('memory')
    for (const client of [first, ahead, ...open]) client.close()
    return {
      ...figures,
      streamKiB: (full.rss - empty.rss) / STREAMS / 1024,
      streamHeapKiB: (full.heap - empty.heap) / STREAMS / 1024,
    }
  } finally {
    await server.stop()
  }
}

const TOOLS = [3, 10, 50]

/** CPU time of a call by the number of tools that the server has. */
export async function tools(bench: Bench): Promise<readonly Row[]> {
  const some = ['gatehouse', 'sdk-careful', 'sdk-documented', 'fastmcp-stateless']
  const rivals = bench.contestants.filter(({ id }) => some.includes(id))
  const variants = rivals.flatMap((contestant) =>
    TOOLS.map((number) => ({
      ...contestant,
      id: `${contestant.id}-${number}`,
      label: `${contestant.label}, ${number} tools`,
      eras: contestant.eras.slice(0, 1),
      prepare: (place: Parameters<Contestant['prepare']>[0]) =>
        contestant.prepare({ ...place, tools: number }),
    })),
  )
  return compare(fewer(bench), 10, variants, cost(call))
}

/** CPU time of a call by the number of callers that take turns. */
export function callers(bench: Bench): Promise<readonly Row[]> {
  return withServers(async (started) => {
    const entries: Entry[] = []
    for (const number of [1, 100, 1000]) {
      const folder = join(bench.folder, `callers-${number}`)
      const env = makeFork(folder, 10)
      const made = withCallers(folder, number)
      const server = await startFork(folder, { ...env, ...made.env }, bench.pinned)
      started.push(server)
      const label = number === 1 ? '1 caller' : `${number.toLocaleString('en')} callers`
      entries.push(await enter({ id: String(number), label, era: '2026' }, server, made.keys))
    }
    return inTurn(entries, fewer(bench), cost(call))
  })
}

/** CPU time of a call with each control taken out of `app.ts`, and with all that can be. */
export function controls(bench: Bench): Promise<readonly Row[]> {
  return withServers(async (started) => {
    const entries: Entry[] = []
    const needed: Row[] = []
    const fork = (name: string): { folder: string; env: NodeJS.ProcessEnv } => {
      const folder = join(bench.folder, `controls-${name}`)
      return { folder, env: makeFork(folder, 10) }
    }
    const add = async (id: string, label: string, at: ReturnType<typeof fork>): Promise<void> => {
      const server = await startFork(at.folder, at.env, bench.pinned)
      started.push(server)
      entries.push(await enter({ id, label, era: '2026' }, server))
    }

    const whole = fork('whole')
    await add('whole', 'with everything', whole)
    const free: string[] = []
    for (const name of controlsOf(whole.folder)) {
      const label = `without ${name}`
      const at = fork(name)
      without(at.folder, new Set([name]))
      try {
        await add(name, label, at)
        free.push(name)
      } catch {
        needed.push({ id: name, label, era: '2026', rounds: [], why: NEEDED })
      }
    }
    // The same once more: how far two equal servers are apart is what no difference can be told from.
    await add('again', 'the same fork again', fork('again'))
    const silent = fork('records')
    silence(silent.folder)
    await add('records', 'without audit records', silent)
    const none = fork('none')
    without(none.folder, new Set(free))
    silence(none.folder)
    await add('none', 'without any of these', none)
    return [...(await inTurn(entries, fewer(bench), cost(call))), ...needed]
  })
}

const NEEDED = 'cannot be taken out: what follows needs what it leaves'

/** What is not the first question takes half of the rounds. */
function fewer(bench: Bench): Bench {
  return { ...bench, rounds: Math.ceil(bench.rounds / 2) }
}

const speaks = ({ knows }: Contestant): boolean => knows !== 'call'
const tells = ({ knows }: Contestant): boolean => knows === undefined
