import { hash, randomBytes } from 'node:crypto'
import { parseKey } from '../../src/auth/api-key.ts'

/** What whoever knows the public id of a key can make: the checksum is right, the secret is not. */
export function forgedKey(key: string): string {
  const body = `${key.slice(0, 'mcpk_'.length + 13)}${randomBytes(32).toString('base64url')}`
  const forged = `${body}_${hash('sha256', body, 'base64url').slice(0, 6)}`
  const parsed = parseKey(forged)
  if (typeof parsed === 'string' || !key.includes(parsed.id)) throw new Error('Not like a key')
  return forged
}
