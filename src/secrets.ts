import { createHash, hkdfSync } from 'node:crypto'

/** What a derived key is for; each purpose has a key of its own. */
export type Purpose =
  | 'audit-mac'
  | 'args'
  | 'principal'
  | 'request-state'
  | 'session'
  | 'dpop-nonce' // optional: dpop

/** One key of the ring, derived for one purpose. */
export interface SubKey {
  /** First 8 bytes of its SHA-256, hex. Public. */
  readonly id: string
  /** 32 bytes. */
  readonly key: Buffer
}

/** Derives the key of each root secret for a purpose. The first signs, all verify. */
export type SecretRing = (purpose: Purpose) => readonly [SubKey, ...SubKey[]]

/**
 * One thing to store and rotate: root secrets, each at least 32 bytes, the newest first.
 *
 * Source: RFC 5869 (HKDF-SHA256, no salt, info `gatehouse/v1/<purpose>`).
 */
export function secretRing(roots: readonly [Buffer, ...Buffer[]]): SecretRing {
  return function derive(purpose) {
    const [first, ...rest] = roots
    return [subKey(first, purpose), ...rest.map((root) => subKey(root, purpose))]
  }
}

function subKey(root: Buffer, purpose: Purpose): SubKey {
  const key = Buffer.from(hkdfSync('sha256', root, '', `gatehouse/v1/${purpose}`, 32))
  return { id: keyId(key), key }
}

/** Names a key without telling it: the first 8 bytes of its SHA-256, hex. */
export function keyId(key: Buffer): string {
  return createHash('sha256').update(key).digest('hex').slice(0, 16)
}
