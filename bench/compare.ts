import { join } from 'node:path'
import { type Entry, enter, inTurn, type Length } from './bouts.ts'
import type { Contestant } from './contestants.ts'
import type { Figures, Row } from './results.ts'
import type { ServerProcess } from './server-process.ts'

export interface Bench extends Length {
  /** For everything that is made on disk. */
  readonly folder: string
  readonly pinned: boolean
  /** Those that can run here. */
  readonly contestants: readonly Contestant[]
}

/** Starts servers, measures them in turn, and stops them. */
export function compare(
  { folder, pinned, ...length }: Bench,
  number: number,
  contestants: readonly Contestant[],
  measure: (entry: Entry, seconds: number) => Promise<Figures>,
): Promise<readonly Row[]> {
  return withServers(async (started) => {
    const entries: Entry[] = []
    for (const { id, label, eras, prepare } of contestants) {
      const own = join(folder, `${measured++}-${id}`)
      const server = await prepare({ folder: own, tools: number, pinned })().catch(named(id))
      started.push(server)
      for (const era of eras) {
        entries.push(await enter({ id, label, era }, server).catch(named(id)))
      }
    }
    return inTurn(entries, length, measure)
  })
}

let measured = 0

function named(id: string): (cause: unknown) => never {
  return (cause) => {
    throw new Error(`${id} does not serve`, { cause })
  }
}

/** Stops what was started, whatever happens. */
export async function withServers<T>(run: (started: ServerProcess[]) => Promise<T>): Promise<T> {
  const started: ServerProcess[] = []
  try {
    return await run(started)
  } finally {
    await Promise.all(started.map((server) => server.stop()))
  }
}
