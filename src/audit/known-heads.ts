import type { ChainHead } from './chain.ts'
import { type ChainLine, predecessorMember } from './chain-line.ts'
import type { Damage, Place } from './damage.ts'
import type { WriterState } from './writer-state.ts'

/** A record that is known to be in a chain. */
interface KnownHead extends ChainHead {
  /** Where the log itself says so; `undefined` for what the auditor brought. */
  readonly namedAt: Place | undefined
}

/** Records that must be in the log, from the auditor and from the chains that name the one before. */
export interface KnownHeads {
  /** @returns what is wrong when this record is known to be another */
  pass(record: ChainHead, place: Place): Damage | undefined
  /** Learns which record the first one of a writer names as its predecessor. */
  name(
    record: ChainLine,
    place: Place,
    writers: ReadonlyMap<string, WriterState>,
  ): Damage | undefined
  /** @returns the first record that no chain has come to */
  missing(writers: ReadonlyMap<string, WriterState>): Damage | undefined
}

export function knownHeads(options: {
  readonly heads: readonly ChainHead[]
  readonly allowMissingStart: boolean
}): KnownHeads {
  const known = new Map<string, KnownHead[]>()

  function learn(head: KnownHead): void {
    const others = known.get(head.writer)
    if (others === undefined) known.set(head.writer, [head])
    else others.push(head)
  }
  for (const head of options.heads) learn({ ...head, namedAt: undefined })

  function pass({ writer, sequence, mac }: ChainHead, place: Place): Damage | undefined {
    const other = known.get(writer)?.find((head) => head.sequence === sequence && head.mac !== mac)
    if (other === undefined) return undefined
    const source = other.namedAt === undefined ? 'that was given' : 'that the chain after it names'
    const detail = `Its MAC is not the one ${source}.`
    return { kind: 'wrong head', place, writer, sequence, detail }
  }

  return {
    pass,

    name(record, place, writers) {
      const member = record.sequence === 1 ? record.unmapped.get('predecessor') : undefined
      if (member === undefined) return undefined
      const { data } = predecessorMember.safeParse(member)
      if (data === undefined) {
        const { writer, sequence } = record
        const detail = 'What it says of the chain before it cannot be read.'
        return { kind: 'not a record', place, writer, sequence, detail }
      }
      if (!('writer' in data)) return undefined
      const { writer, sequence, mac } = data
      learn({ writer, sequence, mac, namedAt: place })
      // A chain that has gone on since then wrote into the same file at the same time.
      const before = writers.get(writer)
      return before === undefined ? undefined : pass(before, before.place)
    },

    missing(writers) {
      for (const { writer, sequence, namedAt } of [...known.values()].flat()) {
        const state = writers.get(writer)
        const isBrought = namedAt === undefined
        const place = state?.place ?? namedAt
        if (state !== undefined && sequence > state.sequence) {
          const detail = `The chain ends at ${state.sequence}, but record ${sequence} is known.`
          return { kind: 'truncated', place, writer, sequence, detail }
        }
        if (state !== undefined && sequence < state.first.sequence && isBrought) {
          const detail = `The chain begins at ${state.first.sequence}; this record is known.`
          return { kind: 'missing start', place: state.first.place, writer, sequence, detail }
        }
        if (state !== undefined) continue
        if (isBrought) {
          const detail = 'This record is known, but nothing of its chain is in the files.'
          return { kind: 'truncated', place, writer, sequence, detail }
        }
        if (!options.allowMissingStart) {
          const detail = 'The chain here follows this record, which is not in the files.'
          return { kind: 'missing predecessor', place, writer, sequence, detail }
        }
      }
      return undefined
    },
  }
}
