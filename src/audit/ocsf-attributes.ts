import { isIP } from 'node:net'
import type { Principal } from '../context.ts'
import type { AuditRecord } from './chain.ts'
import { cleanText } from './clean-text.ts'
import type { AuditEvent, OperationFacts, RequestFacts } from './trail.ts'

/** The released schema that records follow: https://schema.ocsf.io/1.8.0/ */
const OCSF_VERSION = '1.8.0'

/** What records say besides the event itself. */
export interface RecordContext {
  readonly product: { readonly name: string; readonly version: string }
  /** When the event happened, ms since the epoch. */
  readonly time: number
  /** SHA-256 of the policies in force, hex, when known. */
  readonly policyDigest: string | undefined
  /** Records that were lost since the one before, because their queue was full. */
  readonly dropped: number
  /** How records name a person: subject, client and credential as they are, or pseudonyms of them. */
  readonly nameOf: (id: string) => string
}

/** Category, class and activity, as OCSF numbers them. */
export interface Kind {
  readonly category: number
  readonly class: number
  readonly activity: number
}

type Attributes = Readonly<Record<string, unknown>>

/** The envelope that all records share. Members that are `undefined` are absent from the line. */
export function record(
  event: AuditEvent,
  context: RecordContext,
  parts: {
    readonly kind: Kind
    readonly severity: number
    readonly profiles?: readonly string[]
    readonly attributes: Attributes
    readonly unmapped?: Attributes
  },
): AuditRecord {
  const { kind } = parts
  const request = 'requestId' in event ? event : undefined
  const tenant = request?.principal?.tenant ?? undefined
  return {
    metadata: {
      version: OCSF_VERSION,
      event_code: event.event,
      profiles: parts.profiles ?? [],
      product: context.product,
      correlation_uid: request?.requestId,
      tenant_uid: tenant === undefined ? undefined : cleanText(tenant),
    },
    time: context.time,
    category_uid: kind.category,
    class_uid: kind.class,
    activity_id: kind.activity,
    activity_name: kind.activity === 99 ? event.event : undefined,
    type_uid: kind.class * 100 + kind.activity,
    severity_id: parts.severity,
    ...parts.attributes,
    ...repetition(request, context),
    unmapped: { ...parts.unmapped, dropped: context.dropped === 0 ? undefined : context.dropped },
  }
}

/** The newest of many alike stands for all of them. */
function repetition(facts: RequestFacts | undefined, { time }: RecordContext): Attributes {
  if (facts?.repeated === undefined) return {}
  const { count, forMs } = facts.repeated
  return { count, start_time: time - Math.round(forMs), end_time: time }
}

/**
 * Who called what from where.
 *
 * `trace.span` is that of `RequestFacts`; its times, which OCSF requires, are those of this record.
 */
export function apiCall(
  facts: RequestFacts,
  context: RecordContext,
  call: {
    readonly operation: string
    readonly durationMs?: number
    readonly decision?: 'allowed' | 'denied'
  },
): Attributes {
  const { trace, principal } = facts
  const { operation, durationMs = 0, decision } = call
  return {
    actor: {
      user: {
        ...userOf(principal, context),
        programmatic_credentials: credentialsOf(facts, context),
      },
      idp: principal === undefined ? undefined : { uid: cleanText(principal.issuer) },
      app_uid: principal?.client ? context.nameOf(principal.client) : undefined,
      authorizations: decision === undefined ? undefined : [{ decision }],
    },
    api: {
      operation,
      service: { name: context.product.name },
      request: { uid: facts.requestId },
    },
    src_endpoint: endpointOf(facts.address),
    trace:
      trace === undefined
        ? undefined
        : {
            uid: trace.traceId,
            span: {
              uid: trace.spanId,
              start_time: context.time - durationMs,
              end_time: context.time,
            },
          },
  }
}

/** The subject, or that nobody is known: OCSF requires a user even where a login failed. */
export function userOf(principal: Principal | undefined, context: RecordContext): Attributes {
  return principal === undefined
    ? { name: 'unknown', type_id: 0 }
    : { uid: context.nameOf(principal.subject), type_id: 99, type: principal.kind }
}

/** Which of a subject's credentials was used: its last use is the newest record that names it. */
function credentialsOf(
  { credentialId, principal }: RequestFacts,
  { nameOf }: RecordContext,
): readonly Attributes[] | undefined {
  if (credentialId === undefined) return undefined
  const type = principal?.kind === 'api-key' ? 'API Key' : 'Access Token'
  return [{ uid: nameOf(credentialId), type }]
}

/** A connection that broke early has no address. */
export function endpointOf(address: string): Attributes {
  return isIP(address) === 0 ? { name: 'unknown' } : { ip: address }
}

/** What a method acts on: a member of `unmapped.mcp`; in plural, a section of the access policy. */
const TARGETS = new Map([
  ['tools/call', 'tool'],
  ['resources/read', 'resource'],
  ['resources/subscribe', 'resource'],
  ['resources/unsubscribe', 'resource'],
  ['subscriptions/listen', 'resource'],
  ['prompts/get', 'prompt'],
])

/** A completion is about either: names of prompts have no colon, and templates of resources have one. */
function targetOf({ method, name }: OperationFacts): string {
  if (method === 'completion/complete') return name.includes(':') ? 'resource' : 'prompt'
  return TARGETS.get(method) ?? 'method'
}

/** The operation of a decision and its outcome, and the policy entry that speaks of it. */
export function operationOf(facts: OperationFacts): {
  readonly policyUid: string
  readonly mcp: Attributes
} {
  const target = targetOf(facts)
  const { rpcId } = facts
  return {
    policyUid: `${target}s/${facts.name}`,
    mcp: {
      [target]: facts.name,
      rpc_id: typeof rpcId === 'string' ? cleanText(rpcId) : rpcId,
      era: facts.era,
      args_hmac: facts.argsHmac,
      args_bytes: facts.argsBytes,
    },
  }
}
