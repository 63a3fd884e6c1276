// optional: api-key
import type { NameOf } from '../audit/names.ts'
import type { Clock } from '../clock.ts'
import type { Logger } from '../log.ts'
import type { KeyRecord } from './key-file.ts'

const DAY_MS = 86_400_000
/** How long before its end a key is announced, ms. */
const NOTICE_MS = 14 * DAY_MS

/** `expiring`: live, and ends within 14 days. */
export type KeyState = 'live' | 'expiring' | 'expired' | 'revoked'

export function keyState(
  { revokedAt, expiresAt }: Pick<KeyRecord, 'revokedAt' | 'expiresAt'>,
  nowMs: number,
): KeyState {
  if (revokedAt !== null) return 'revoked'
  const leftMs = Date.parse(expiresAt) - nowMs
  if (leftMs <= 0) return 'expired'
  return leftMs <= NOTICE_MS ? 'expiring' : 'live'
}

/**
 * Says in the log which keys are about to end: now, and once a day. Keys that have ended are not
 * repeated: after a rotation that is what they should do, and a use of one is in the audit trail. A
 * key has the name that it has there, so that a pseudonym does not come out here.
 *
 * @param nowMs time of day, ms since the epoch; `clock` only says when a day has passed
 * @returns what ends it
 */
export function announceExpiry(
  records: readonly KeyRecord[],
  parts: {
    readonly logger: Logger
    readonly clock: Clock
    readonly nowMs: () => number
    readonly nameOf: NameOf
  },
): () => void {
  const { logger, clock, nowMs, nameOf } = parts
  let cancel = (): void => undefined

  function announce(): void {
    for (const record of records) {
      if (keyState(record, nowMs()) !== 'expiring') continue
      const { id, expiresAt } = record
      const keyId = nameOf(id)
      logger.warn('An API key expires within 14 days: rotate it', { keyId, expiresAt })
    }
    cancel = clock.after(DAY_MS, announce)
  }
  announce()

  return () => cancel()
}
