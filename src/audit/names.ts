import { createHmac, createSecretKey } from 'node:crypto'
import type { AuditPolicy } from '../policy.ts'
import type { SecretRing } from '../secrets.ts'
import { cleanText } from './clean-text.ts'

/** How records and log lines name a subject, a client or a credential. */
export type NameOf = (id: string) => string

/**
 * Names as policies/audit.yaml `principal` wants them: the id itself, cleaned, or its pseudonym, 64 hex
 * digits. The same id has the same pseudonym until the root secret changes.
 */
export function namesUnder(
  { principal }: Pick<AuditPolicy, 'principal'>,
  ring: SecretRing,
): NameOf {
  if (principal === 'clear') return cleanText
  const key = createSecretKey(ring('principal')[0].key)
  return (id) => createHmac('sha256', key).update(id).digest('hex')
}
