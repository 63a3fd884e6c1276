import type { RefusalName } from '../errors.ts'
import type { AuditRecord } from './chain.ts'
import { cleanText } from './clean-text.ts'
import {
  apiCall,
  endpointOf,
  type Kind,
  operationOf,
  type RecordContext,
  record,
  userOf,
} from './ocsf-attributes.ts'
import { egressRecord } from './ocsf-egress.ts'
import type { AuditEvent } from './trail.ts'

const API_READ: Kind = { category: 6, class: 6003, activity: 2 }
const API_OTHER: Kind = { category: 6, class: 6003, activity: 99 }
const LOGON: Kind = { category: 3, class: 3002, activity: 1 }
const START: Kind = { category: 6, class: 6002, activity: 3 }
const STOP: Kind = { category: 6, class: 6002, activity: 4 }
const BASE: Kind = { category: 0, class: 0, activity: 99 }

const INFORMATIONAL = 1
const LOW = 2
const MEDIUM = 3
const HIGH = 4

const SUCCESS = { status_id: 1 } as const
const FAILURE = { status_id: 2 } as const

/** `action_id` and `disposition_id` of the profile `security_control`. */
const ALLOWED = { action_id: 1, disposition_id: 1 } as const
const BLOCKED = { action_id: 2, disposition_id: 2 } as const
const UNAUTHORIZED = { action_id: 2, disposition_id: 26 } as const
const ERROR = { action_id: 0, disposition_id: 27 } as const

/**
 * Maps an event to a record of OCSF: 6003 API Activity, 3002 Authentication, 6002 Application
 * Lifecycle, or the base event. `time` is when the record was made, `duration` the ms that led up to
 * it. All text that a caller can choose passes `cleanText`.
 */
export function toOcsf(event: AuditEvent, context: RecordContext): AuditRecord {
  const { product, policyDigest: version } = context
  switch (event.event) {
    case 'request': {
      const operation = cleanText(event.method ?? 'http')
      const httpMethod = cleanText(event.httpMethod)
      const listed = HTTP_METHODS.has(httpMethod)
      const refused = event.reason !== undefined || (event.status >= 400 && event.status < 499)
      const duration = Math.round(event.durationMs)
      return record(event, context, {
        kind: kindOf(operation),
        severity: event.status >= 500 ? MEDIUM : refused ? LOW : INFORMATIONAL,
        profiles: ['security_control', 'trace'],
        attributes: {
          duration,
          ...(event.status >= 400 || refused ? FAILURE : SUCCESS),
          status_code: String(event.status),
          status_detail: event.reason,
          ...(isFailure(event.reason) ? ERROR : refused ? BLOCKED : ALLOWED),
          ...apiCall(event, context, { operation, durationMs: duration }),
          http_request: {
            http_method: listed ? httpMethod : undefined,
            url: { path: pathOf(event.path) },
          },
          http_response: { code: event.status },
        },
        unmapped: listed ? {} : { http_method: httpMethod },
      })
    }
    case 'decision': {
      const { policyUid, mcp } = operationOf(event)
      const decision = event.allowed ? 'allowed' : 'denied'
      const unauthorized = event.reason?.startsWith('authorize.')
      return record(event, context, {
        kind: kindOf(event.method),
        severity: event.allowed ? INFORMATIONAL : LOW,
        profiles: ['security_control', 'trace'],
        attributes: {
          ...(event.allowed ? SUCCESS : FAILURE),
          status_detail: event.reason,
          ...(event.allowed ? ALLOWED : unauthorized ? UNAUTHORIZED : BLOCKED),
          policy: { uid: policyUid, version },
          ...apiCall(event, context, { operation: event.method, decision }),
        },
        unmapped: { mcp },
      })
    }
    case 'outcome': {
      const duration = Math.round(event.durationMs)
      const asked = event.outcome === 'asked'
      const failed = event.outcome !== 'ok' && !asked
      return record(event, context, {
        kind: kindOf(event.method),
        severity: failed ? LOW : INFORMATIONAL,
        profiles: ['trace'],
        attributes: {
          duration,
          ...(asked ? { status_id: 99, status: event.outcome } : failed ? FAILURE : SUCCESS),
          status_code: event.outcome,
          ...apiCall(event, context, { operation: event.method, durationMs: duration }),
        },
        unmapped: {
          mcp: {
            ...operationOf(event).mcp,
            result_sha256: event.resultSha256,
            is_error: failed,
            progress_count: event.progressCount,
          },
        },
      })
    }
    case 'egress':
      return egressRecord(event, context)
    case 'authn.fail':
      return record(event, context, {
        kind: LOGON,
        severity: LOW,
        profiles: ['security_control'],
        attributes: {
          ...FAILURE,
          status_code: cleanText(event.cause),
          status_detail: event.reason,
          ...BLOCKED,
          user: userOf(event.principal, context),
          service: { name: product.name },
          src_endpoint: endpointOf(event.address),
          is_remote: true,
        },
      })
    case 'throttle':
      return record(event, context, {
        kind: API_OTHER,
        severity: LOW,
        profiles: ['security_control', 'trace'],
        attributes: {
          ...FAILURE,
          status_detail: event.reason,
          ...BLOCKED,
          policy: { uid: `limits/${event.policy}`, version },
          ...apiCall(event, context, { operation: 'http' }),
        },
      })
    case 'server.start':
      return record(event, context, {
        kind: START,
        severity: INFORMATIONAL,
        profiles: ['security_control'],
        attributes: {
          ...SUCCESS,
          policy: { uid: 'policies', version: event.policyDigest },
          app: product,
        },
        unmapped: {
          server: {
            settings_digest: event.settingsDigest,
            tools_digest: event.toolsDigest,
            node_version: event.nodeVersion,
          },
        },
      })
    case 'server.stop':
      return record(event, context, {
        kind: STOP,
        severity: event.cause === 'crash' ? HIGH : INFORMATIONAL,
        attributes: { ...SUCCESS, status_code: event.cause, app: product },
      })
    case 'fault':
      return record(event, context, {
        kind: BASE,
        severity: HIGH,
        attributes: { ...FAILURE, status_code: event.cause },
      })
    case 'audit.checkpoint': {
      const { head, count, digest, signer } = event
      // `checkpoint.ts` puts the signature in the place that is left for it.
      const signature = signer === undefined ? undefined : ''
      return record(event, context, {
        kind: BASE,
        severity: INFORMATIONAL,
        attributes: SUCCESS,
        unmapped: { checkpoint: { head, count, digest, signer, signature } },
      })
    }
    case 'jwks.change':
      return record(event, context, {
        kind: BASE,
        severity: INFORMATIONAL,
        attributes: SUCCESS,
        unmapped: {
          jwks: {
            issuer: cleanText(event.issuer),
            key_ids: event.keyIds.slice(0, 32).map(cleanText),
          },
        },
      })
    case 'policy.reload':
    case 'keys.reload': {
      const applied = event.outcome === 'applied'
      return record(event, context, {
        kind: BASE,
        severity: applied ? INFORMATIONAL : MEDIUM,
        attributes: { ...(applied ? SUCCESS : FAILURE), status_code: event.outcome },
        unmapped: { reload: { from: event.from, to: event.to } },
      })
    }
  }
}

/** Refused targets may have more than a path: scheme, user and password, query, fragment. */
const BESIDES_PATH = /^[a-z][a-z\d+.-]*:\/\/[^/?#]*|[?#].*/gis

function pathOf(target: string): string {
  return cleanText(target.replace(BESIDES_PATH, ''))
}

/** Nothing was forbidden: the server could not do its part. */
function isFailure(reason: RefusalName | undefined): boolean {
  return reason === 'answer.bug' || reason === 'handler.failed'
}

/** The values that OCSF has for `http_request.http_method`. */
const HTTP_METHODS = new Set([
  'CONNECT',
  'DELETE',
  'GET',
  'HEAD',
  'OPTIONS',
  'PATCH',
  'POST',
  'PUT',
  'TRACE',
])

const READS = new Set([
  'completion/complete',
  'prompts/get',
  'prompts/list',
  'resources/list',
  'resources/read',
  'resources/templates/list',
  'tools/list',
])

function kindOf(method: string): Kind {
  return READS.has(method) ? API_READ : API_OTHER
}
