import { createHmac, createSecretKey, timingSafeEqual } from 'node:crypto'
import type { SubKey } from '../secrets.ts'

/** One audit record before it is chained. `unmapped` must be its last member. */
export interface AuditRecord {
  readonly metadata: Readonly<Record<string, unknown>>
  readonly [attribute: string]: unknown
  readonly unmapped: Readonly<Record<string, unknown>>
}

/** `prev` of the first record of a writer. */
const START = '0'.repeat(64)
const SUFFIX = /^,"mac":"([0-9a-f]{64})"\}\}\}$/
const SUFFIX_BYTES = ',"mac":""}}}'.length + START.length

/**
 * Turns records into lines that vouch for each other. Each line gets `metadata.sequence` (1, 2, 3 …
 * without a gap), `metadata.uid` and, at its very end, `unmapped.chain.{writer,key,prev,mac}`: `mac`
 * is HMAC-SHA256, hex, over the exact bytes of the line before `,"mac"`, `prev` the mac of the line
 * before, `key` the id of the sub-key. Whoever holds the log but not the key cannot edit, insert,
 * reorder or delete a line without `verifyLines` finding it.
 *
 * The chain of a record covers its bytes, not its meaning, so nobody has to agree on a canonical form.
 *
 * @returns the line, without line break. A record that cannot be serialized throws a `TypeError` and
 *   takes no sequence number.
 */
export function createChain(options: {
  readonly key: SubKey
  /** Names this run of this process; a chain has one writer. */
  readonly writer: string
}): (record: AuditRecord) => string {
  const { key, writer } = options
  const secret = createSecretKey(key.key)
  let sequence = 0
  let prev = START

  return function chain(record) {
    const next = sequence + 1
    const open = JSON.stringify({
      ...record,
      metadata: { ...record.metadata, uid: `${writer}-${next}`, sequence: next },
      unmapped: { ...record.unmapped, chain: { writer, key: key.id, prev } },
    }).slice(0, -'}}}'.length)
    prev = createHmac('sha256', secret).update(open).digest('hex')
    sequence = next
    return `${open},"mac":"${prev}"}}}`
  }
}

/** What is known of a writer after its last line. */
export interface ChainEnd {
  readonly sequence: number
  readonly mac: string
}

export type Verdict =
  /** `ends` has the last record of each writer. */
  | { readonly ok: true; readonly records: number; readonly ends: ReadonlyMap<string, ChainEnd> }
  /** `line` counts from 1. */
  | { readonly ok: false; readonly line: number; readonly problem: ChainProblem }

export type ChainProblem =
  | 'not a chained record'
  | 'unknown key'
  | 'mac does not match'
  | 'out of sequence'
  | 'previous mac does not match'

/**
 * Checks the lines of a log from the start of each of its writers. Lines of several writers may be
 * mixed. Takes bytes, not text: decoding would hide an edit that turns one invalid byte into another.
 *
 * Not checked: that the last records of a writer, or a whole writer, are still there. Compare `ends`
 * with what is known from elsewhere.
 */
export function verifyLines(lines: Iterable<Buffer>, keys: readonly SubKey[]): Verdict {
  const keyById = new Map(keys.map((key) => [key.id, key]))
  const ends = new Map<string, ChainEnd>()
  let records = 0

  for (const line of lines) {
    records += 1
    const problem = verifyLine(line, keyById, ends)
    if (problem !== undefined) return { ok: false, line: records, problem }
  }
  return { ok: true, records, ends }
}

function verifyLine(
  line: Buffer,
  keyById: ReadonlyMap<string, SubKey>,
  ends: Map<string, ChainEnd>,
): ChainProblem | undefined {
  const open = line.subarray(0, Math.max(0, line.length - SUFFIX_BYTES))
  const [, mac] = SUFFIX.exec(line.subarray(open.length).toString('latin1')) ?? []
  const stamp = stampOf(line)
  if (mac === undefined || stamp === undefined) return 'not a chained record'

  const key = keyById.get(stamp.key)
  if (key === undefined) return 'unknown key'
  const expected = createHmac('sha256', key.key).update(open).digest()
  if (!timingSafeEqual(expected, Buffer.from(mac, 'hex'))) return 'mac does not match'

  const end = ends.get(stamp.writer) ?? { sequence: 0, mac: START }
  if (stamp.sequence !== end.sequence + 1) return 'out of sequence'
  if (stamp.prev !== end.mac) return 'previous mac does not match'
  ends.set(stamp.writer, { sequence: stamp.sequence, mac })
  return undefined
}

interface Stamp {
  readonly sequence: number
  readonly writer: string
  readonly key: string
  readonly prev: string
}

function stampOf(line: Buffer): Stamp | undefined {
  const record = parse(line)
  const sequence = member(member(record, 'metadata'), 'sequence')
  const chain = member(member(record, 'unmapped'), 'chain')
  const writer = member(chain, 'writer')
  const key = member(chain, 'key')
  const prev = member(chain, 'prev')
  return typeof sequence === 'number' &&
    typeof writer === 'string' &&
    typeof key === 'string' &&
    typeof prev === 'string'
    ? { sequence, writer, key, prev }
    : undefined
}

function parse(line: Buffer): unknown {
  try {
    return JSON.parse(line.toString())
  } catch {
    return undefined // Not JSON is not a record; the caller says so.
  }
}

function member(value: unknown, name: string): unknown {
  if (typeof value !== 'object' || value === null) return undefined
  return new Map<string, unknown>(Object.entries(value)).get(name)
}
