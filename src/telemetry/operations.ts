// optional: telemetry
import { context, isSpanContextValid, type Tracer, trace } from '@opentelemetry/api'
import type { MiddlewareHandler } from 'hono'
import type { AppEnv, AppVariables } from '../context.ts'
import { METHODS } from '../controls/authorize.ts'
import { whenClosed } from '../when-closed.ts'
import type { Metrics, OperationLabel } from './metrics.ts'
import { type OperationEnd, type Outcome, operationEnd } from './operation-end.ts'
import { endSpan, startSpan } from './span.ts'

export interface OperationParts {
  readonly metrics: Metrics
  readonly tracer: Tracer
  /** Whether the trace that a caller names becomes that of its request. */
  readonly trustCallers: boolean
}

export interface Operations {
  /** Stands behind `parse-message`: what has no message is a refusal, and counted as one. */
  readonly telemetry: MiddlewareHandler<AppEnv>
  /** Notes how the operation of an open request has ended. */
  noteOutcome(requestId: string, outcome: Outcome): void
}

/** Measures each message from its arrival to the end of its answer, and runs it inside a span. */
export function operations({ metrics, tracer, trustCallers }: OperationParts): Operations {
  /** Of open requests alone. */
  const outcomes = new Map<string, Outcome | undefined>()
  const noteSkew = skewOf(metrics)

  return {
    async telemetry(c, next) {
      const { outgoing } = c.env
      const requestId = c.get('requestId')
      const startedAt = c.get('startedAt')
      const message = c.get('message')
      const method = knownMethod(message.method)
      const request = { requestId, startedAt, headers: c.get('headers'), message }
      const span = startSpan(tracer, method, request, trustCallers)
      const own = span.spanContext()
      if (isSpanContextValid(own)) c.set('trace', { traceId: own.traceId, spanId: own.spanId })
      noteSkew(c.get('identity'))
      outcomes.set(requestId, undefined)
      whenClosed(outgoing, () => {
        const left = { denied: c.get('denied'), operation: c.get('operation') }
        const end = operationEnd(left, outcomes.get(requestId), outgoing.headersSent)
        outcomes.delete(requestId)
        metrics.operations.observe(labelsOf(method, end), (performance.now() - startedAt) / 1000)
        endSpan(span, method, end)
      })
      await context.with(trace.setSpan(context.active(), span), next)
    },
    noteOutcome(requestId, outcome) {
      if (outcomes.has(requestId)) outcomes.set(requestId, outcome)
    },
  }
}

/** Names of others are the caller's, and one series each. */
function knownMethod(method: string): string {
  return METHODS.modern.has(method) || METHODS.legacy.has(method) ? method : '_OTHER'
}

function labelsOf(
  method: string,
  { target, outcome, errorType }: OperationEnd,
): Partial<Record<OperationLabel, string>> {
  return {
    mcp_method_name: method,
    ...(target && { [`gen_ai_${target.kind}_name`]: target.name }),
    ...(errorType !== undefined && { error_type: errorType }),
    outcome,
  }
}

/**
 * Each verification of a token once: while it is remembered its claims are the same object. A clock
 * that is off shows before it locks anybody out.
 */
function skewOf({ tokenSkew }: Metrics): (identity: AppVariables['identity']) => void {
  const seen = new WeakSet<object>()
  return function noteSkew({ claims }) {
    const { iat } = claims
    if (typeof iat !== 'number' || seen.has(claims)) return
    seen.add(claims)
    tokenSkew.observe(Date.now() / 1000 - iat)
  }
}
