// optional: dpop
import { createHmac, timingSafeEqual } from 'node:crypto'
import type { SecretRing, SubKey } from '../secrets.ts'

/** How long a nonce is the newest, ms. It is accepted for as long again. */
const SLOT_MS = 150_000

/** Nonces of this server: one for all clients, another one every 150 seconds. */
export interface DpopNonces {
  /** What clients put into their next proof. */
  newest(nowMs: number): string
  /** Whether it was the newest at most one slot ago. */
  accepts(nonce: unknown, nowMs: number): boolean
}

/**
 * Threat:  Proofs made in advance by whoever could use a client's key for a moment, to be sent later;
 *          clients and replay windows that depend on the client's clock.
 * Rule:    a nonce is the HMAC of its time slot, so nobody can know the next one, every replica with
 *          the same secrets accepts it, and nothing is stored. While secrets are rotated, those of
 *          the old key are accepted too.
 * Config:  `MCP_SECRET`
 * Refuses: nothing: `dpop` does
 * Source:  RFC 9449 §8, §9, §11.2
 */
export function dpopNonces(ring: SecretRing): DpopNonces {
  const keys = ring('dpop-nonce')

  function nonceOf({ key }: SubKey, slot: number): string {
    return createHmac('sha256', key).update(String(slot)).digest('base64url')
  }
  return {
    newest: (nowMs) => nonceOf(keys[0], Math.floor(nowMs / SLOT_MS)),
    accepts(nonce, nowMs) {
      if (typeof nonce !== 'string') return false
      const slot = Math.floor(nowMs / SLOT_MS)
      return keys.some((key) =>
        [slot, slot - 1].some((accepted) => isEqual(nonceOf(key, accepted), nonce)),
      )
    },
  }
}

function isEqual(expected: string, sent: string): boolean {
  const [one, other] = [Buffer.from(expected), Buffer.from(sent)]
  return one.length === other.length && timingSafeEqual(one, other)
}
