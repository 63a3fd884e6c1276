import type { MiddlewareHandler } from 'hono'
import { decide, type Rules } from '../access/rules.ts'
import { findTarget } from '../access/target.ts'
import type { AuditEvent, AuditTrail } from '../audit/trail.ts'
import type { AppEnv, AppVariables, Era, Message, Operation } from '../context.ts'
import type { Catalog } from '../define.ts'
import { Denied } from '../errors.ts'
import { requestFacts } from '../request-facts.ts'
import { whenClosed } from '../when-closed.ts'

export interface AuthorizeOptions {
  readonly rules: Rules
  readonly catalog: Catalog
  /** Required of every caller. */
  readonly baseScope: string
  readonly trail: AuditTrail
  /** `WWW-Authenticate` that names the scopes an operation takes. */
  readonly challenge: (scopes: readonly string[]) => string
}

/**
 * Threat:  A caller uses what it may not, or is checked on one thing and runs another.
 * Rule:    default deny. The method is one that its era has; then the tool, resource or prompt is
 *          looked up by the name in the body, its input parsed once by its own schema and frozen,
 *          and its rule decides on exactly that input. The decision is on record before it counts.
 * Policy:  policies/access.yaml; policies/auth.yaml `baseScope`
 * Refuses: 404 `authorize.unknown-method`; 403 `authorize.missing-scope` with all scopes of the
 *          operation, `authorize.condition`
 * Source:  MCP 2026-07-28 Authorization, Scope challenge; RFC 6750 §3.1; OWASP ASVS 5.0 8.2.1, 15.4.2
 */
export function authorize(options: AuthorizeOptions): MiddlewareHandler<AppEnv> {
  const { baseScope, trail, challenge } = options
  const find = findTarget(options.catalog, options.rules)

  function missingScope(scopes: readonly string[]): Denied {
    return new Denied('authorize.missing-scope', {
      headers: { 'www-authenticate': challenge(scopes) },
    })
  }

  /** @throws {Denied} when the rule says no, or when its yes cannot be put on record. */
  async function decideOn({ rule, parsed, facts }: Operation, vars: AppVariables): Promise<void> {
    const verdict = decide(rule, {
      identity: vars.identity,
      args: parsed.value,
      request: { ip: vars.address, era: vars.era },
      nowMs: Date.now(),
    })
    if (verdict.allowed) {
      const decision = { ...facts, event: 'decision', allowed: true, reason: undefined } as const
      return trail.commit(decision, notRun(facts))
    }
    const { reason } = verdict
    trail.write({ ...facts, event: 'decision', allowed: false, reason })
    throw reason === 'authorize.missing-scope' ? missingScope(rule.scopes) : new Denied(reason)
  }

  return async function authorize(c, next) {
    const message = c.get('message')
    const { principal } = c.get('identity')
    const era = c.get('era')
    if (
      !METHODS[era].has(message.method) ||
      isNotification(message) !== (message.id === undefined)
    ) {
      throw new Denied('authorize.unknown-method')
    }
    const target = find(message)
    if (target === undefined) {
      if (!principal.scopes.includes(baseScope)) throw missingScope([baseScope])
      await next()
      return
    }
    const { hmac, bytes } = trail.digest(target.args)
    const operation: Operation = {
      rule: target.rule,
      parsed: target.parsed,
      facts: {
        ...requestFacts(c.var),
        method: message.method,
        name: target.rule.name,
        rpcId: message.id,
        era,
        argsHmac: hmac,
        argsBytes: bytes,
      },
      started: false,
    }
    await decideOn(operation, c.var)
    c.set('operation', operation)
    await next()
    whenClosed(c.env.outgoing, () => recordIfNotRun(trail, operation))
  }
}

/** Names that a target decides on are among them, and notifications of clients. */
const SHARED_METHODS = [
  'tools/list',
  'tools/call',
  'resources/list',
  'resources/templates/list',
  'resources/read',
  'prompts/list',
  'prompts/get',
  'notifications/initialized',
  'notifications/cancelled',
  'notifications/progress',
  'notifications/roots/list_changed',
]

/** Whatever is not here is unknown. */
export const METHODS: Readonly<Record<Era, ReadonlySet<string>>> = {
  modern: new Set([...SHARED_METHODS, 'server/discover', 'subscriptions/listen']),
  legacy: new Set([...SHARED_METHODS, 'initialize', 'ping', 'logging/setLevel']),
}

function isNotification(message: Message): boolean {
  return message.method.startsWith('notifications/')
}

/** A call that was allowed and never began (a limit, wrong arguments, a lost client) has an end too. */
function recordIfNotRun(trail: AuditTrail, { facts, started }: Operation): void {
  if (!started) trail.write(notRun(facts))
}

function notRun(facts: Operation['facts']): AuditEvent {
  return {
    ...facts,
    event: 'outcome',
    outcome: 'not-run',
    durationMs: 0,
    resultSha256: undefined,
    progressCount: 0,
  }
}
