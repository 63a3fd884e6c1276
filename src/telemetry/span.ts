// optional: telemetry
import {
  type Attributes,
  context,
  createTraceState,
  type Link,
  type Span,
  type SpanContext,
  SpanKind,
  SpanStatusCode,
  type Tracer,
  trace,
} from '@opentelemetry/api'
import { cleanText } from '../audit/clean-text.ts'
import type { AppVariables } from '../context.ts'
import { REVISIONS } from '../mcp/era.ts'
import { single } from '../raw-headers.ts'
import { callerTrace, type TraceContext } from '../trace-context.ts'
import type { OperationEnd } from './operation-end.ts'

type RequestVariables = Pick<AppVariables, 'requestId' | 'startedAt' | 'headers' | 'message'>

/**
 * Threat:  A caller puts spans into a trace of somebody else, has everything recorded, or sends what
 *          spans must not hold.
 * Rule:    the trace of a caller is a link. It is the parent only where the operator trusts all callers
 *          with that. `baggage` is not read. Attributes are names of closed lists, of the catalog, and
 *          two ids; never arguments, results, resource URIs, subjects, addresses or messages of errors.
 * Config:  `MCP_TRUST_TRACE_CONTEXT`
 * Refuses: nothing
 * Source:  OpenTelemetry semantic conventions, MCP, Server; MCP 2026-07-28, SEP-414;
 *          W3C Trace Context §6.2 and §7
 *
 * @param method one of those that are known
 */
export function startSpan(
  tracer: Tracer,
  method: string,
  vars: RequestVariables,
  trustCallers: boolean,
): Span {
  const { parent, links } = origins(vars, trustCallers)
  const active = context.active()
  return tracer.startSpan(
    method,
    {
      kind: SpanKind.SERVER,
      attributes: attributesOf(method, vars),
      links,
      startTime: vars.startedAt,
    },
    parent === undefined ? active : trace.setSpanContext(active, parent),
  )
}

/** @returns the parent first, where it is not the active span; the others are links */
function origins(
  { headers, message: request }: RequestVariables,
  trustCallers: boolean,
): { readonly parent: SpanContext | undefined; readonly links: Link[] } {
  const claimed = callerTrace(headers, request)
  const message = claimed.message && spanContext(claimed.message, trustCallers)
  const header = claimed.header && spanContext(claimed.header, trustCallers)
  if (!trustCallers) return { parent: undefined, links: linksTo([message, header]) }
  // A span around this one is one of HTTP, which has read the header already.
  const around = trace.getSpanContext(context.active()) ?? header
  return message === undefined
    ? { parent: around, links: [] }
    : { parent: message, links: linksTo([around]) }
}

function linksTo(contexts: readonly (SpanContext | undefined)[]): Link[] {
  return contexts.flatMap((linked) => (linked === undefined ? [] : [{ context: linked }]))
}

/** `tracestate` is text of the caller's making: it comes along only from callers who are trusted. */
function spanContext({ state, ...ids }: TraceContext, trusted: boolean): SpanContext {
  const isRemote = true
  return trusted && state !== undefined
    ? { ...ids, isRemote, traceState: createTraceState(state) }
    : { ...ids, isRemote }
}

function attributesOf(
  method: string,
  { requestId, headers, message }: RequestVariables,
): Attributes {
  const version = single(headers, 'mcp-protocol-version')
  return {
    'mcp.method.name': method,
    ...(method === 'tools/call' && { 'gen_ai.operation.name': 'execute_tool' }),
    ...(message.id !== undefined && { 'jsonrpc.request.id': cleanText(String(message.id)) }),
    ...(REVISIONS.some((known) => known === version) && { 'mcp.protocol.version': version }),
    'network.transport': 'tcp',
    'network.protocol.name': 'http',
    'http.response.header.x-request-id': [requestId],
  }
}

/** Says how the operation has ended, and ends its span. */
export function endSpan(span: Span, method: string, end: OperationEnd): void {
  if (span.isRecording()) {
    const { target, outcome, errorType, refusal } = end
    if (target !== undefined) {
      span.updateName(`${method} ${target.name}`)
      span.setAttribute(`gen_ai.${target.kind}.name`, target.name)
    }
    span.setAttribute('gatehouse.outcome', outcome)
    if (refusal !== undefined) {
      span.setAttribute('gatehouse.refusal', refusal.reason)
      if (refusal.rpcCode !== null) {
        span.setAttribute('rpc.response.status_code', String(refusal.rpcCode))
      }
    }
    if (errorType !== undefined) {
      span.setAttribute('error.type', errorType)
      span.setStatus({ code: SpanStatusCode.ERROR, ...(refusal && { message: refusal.message }) })
    }
  }
  span.end(performance.now())
}
