import type { MiddlewareHandler } from 'hono'
import { decide, type Rules } from '../access/rules.ts'
import { findTarget, followedResources, MAX_FOLLOWED, type Target } from '../access/target.ts'
import type { AuditEvent, AuditTrail } from '../audit/trail.ts'
import type { Credential } from '../auth/strategy.ts'
import type { AppEnv, AppVariables, Era, Message, Operation } from '../context.ts'
import type { Catalog } from '../define.ts'
import { Denied } from '../errors.ts'
import { requestFacts } from '../request-facts.ts'
import { whenDone } from '../when-closed.ts'

export interface AuthorizeOptions {
  readonly rules: Rules
  readonly catalog: Catalog
  /** Required of every caller. */
  readonly baseScope: string
  readonly trail: AuditTrail
  /** `WWW-Authenticate` that names the scopes an operation takes. */
  readonly challenge: (scopes: readonly string[], scheme: Credential['scheme']) => string
  /** Whether all messages come over one connection, on which a client hears later what has changed. */
  readonly isConnection?: boolean
}

/**
 * Threat:  A caller uses what it may not, or is checked on one thing and runs another.
 * Rule:    default deny. The method is one that its era has; then the tool, resource or prompt is
 *          looked up by the name in the body, its input parsed once by its own schema and frozen,
 *          and its rule decides on exactly that input. The decision is on record before it counts.
 *          A stream is refused when it follows a resource that its caller may not read: each one is a
 *          decision, whose end is that of the stream.
 * Policy:  policies/access.yaml; policies/auth.yaml `baseScope`
 * Refuses: 404 `authorize.unknown-method`; 403 `authorize.missing-scope` with all scopes of the
 *          operation, `authorize.condition`; a stream that names too many resources, as
 *          `call-limit` does
 * Source:  MCP 2026-07-28 Authorization, Scope challenge; RFC 6750 §3.1; OWASP ASVS 5.0 8.2.1, 15.4.2
 */
export function authorize(options: AuthorizeOptions): MiddlewareHandler<AppEnv> {
  const authorized = authorizer(options)

  return async function authorize(c, next) {
    const operation = await authorized(c.var)
    c.set('operation', operation)
    await next()
    if (operation === undefined) return
    whenDone(c.env.outgoing, () => recordIfNotRun(options.trail, operation))
  }
}

/**
 * The decision alone, for messages on whatever transport. Whoever asks calls `recordIfNotRun` when the
 * message has ended.
 *
 * @returns what was decided on; `undefined` for a message that uses nothing
 */
export type Authorize = (vars: Readonly<AppVariables>) => Promise<Operation | undefined>

export function authorizer(options: AuthorizeOptions): Authorize {
  const { baseScope, trail, challenge } = options
  const find = findTarget(options.catalog, options.rules)

  function missingScope(
    scopes: readonly string[],
    { credential }: Pick<AppVariables, 'credential'>,
  ): Denied {
    return new Denied('authorize.missing-scope', {
      headers: { 'www-authenticate': challenge(scopes, credential?.scheme ?? 'bearer') },
    })
  }

  /** @throws {Denied} when the rule says no, or when its yes cannot be put on record. */
  async function decideOn(
    { rule, parsed, facts }: Operation,
    vars: Readonly<AppVariables>,
  ): Promise<void> {
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
    throw reason === 'authorize.missing-scope'
      ? missingScope(rule.scopes, vars)
      : new Denied(reason)
  }

  return async function authorized(vars) {
    const { message, era } = vars
    const { principal } = vars.identity
    let lasts = options.isConnection === true
    lasts ||= vars.session !== undefined // optional: legacy-sessions
    const isKnown =
      METHODS[era].has(message.method) ||
      (lasts && era === 'legacy' && IN_CONNECTIONS.has(message.method))
    if (!isKnown || isNotification(message) !== (message.id === undefined)) {
      if (vars.session !== undefined) throw new Denied('session-guard.unknown-method') // optional: legacy-sessions
      throw new Denied('authorize.unknown-method')
    }
    const target = find(message)
    if (target === undefined) {
      if (!principal.scopes.includes(baseScope)) throw missingScope([baseScope], vars)
      const named = followedResources(message)
      // Before the decisions, each of which would be a record.
      if (named.length > MAX_FOLLOWED) throw new Denied('call-limit.subscriptions')
      const followed = [...new Set(named)]
        .map((uri) => find({ ...message, method: 'resources/read', params: { uri } }))
        .filter((resource) => resource !== undefined)
      await Promise.all(followed.map((resource) => decideOn(operationOn(resource, vars), vars)))
      return undefined
    }
    const operation = operationOn(target, vars)
    await decideOn(operation, vars)
    return operation
  }

  function operationOn({ rule, parsed, args }: Target, vars: Readonly<AppVariables>): Operation {
    const { hmac, bytes } = trail.digest(args)
    return {
      rule,
      parsed,
      facts: {
        ...requestFacts(vars),
        method: vars.message.method,
        name: rule.name,
        rpcId: vars.message.id,
        era: vars.era,
        argsHmac: hmac,
        argsBytes: bytes,
      },
      started: false,
    }
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
  'completion/complete',
  'notifications/initialized',
  'notifications/cancelled',
  'notifications/progress',
  'notifications/roots/list_changed',
]

/** Whatever is not here is unknown. */
export const METHODS: Readonly<Record<Era, ReadonlySet<string>>> = {
  modern: new Set([
    ...SHARED_METHODS,
    'server/discover',
    'subscriptions/listen',
    ...['tasks/get', 'tasks/update', 'tasks/cancel'], // optional: tasks
  ]),
  legacy: new Set([...SHARED_METHODS, 'initialize', 'ping', 'logging/setLevel']),
}

/** What only a client of a 2025 revision can ask whose connection or session lasts. */
const IN_CONNECTIONS = new Set(['resources/subscribe', 'resources/unsubscribe'])

function isNotification(message: Message): boolean {
  return message.method.startsWith('notifications/')
}

/** A call that was allowed and never began (a limit, wrong arguments, a lost client) has an end too. */
export function recordIfNotRun(trail: AuditTrail, { facts, started }: Operation): void {
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
