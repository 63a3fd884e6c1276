import { createHash, createHmac, createSecretKey } from 'node:crypto'
import type { SubKey } from '../secrets.ts'

/** One audit record before it is chained. `unmapped` must be its last member. */
export interface AuditRecord {
  /** Begins with `version` and `event_code`. */
  readonly metadata: Readonly<Record<string, unknown>>
  readonly [attribute: string]: unknown
  readonly unmapped: Readonly<Record<string, unknown>>
}

/** One record of a chain, by its writer, number and MAC (hex). Whoever knows it knows all before it. */
export interface ChainHead {
  readonly writer: string
  readonly sequence: number
  readonly mac: string
}

/** What stood in the file before this chain. */
export interface Predecessor {
  /** Its last whole record; `undefined` when there is none. */
  readonly head: ChainHead | undefined
  /** Length of half a line behind it, as a killed process leaves; 0 when there is none. */
  readonly tornBytes: number
}

/** What a checkpoint vouches for. */
export interface Coverage {
  /** The record before the checkpoint. */
  readonly head: ChainHead
  /** Lines under `digest`: from the checkpoint before, which is one of them, or from the first record. */
  readonly count: number
  /** SHA-256, hex, over these lines, each with its line feed. */
  readonly digest: string
}

/** The lines of one run of one process. Each is returned without line break. */
export interface Chain {
  /** @throws {TypeError} when it cannot be serialized. It then takes no number. */
  append(record: AuditRecord): string
  /** Records since the last checkpoint, or since the start. */
  uncovered(): number
  /**
   * Appends the record that `build` makes of what it covers.
   *
   * @param seal takes the line as far as the MAC covers it, and returns it with the signature in place
   */
  checkpoint(build: (coverage: Coverage) => AuditRecord, seal?: (open: string) => string): string
}

/** `prev` of the first record of a writer. */
export const START = '0'.repeat(64)

/**
 * Turns records into lines that vouch for each other. Each line begins with `metadata.uid` and
 * `metadata.sequence` (1, 2, 3 … without a gap) and ends with `unmapped.chain.{writer,key,prev,mac}`:
 * `mac` is HMAC-SHA256, hex, over the exact bytes of the line before `,"mac"`, `prev` the mac of the
 * line before, `key` the id of the sub-key. The first record names what stood in the file before it,
 * as `unmapped.predecessor`. Whoever holds the log but not the key cannot edit, insert, reorder or
 * delete a line without `verifier.ts` finding it.
 *
 * The chain of a record covers its bytes, not its meaning, so nobody has to agree on a canonical form.
 */
export function createChain(options: {
  readonly key: SubKey
  /** Names this run of this process: 16 hexadecimal digits. A chain has one writer. */
  readonly writer: string
  readonly predecessor?: Predecessor | undefined
}): Chain {
  const { key, writer } = options
  const secret = createSecretKey(key.key)
  let sequence = 0
  let prev = START
  let digest = createHash('sha256')
  let count = 0
  let uncovered = 0

  function opened(record: AuditRecord, next: number): string {
    const predecessor = next === 1 ? namedPredecessor(options.predecessor) : undefined
    return JSON.stringify({
      ...record,
      metadata: { uid: `${writer}-${next}`, sequence: next, ...record.metadata },
      unmapped: { ...record.unmapped, predecessor, chain: { writer, key: key.id, prev } },
    }).slice(0, -'}}}'.length)
  }

  function close(open: string): string {
    prev = createHmac('sha256', secret).update(open).digest('hex')
    sequence += 1
    const line = `${open},"mac":"${prev}"}}}`
    digest.update(`${line}\n`)
    count += 1
    return line
  }

  return {
    append(record) {
      const line = close(opened(record, sequence + 1))
      uncovered += 1
      return line
    },
    uncovered: () => uncovered,
    checkpoint(build, seal = (open) => open) {
      const head = { writer, sequence, mac: prev }
      const record = build({ head, count, digest: digest.copy().digest('hex') })
      const open = seal(opened(record, sequence + 1))
      digest = createHash('sha256')
      count = 0
      uncovered = 0
      return close(open)
    },
  }
}

/** As the record has it. @returns `undefined` when the file was empty, or is none. */
function namedPredecessor(
  predecessor: Predecessor | undefined,
): Readonly<Record<string, unknown>> | undefined {
  if (predecessor === undefined) return undefined
  const { head, tornBytes } = predecessor
  if (head === undefined && tornBytes === 0) return undefined
  return { ...head, torn_bytes: tornBytes === 0 ? undefined : tornBytes }
}
