import { createHash, type Hash } from 'node:crypto'
import { START } from './chain.ts'
import { type ChainLine, checkpointMember } from './chain-line.ts'
import { isSigned } from './checkpoint.ts'
import type { DamageKind, Place } from './damage.ts'
import type { VerifierKeys } from './verifier.ts'

/** What is known of one chain after its last line. */
export interface WriterState {
  readonly writer: string
  readonly first: { readonly sequence: number; readonly place: Place }
  sequence: number
  mac: string
  /** Of its last line. */
  place: Place
  /** Id of its MAC key: a chain has one. */
  readonly key: string
  /** Over the lines since the last checkpoint; `undefined` while its first line is not known. */
  digest: Hash | undefined
  /** Lines under `digest`. */
  count: number
  /** The records that verified signatures vouch for. */
  signed: { readonly from: number; readonly to: number } | undefined
  /** Whether `server.stop` came, and nothing after it but a checkpoint. */
  stopped: boolean
  /** Records that the server says it has lost. */
  dropped: number
}

const LINE_FEED = 0x0a

export function newWriter(line: ChainLine, place: Place, keys: VerifierKeys): WriterState {
  const starts = line.sequence === 1
  const needsDigest = starts && keys.publicKeys.size > 0
  return {
    writer: line.writer,
    first: { sequence: line.sequence, place },
    sequence: line.sequence - 1,
    mac: starts ? START : line.prev,
    place,
    key: line.key,
    digest: needsDigest ? createHash('sha256') : undefined,
    count: 0,
    signed: undefined,
    stopped: false,
    dropped: 0,
  }
}

/**
 * Takes the next record of the chain, whose number and link are right.
 *
 * @param raw the line with its line feed
 */
export function advance(state: WriterState, line: ChainLine, raw: Buffer, place: Place): void {
  state.digest?.update(raw)
  if (raw.at(-1) !== LINE_FEED) state.digest?.update('\n') // The last line of a file may lack it.
  state.count += 1
  state.sequence = line.sequence
  state.mac = line.mac
  state.place = place
  state.stopped =
    line.event === 'server.stop' || (state.stopped && line.event === 'audit.checkpoint')
  const dropped = line.unmapped.get('dropped')
  if (typeof dropped === 'number') state.dropped += dropped
}

/**
 * Checks a checkpoint before it is taken: what it says of the lines before it and, when there are
 * public keys, digest and signature. The digest begins anew with the checkpoint itself.
 *
 * @param line its line without line feed
 * @returns what is wrong with it
 */
export function passCheckpoint(
  state: WriterState,
  { unmapped, prev, sequence }: ChainLine,
  line: Buffer,
  { publicKeys }: VerifierKeys,
): readonly [DamageKind, string] | undefined {
  const { data } = checkpointMember.safeParse(unmapped.get('checkpoint'))
  if (data === undefined) return ['not a record', 'A checkpoint that does not say what it covers.']
  const { head, count, digest, signer, signature } = data
  if (head.writer !== state.writer || head.sequence !== state.sequence || head.mac !== prev) {
    return ['wrong digest', 'This checkpoint names another record than the one before it.']
  }
  if (publicKeys.size === 0) return undefined
  const from = state.sequence - state.count + 1
  const known = state.digest?.digest('hex')
  if (known !== undefined && (count !== state.count || digest !== known)) {
    return ['wrong digest', `One of the records ${from} to ${state.sequence} is not what it was.`]
  }
  if (signer !== undefined && signature !== undefined) {
    const key = publicKeys.get(signer)
    if (key === undefined) return ['unknown signer', 'It is of none of the public keys.']
    if (!isSigned(line, signature, key)) {
      return ['wrong signature', 'This checkpoint is not what was signed.']
    }
    const oldest = known === undefined ? sequence : from
    state.signed = { from: state.signed?.from ?? (isWhole(state) ? 1 : oldest), to: sequence }
  }
  state.digest = createHash('sha256')
  state.count = 0
  return undefined
}

/** Whether its first record is there. */
function isWhole({ first }: WriterState): boolean {
  return first.sequence === 1
}
