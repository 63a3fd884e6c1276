import { randomBytes } from 'node:crypto'
import { type AuditTrailParts, createAuditTrail } from '../../src/audit/audit-trail.ts'
import type { AuditEvent, AuditTrail } from '../../src/audit/trail.ts'
import { secretRing } from '../../src/secrets.ts'
import { inspect } from '../canaries.ts'

const POLICY: AuditTrailParts['policy'] = {
  principal: 'clear',
  onSinkFailure: 'refuse',
  checkpoint: { records: 1_000_000, seconds: 60 },
}

/** The real trail on no sink: it makes the records of what happens, for the sake of what is in them. */
export function inspectedTrail(parts: Partial<AuditTrailParts> = {}): AuditTrail {
  return createAuditTrail({
    ring: secretRing([randomBytes(32)]),
    policy: POLICY,
    product: { name: 'gatehouse', version: '0.0.0' },
    sink: {
      hasRoom: () => true,
      async append(_lane, line) {
        inspect(line)
        return true
      },
      broken: () => false,
      async close() {},
    },
    clock: { now: () => 0, after: () => () => undefined },
    ...parts,
  })
}

/** The same, for tests that ask which events there were. */
export function recordingTrail(audited: AuditEvent[]): AuditTrail {
  const records = inspectedTrail()
  return {
    ...records,
    write(event) {
      audited.push(event)
      records.write(event)
    },
    commit(event, otherwise) {
      audited.push(event)
      return records.commit(event, otherwise)
    },
  }
}
