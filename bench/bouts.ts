import { type Client, type Era, openClient } from './client.ts'
import { CONNECTIONS, load } from './load.ts'
import type { Figures, Row } from './results.ts'
import type { ServerProcess } from './server-process.ts'
import { call, type Work } from './work.ts'

/** A running server with its callers, ready to be measured in turn with others. */
export interface Entry {
  readonly id: string
  readonly label: string
  readonly era: Era
  readonly server: ServerProcess
  readonly clients: readonly Client[]
}

export interface Length {
  readonly rounds: number
  /** Of one measurement. */
  readonly seconds: number
}

/** Work that is thrown away first, s: the compiler of V8 is busy then. At most 20 measurements. */
const WARM_UP_SECONDS = 3

/** Connects callers to a server. @throws when it does not answer its first call */
export async function enter(
  named: Pick<Entry, 'id' | 'label' | 'era'>,
  server: ServerProcess,
  keys: readonly string[] = server.key === undefined ? [] : [server.key],
): Promise<Entry> {
  const target = { port: server.port, keys, era: named.era }
  const clients = await Promise.all(Array.from({ length: CONNECTIONS }, () => openClient(target)))
  const [first] = clients
  if (first !== undefined) await call(first)
  return { ...named, server, clients }
}

/** Measures all entries in turn, round after round: a change of the machine's speed meets all of them. */
export async function inTurn(
  entries: readonly Entry[],
  { rounds, seconds }: Length,
  measure: (entry: Entry, seconds: number) => Promise<Figures>,
): Promise<readonly Row[]> {
  for (const entry of entries) {
    await measure(entry, Math.min(WARM_UP_SECONDS, seconds * 20))
  }
  const all = entries.map(({ id, label, era }) => ({ id, label, era, rounds: noFigures() }))
  for (let round = 0; round < rounds; round += 1) {
    for (const [index, entry] of entries.entries()) {
      all[index]?.rounds.push(await measure(entry, seconds))
    }
  }
  return all
}

/** Speed and CPU time of one kind of work, done by so many callers at a time. */
export const cost =
  (work: Work, callers = CONNECTIONS) =>
  async ({ id, server, clients }: Entry, seconds: number): Promise<Figures> => {
    const before = await server.usage('cpu')
    const done = await load(clients.slice(0, callers), work, seconds).catch((cause: unknown) => {
      throw new Error(`${id} did not serve its load`, { cause })
    })
    const after = await server.usage('cpu')
    const cpuMs = after.cpuMs - before.cpuMs
    return {
      perSecond: done.requests / done.seconds,
      cpuMs: cpuMs / done.requests,
      busy: cpuMs / (done.seconds * 1000),
    }
  }

function noFigures(): Figures[] {
  return []
}
