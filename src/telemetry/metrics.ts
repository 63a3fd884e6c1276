// optional: telemetry (prom-client, @opentelemetry/api)
import { Counter, Histogram, Registry } from 'prom-client'
import { DENIALS, PROTOCOL_ERRORS } from '../errors.ts'

/** Of MCP operations, seconds: as OpenTelemetry's conventions for MCP have them. */
const OPERATION_SECONDS = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300]
/** Tokens of the future are below zero. The rest is the age that tokens have when they are first seen. */
const SKEW_SECONDS = [-60, -30, -10, -5, -2, -1, 0, 1, 2, 5, 10, 30, 60, 300, 3600]

export interface Metrics {
  readonly registry: Registry
  readonly operations: Histogram<OperationLabel>
  readonly requests: Counter<'http_response_status_code'>
  readonly refusals: Counter<'reason'>
  readonly throttles: Counter<'policy'>
  readonly authenticationFailures: Counter<'cause'>
  readonly tokenSkew: Histogram
  readonly egress: Counter<'outcome'>
  readonly keySetChanges: Counter<'issuer'>
  readonly reloads: Counter<'kind' | 'outcome'>
  readonly faults: Counter<'cause'>
}

const OPERATION_LABELS = [
  'mcp_method_name',
  'gen_ai_tool_name',
  'gen_ai_prompt_name',
  'error_type',
  'outcome',
] as const

export type OperationLabel = (typeof OPERATION_LABELS)[number]

/**
 * Everything that is counted while requests are served, in a registry of its own.
 *
 * Threat:  Whoever may send a request fills the memory of server and monitoring with series, or reads
 *          there what others sent.
 * Rule:    a label is a name from a closed list of this source, from the catalog or from policies, never
 *          something that a caller chose: no address, subject, credential, unknown method or name.
 * Policy:  none
 * Refuses: nothing
 * Source:  OWASP API Security API4:2023; Prometheus, Instrumentation, "Do not overuse labels"
 */
export function createMetrics(): Metrics {
  const registry = new Registry()
  const registers = [registry]

  const metrics: Metrics = {
    registry,
    operations: new Histogram({
      name: 'mcp_server_operation_duration_seconds',
      help: 'From the arrival of an MCP request or notification to the end of its answer.',
      labelNames: OPERATION_LABELS,
      buckets: OPERATION_SECONDS,
      registers,
    }),
    requests: new Counter({
      name: 'gatehouse_requests_total',
      help: 'Requests of the public listener by status; 499: the client left before its answer.',
      labelNames: ['http_response_status_code'],
      registers,
    }),
    refusals: new Counter({
      name: 'gatehouse_refusals_total',
      help: 'Refused requests by reason.',
      labelNames: ['reason'],
      registers,
    }),
    throttles: new Counter({
      name: 'gatehouse_throttles_total',
      help: 'Requests over a limit by RateLimit policy.',
      labelNames: ['policy'],
      registers,
    }),
    authenticationFailures: new Counter({
      name: 'gatehouse_authentication_failures_total',
      help: 'Credentials that did not verify by cause; unavailable: nobody could tell.',
      labelNames: ['cause'],
      registers,
    }),
    tokenSkew: new Histogram({
      name: 'token_iat_skew_seconds',
      help: 'This clock minus iat of an access token when it is verified; negative: issued in the future.',
      buckets: SKEW_SECONDS,
      registers,
    }),
    egress: new Counter({
      name: 'gatehouse_egress_requests_total',
      help: 'Requests of tools to other services by outcome.',
      labelNames: ['outcome'],
      registers,
    }),
    keySetChanges: new Counter({
      name: 'gatehouse_key_set_changes_total',
      help: 'New sets of signature keys, the first included.',
      labelNames: ['issuer'],
      registers,
    }),
    reloads: new Counter({
      name: 'gatehouse_reloads_total',
      help: 'Policies, or files of credentials, that were read again.',
      labelNames: ['kind', 'outcome'],
      registers,
    }),
    faults: new Counter({
      name: 'gatehouse_faults_total',
      help: 'Errors that nobody handled.',
      labelNames: ['cause'],
      registers,
    }),
  }
  // A counter that begins with its first event hides that event from `increase()`.
  for (const reason of Object.keys({ ...DENIALS, ...PROTOCOL_ERRORS })) {
    metrics.refusals.inc({ reason }, 0)
  }
  for (const outcome of ['applied', 'refused']) {
    for (const kind of ['policy', 'keys']) metrics.reloads.inc({ kind, outcome }, 0)
  }
  for (const cause of ['unhandled-rejection', 'uncaught-exception'])
    metrics.faults.inc({ cause }, 0)
  return metrics
}
