import { type ChainLine, membersOf, parse, predecessorMember } from './chain-line.ts'
import type { Damage, DamageKind, Place } from './damage.ts'

/** Something looks wrong. What it is shows in the lines after it. */
export interface Suspicion {
  readonly place: Place
  /**
   * Takes a valid line after it.
   *
   * @param expected the number that its writer should come to next
   * @returns `torn` for half a line that the next chain names; `undefined` when it does not tell
   */
  explain(line: ChainLine, expected: number): Damage | 'torn' | undefined
  /** Takes a line after it that is not valid. */
  pass(): void
  /** No line is left. */
  end(): Damage
}

/**
 * A record came before the one that was expected: was that one deleted, or moved back, or was a copy
 * of a later record put before it?
 */
export function gap(line: ChainLine, expected: number, isFirst: boolean, place: Place): Suspicion {
  const { writer, sequence } = line
  let comesLater = false

  function damage(kind: DamageKind, detail: string): Damage {
    return { kind, place, writer, sequence, detail }
  }

  return {
    place,
    explain(later) {
      if (later.writer !== writer) return undefined
      if (later.sequence === expected) comesLater = true
      if (later.sequence !== sequence) return undefined
      return damage('inserted', `Record ${sequence} is in the log once more.`)
    },
    pass() {
      // Tells nothing about the record that is missing.
    },
    end() {
      if (comesLater) return damage('swapped', `Record ${expected} comes after it.`)
      const last = sequence - 1
      const what = last === expected ? `Record ${last} is` : `Records ${expected} to ${last} are`
      return damage(isFirst ? 'missing start' : 'deleted', `${what} missing before it.`)
    },
  }
}

/**
 * A line that is no record, or whose MAC is wrong: was it a record, or put between two?
 *
 * @param raw the line with its line feed
 * @param claim what it says of itself, when it can be read
 * @param expected the number that its writer should come to next
 */
export function brokenLine(raw: Buffer, place: Place, claim?: ChainLine, expected = 0): Suspicion {
  const kind = claim === undefined ? kindOf(raw) : 'edited'
  const claimed = claim === undefined ? {} : { writer: claim.writer, sequence: claim.sequence }
  const heard = new Set<string>()
  let isNext = true

  function damage(wrong: DamageKind, detail: string, record: object = claimed): Damage {
    return { kind: wrong, place, ...record, detail }
  }

  return {
    place,
    explain(line, next) {
      if (isNext && claim === undefined && tornBytes(line) === raw.length - 1) return 'torn'
      isNext = false
      const { writer, sequence } = line
      if (heard.has(writer)) return undefined
      heard.add(writer) // Its next lines count from this one.
      if (sequence > next) {
        const record = { writer, sequence: next }
        return damage(kind === 'not a record' ? 'edited' : kind, WORDS[kind], record)
      }
      if (claim?.writer !== writer) return undefined
      return damage('inserted', 'The records before and after it follow each other.')
    },
    pass() {
      isNext = false
    },
    end() {
      const isExtra = claim !== undefined && claim.sequence !== expected
      return damage(isExtra ? 'inserted' : kind, WORDS[kind])
    },
  }
}

type Broken = 'edited' | 'torn line' | 'not JSON' | 'not a record'

const WORDS: Readonly<Record<Broken, string>> = {
  edited: 'Its MAC is not that of its bytes.',
  'torn line': 'The end of the line is missing: it was cut, or the process was killed in it.',
  'not JSON': 'The line is not JSON.',
  'not a record': 'The line is not a record as the server writes it.',
}

function kindOf(raw: Buffer): Broken {
  const text = raw.toString()
  if (membersOf(parse(text)) !== undefined) return 'not a record'
  return !text.endsWith('\n') || text.startsWith('{"metadata":{"uid":"') ? 'torn line' : 'not JSON'
}

function tornBytes({ sequence, unmapped }: ChainLine): number | undefined {
  if (sequence !== 1) return undefined
  return predecessorMember.safeParse(unmapped.get('predecessor')).data?.torn_bytes
}
