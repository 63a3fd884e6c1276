import type { MiddlewareHandler } from 'hono'
import type { AuditTrail } from '../audit/trail.ts'
import type { AppEnv, AppVariables } from '../context.ts'
import { Denied, type RefusalName } from '../errors.ts'
import type { RateLimitName } from '../rate-limit-headers.ts'
import { requestFacts } from '../request-facts.ts'

/**
 * Threat:  Something happens that nobody can find out about afterwards.
 * Rule:    one record for every request, refused ones included, when its answer has ended, however
 *          it ended. While the trail cannot be written and policy says `refuse`, nothing is served.
 * Policy:  policies/audit.yaml `onSinkFailure`
 * Refuses: 503 `audit.sink-broken`
 * Source:  OWASP ASVS 5.0 16.2.1, 16.3.1 to 16.3.3; NIST SP 800-53 AU-5, AU-12
 */
export function audit(trail: AuditTrail): MiddlewareHandler<AppEnv> {
  return async function audit(c, next) {
    const { incoming, outgoing, isRefused } = c.env
    const httpMethod = incoming.method ?? ''
    outgoing.once('close', () => {
      if (isRefused?.()) return
      const status = outgoing.headersSent ? outgoing.statusCode : NOT_ANSWERED
      recordRequest(trail, c.var, httpMethod, status)
    })
    if (!trail.ready()) throw new Denied('audit.sink-broken', { headers: { 'retry-after': '5' } })
    await next()
  }
}

/** The limit behind each 429, by the name that its `RateLimit` header carries. */
const LIMITS: ReadonlyMap<RefusalName | undefined, RateLimitName> = new Map([
  ['address-limit.exceeded', 'address'],
  ['authenticate.throttled', 'address-auth'],
  ['principal-limit.rate', 'principal'],
  ['principal-limit.concurrency', 'principal'],
  ['principal-calls.concurrency', 'principal'],
  ['call-limit.rate', 'tool'],
  ['call-limit.concurrency', 'tool'],
  ['call-limit.open-streams', 'principal'],
  ['session-guard.per-principal', 'principal'], // optional: legacy-sessions
])

/** The client left before there was an answer. */
const NOT_ANSWERED = 499

export function recordRequest(
  trail: AuditTrail,
  vars: Pick<AppVariables, 'requestId' | 'startedAt' | 'address' | 'headers' | 'path'> &
    Partial<AppVariables>,
  httpMethod: string,
  status: number,
): void {
  const facts = requestFacts(vars)
  const { path, message, denied: reason } = vars
  const durationMs = performance.now() - vars.startedAt
  trail.write({
    ...facts,
    event: 'request',
    httpMethod,
    path,
    method: message?.method,
    status,
    reason,
    durationMs,
  })
  const policy = status === 429 ? LIMITS.get(reason) : undefined
  if (policy !== undefined && reason !== undefined) {
    trail.write({ ...facts, event: 'throttle', reason, policy })
  }
}
