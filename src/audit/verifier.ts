import { createHmac, type KeyObject } from 'node:crypto'
import type { ChainHead } from './chain.ts'
import { type ChainLine, MAC_LENGTH, readLine } from './chain-line.ts'
import type { Damage, DamageKind, Place } from './damage.ts'
import { knownHeads } from './known-heads.ts'
import { brokenLine, gap, type Suspicion } from './suspicion.ts'
import { advance, newWriter, passCheckpoint, type WriterState } from './writer-state.ts'

export interface VerifierKeys {
  /** By id. Empty: MACs are not checked. */
  readonly macKeys: ReadonlyMap<string, KeyObject>
  /** By id. Empty: signatures are not checked. */
  readonly publicKeys: ReadonlyMap<string, KeyObject>
}

export interface VerifierOptions extends VerifierKeys {
  /** Records that must be in the log. */
  readonly heads: readonly ChainHead[]
  /** The oldest records may be missing: they were deleted when their time was over. */
  readonly allowMissingStart: boolean
}

export interface Verdict {
  /** `undefined` when nothing is wrong. */
  readonly damage: Damage | undefined
  /** Records until then. */
  readonly records: number
  readonly writers: readonly WriterState[]
  /** Lines that a killed process left half written, and that the chain after them names. */
  readonly torn: readonly Place[]
}

export interface Verifier {
  /**
   * Takes the next line with its line feed, which the last line of a file may lack. Lines of several
   * writers may be mixed; those of one come in order. Takes bytes, not text: decoding would hide an
   * edit that turns one invalid byte into another.
   *
   * @returns whether it wants more; `false` once the first damage is known
   */
  add(raw: Buffer, place: Place): boolean
  /** No line is left. */
  finish(): Verdict
}

const LINE_FEED = 0x0a

/**
 * Checks a log from the first record of each of its writers, and stops at the first damage. What looks
 * wrong is a suspicion at first: the lines after it tell what has happened.
 *
 * With MAC keys every line is checked. With public keys alone, the lines up to the newest signed
 * checkpoint are, and each writer must have one.
 *
 * Not checked, because no chain shows it: whether there were records after the last one of a writer, or
 * a whole writer that nobody names. Compare with `heads` from elsewhere.
 */
export function createVerifier(options: VerifierOptions): Verifier {
  const { macKeys, allowMissingStart } = options
  const writers = new Map<string, WriterState>()
  const heads = knownHeads(options)
  const torn: Place[] = []
  let records = 0
  let suspicion: Suspicion | undefined
  let damage: Damage | undefined

  /** Not in constant time: whoever runs this has the key and the log. */
  function hasRightMac(record: ChainLine, line: Buffer): boolean {
    const key = macKeys.get(record.key)
    if (key === undefined) return macKeys.size === 0
    const covered = line.subarray(0, line.length - MAC_LENGTH)
    return createHmac('sha256', key).update(covered).digest('hex') === record.mac
  }

  function nextOf(writer: string): number {
    return (writers.get(writer)?.sequence ?? 0) + 1
  }

  /** Checks a line against what is known, and takes its record. */
  function take(raw: Buffer, line: Buffer, place: Place): Damage | Suspicion | undefined {
    const record = readLine(line)
    if (record === undefined) return brokenLine(raw, place)
    const { writer, sequence } = record
    const known = writers.get(writer)
    const next = nextOf(writer)
    const damaged = (kind: DamageKind, detail: string): Damage => ({
      kind,
      place,
      writer,
      sequence,
      detail,
    })

    const isOfOtherKey = known !== undefined && known.key !== record.key
    if (!isOfOtherKey && macKeys.size > 0 && !macKeys.has(record.key)) {
      return damaged('unknown key', 'It names a key that is none of the MAC keys.')
    }
    if (isOfOtherKey || !hasRightMac(record, line)) return brokenLine(raw, place, record, next)
    if (sequence < next) return damaged('inserted', 'A record of this number was there before.')
    const mayStart = known === undefined && allowMissingStart
    if (sequence > next && !mayStart) return gap(record, next, known === undefined, place)

    const state = known ?? newWriter(record, place, options)
    if (record.prev !== state.mac) {
      return damaged('wrong link', 'It follows another record than the one before it.')
    }
    if (record.event === 'audit.checkpoint') {
      const wrong = passCheckpoint(state, record, line, options)
      if (wrong !== undefined) return damaged(...wrong)
    }
    writers.set(writer, state)
    advance(state, record, raw, place)
    records += 1
    return heads.pass(record, place) ?? heads.name(record, place, writers)
  }

  /** Lets a line decide about the suspicion. A torn line that is named is none. */
  function explain(
    suspected: Suspicion,
    raw: Buffer,
    line: Buffer,
    place: Place,
  ): Damage | Suspicion | undefined {
    const record = readLine(line)
    if (record === undefined || !hasRightMac(record, line)) {
      suspected.pass()
      return suspected
    }
    const answer = suspected.explain(record, nextOf(record.writer))
    if (answer !== 'torn') return answer ?? suspected
    torn.push(suspected.place)
    return take(raw, line, place)
  }

  function unsigned(): Damage | undefined {
    if (macKeys.size > 0) return undefined
    const writer = [...writers.values()].find(({ signed }) => signed === undefined)
    if (writer === undefined) return undefined
    const detail = 'No checkpoint with a signature vouches for this chain. Give the MAC key.'
    return { kind: 'not signed', place: writer.first.place, writer: writer.writer, detail }
  }

  return {
    add(raw, place) {
      if (damage !== undefined) return false
      const line = raw.at(-1) === LINE_FEED ? raw.subarray(0, -1) : raw
      const found =
        suspicion === undefined ? take(raw, line, place) : explain(suspicion, raw, line, place)
      suspicion = found !== undefined && 'explain' in found ? found : undefined
      damage = found !== undefined && 'kind' in found ? found : undefined
      return damage === undefined
    },

    finish() {
      damage ??= suspicion?.end() ?? heads.missing(writers) ?? unsigned()
      return { damage, records, writers: [...writers.values()], torn }
    },
  }
}
