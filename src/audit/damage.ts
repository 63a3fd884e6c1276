/** What can be wrong with a log. */
export type DamageKind =
  /** The bytes of a record are not those that its MAC was made of. */
  | 'edited'
  /** Records are missing between two that are there. */
  | 'deleted'
  /** A record stands before one that it follows. */
  | 'swapped'
  /** A line that is in nobody's sequence, or is there twice. */
  | 'inserted'
  /** A chain ends before a record that is known to have been in it. */
  | 'truncated'
  /** The beginning of a record. */
  | 'torn line'
  | 'not JSON'
  /** JSON that is not a record as the server writes it. */
  | 'not a record'
  /** None of the MAC keys that were given. */
  | 'unknown key'
  /** None of the public keys that were given. */
  | 'unknown signer'
  | 'wrong signature'
  /** A line under a checkpoint is not what it was, or the checkpoint is not. */
  | 'wrong digest'
  /** A record does not follow the one before it, though its number does. */
  | 'wrong link'
  /** A record has another MAC than the one that is known of it. */
  | 'wrong head'
  /** No checkpoint with a signature that was verified. */
  | 'not signed'
  /** The first records of a chain are not in the files. */
  | 'missing start'
  /** A chain names one before it, which is not in the files. */
  | 'missing predecessor'

/** The first thing that is wrong. */
export interface Damage {
  readonly kind: DamageKind
  /** `undefined` for what is nowhere in the files. */
  readonly place: Place | undefined
  /** The record, as far as it is known. */
  readonly writer?: string | undefined
  readonly sequence?: number | undefined
  /** In words, without text of the log. */
  readonly detail: string
}

/** One line of a log. */
export interface Place {
  readonly file: string
  /** Counts from 1. */
  readonly line: number
}
