// optional: api-key
import { generateKey } from './api-key.ts'
import type { KeyRecord } from './key-file.ts'

const LIFETIME_MS = 86_400_000

/**
 * The key of development: made at start, held in memory, gone with the process or after a day.
 *
 * @returns the key, to be printed once, and its record
 */
export function ephemeralKey(scopes: readonly string[]): {
  readonly key: string
  readonly record: KeyRecord
} {
  const { key, id, sha256 } = generateKey()
  const now = Date.now()
  return {
    key,
    record: {
      id,
      name: 'ephemeral key of development',
      sha256,
      subject: 'developer',
      tenant: null,
      roles: [],
      scopes: [...scopes],
      createdAt: new Date(now).toISOString(),
      expiresAt: new Date(now + LIFETIME_MS).toISOString(),
      allowedCidrs: [],
      revokedAt: null,
    },
  }
}
