import type { RequestFacts } from './audit/trail.ts'
import type { AppVariables } from './context.ts'
import { single } from './raw-headers.ts'

/** What every audit record about a request says of it. */
export function requestFacts(
  vars: Pick<AppVariables, 'requestId' | 'address' | 'headers'> & Partial<AppVariables>,
): RequestFacts {
  return {
    requestId: vars.requestId,
    address: vars.address,
    principal: vars.identity?.principal,
    credentialId: vars.identity?.credentialId ?? undefined,
    trace: traceOf(single(vars.headers, 'traceparent')),
  }
}

const TRACEPARENT = /^[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}$/

/** W3C Trace Context §3.2.2. The ids link records; they are the caller's word and decide nothing. */
function traceOf(traceparent: string | undefined): RequestFacts['trace'] {
  const [, traceId, spanId] = TRACEPARENT.exec(traceparent ?? '') ?? []
  return traceId === undefined || spanId === undefined ? undefined : { traceId, spanId }
}
