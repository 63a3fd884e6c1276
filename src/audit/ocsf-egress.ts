import type { AuditRecord } from './chain.ts'
import { apiCall, operationOf, type RecordContext, record } from './ocsf-attributes.ts'
import type { AuditEvent } from './trail.ts'

const ALLOWED = { action_id: 1, disposition_id: 1 } as const
const BLOCKED = { action_id: 2, disposition_id: 2 } as const
const ERROR = { action_id: 0, disposition_id: 27 } as const

/** A request of a tool: OCSF 6003 API Activity, by the caller for whom the tool ran. */
export function egressRecord(
  event: Extract<AuditEvent, { event: 'egress' }>,
  context: RecordContext,
): AuditRecord {
  const duration = Math.round(event.durationMs)
  const succeeded = event.outcome === 'ok'
  const refused = event.outcome === 'not-allowed' || event.outcome === 'address'
  const { policyUid, mcp } = operationOf(event)
  return record(event, context, {
    kind: { category: 6, class: 6003, activity: 99 },
    severity: refused ? 3 : succeeded ? 1 : 2,
    profiles: ['security_control', 'trace'],
    attributes: {
      duration,
      status_id: succeeded ? 1 : 2,
      status_code: event.outcome,
      ...(refused ? BLOCKED : succeeded ? ALLOWED : ERROR),
      policy: { uid: `egress/${policyUid}`, version: context.policyDigest },
      ...apiCall(event, context, { operation: 'egress', durationMs: duration }),
    },
    unmapped: {
      mcp,
      egress: {
        origin: event.origin,
        http_method: event.httpMethod,
        http_status: event.status,
        sent_bytes: event.sentBytes,
        received_bytes: event.receivedBytes,
      },
    },
  })
}
