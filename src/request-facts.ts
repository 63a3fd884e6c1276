import type { RequestFacts } from './audit/trail.ts'
import type { AppVariables } from './context.ts'
import { callerTrace } from './trace-context.ts'

/** What every audit record about a request says of it. */
export function requestFacts(
  vars: Pick<AppVariables, 'requestId' | 'address' | 'headers'> & Partial<AppVariables>,
): RequestFacts {
  return {
    requestId: vars.requestId,
    address: vars.address,
    principal: vars.identity?.principal,
    credentialId: vars.identity?.credentialId ?? undefined,
    trace: traceOf(vars),
    ...(vars.trace && { trace: vars.trace }), // optional: telemetry
  }
}

/** Their message is closer to the call than the headers, which any hop may have changed. */
function traceOf({
  headers,
  message,
}: Pick<AppVariables, 'headers'> & Partial<AppVariables>): RequestFacts['trace'] {
  const { message: inMessage, header } = callerTrace(headers, message)
  const trace = inMessage ?? header
  return trace && { traceId: trace.traceId, spanId: trace.spanId }
}
