// optional: telemetry
import type { AuditEvent, AuditTrail } from '../audit/trail.ts'
import type { Metrics } from './metrics.ts'

type Outcome = Extract<AuditEvent, { event: 'outcome' }>

/**
 * Counts what goes to the trail: every event once, before repeated refusals are sampled.
 *
 * @param onOutcome hears how each operation has ended
 */
export function counted(
  trail: AuditTrail,
  metrics: Metrics,
  onOutcome: (outcome: Outcome) => void,
): AuditTrail {
  function count(event: AuditEvent): void {
    switch (event.event) {
      case 'request':
        metrics.requests.inc({ http_response_status_code: event.status })
        if (event.reason !== undefined) metrics.refusals.inc({ reason: event.reason })
        return
      case 'throttle':
        metrics.throttles.inc({ policy: event.policy })
        return
      case 'authn.fail':
        metrics.authenticationFailures.inc({ cause: event.cause })
        return
      case 'outcome':
        onOutcome(event)
        return
      case 'egress':
        metrics.egress.inc({ outcome: event.outcome })
        return
      case 'jwks.change':
        metrics.keySetChanges.inc({ issuer: event.issuer })
        return
      case 'policy.reload':
      case 'keys.reload':
        metrics.reloads.inc({ kind: KINDS[event.event], outcome: event.outcome })
        return
      case 'fault':
        metrics.faults.inc({ cause: event.cause })
        return
      default:
    }
  }

  return {
    ...trail,
    write(event) {
      count(event)
      trail.write(event)
    },
    commit(event, otherwise) {
      count(event)
      return trail.commit(event, otherwise)
    },
  }
}

const KINDS = { 'policy.reload': 'policy', 'keys.reload': 'keys' } as const
