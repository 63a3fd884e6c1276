import type { MiddlewareHandler } from 'hono'
import type { Rule, Rules } from '../access/rules.ts'
import { followedResources, MAX_FOLLOWED } from '../access/target.ts'
import type { AppEnv, AppVariables, Message } from '../context.ts'
import { Denied } from '../errors.ts'
import { ownerKey } from '../owner-key.ts'
import type { LimitsPolicy } from '../policy.ts'
import { concurrencyHeaders, rateLimitHeaders } from '../rate-limit-headers.ts'
import type { Slots, SlotTables } from '../slots.ts'
import type { Limiter, Store } from '../stores/store.ts'
import { streamSlots } from '../stream-slots.ts'
import { type WhenEnded, whenDone } from '../when-closed.ts'

/**
 * Threat:  One caller keeps an expensive tool busy, or collects streams that never end.
 * Rule:    calls of a tool a minute and at the same time, by principal; `subscriptions/listen`
 *          streams by principal and in total, in place of a slot for calls. A slot is held until
 *          the answer has ended, and the tool with it or its deadline. What a stream asks for stays in memory with it, so a stream names
 *          at most 100 resources, in a message of at most 16 KiB.
 * Policy:  policies/access.yaml `callsPerMinutePerPrincipal`, `concurrentCallsPerPrincipal`;
 *          policies/limits.yaml `principal.openStreams`, `streams`
 * Refuses: 429 `call-limit.rate`, `call-limit.concurrency`, `call-limit.open-streams`;
 *          503 `call-limit.streams`; 400 `call-limit.subscriptions`
 * Source:  MCP 2026-07-28 Tools, Security ("rate limit tool invocations"); OWASP API4:2023
 */
export function callLimit(
  store: Store,
  policy: Pick<LimitsPolicy, 'principal' | 'streams'>,
  rules: Rules,
  slotsOf: SlotTables,
): MiddlewareHandler<AppEnv> {
  const limited = callLimiter(store, policy, rules, slotsOf)

  return async function callLimit(c, next) {
    const call = {
      message: c.get('message'),
      operation: c.get('operation'),
      identity: c.get('identity'),
      release: c.get('release'),
    }
    await limited(call, (run) => whenDone(c.env.outgoing, run))
    await next()
  }
}

/** The limits alone, for messages on whatever transport. */
export type LimitCall = (
  vars: Pick<AppVariables, 'message' | 'operation' | 'identity' | 'release'>,
  whenEnded: WhenEnded,
) => Promise<void>

export function callLimiter(
  store: Store,
  policy: Pick<LimitsPolicy, 'principal' | 'streams'>,
  rules: Rules,
  slotsOf: SlotTables,
): LimitCall {
  const entries = [...rules.tools.values(), ...rules.resources.values(), ...rules.prompts.values()]
  const budgets = new Map(entries.map((rule) => [rule, budgetOf(rule, store, slotsOf)]))
  const takeStream = streamSlots(policy, slotsOf)

  return async function limited(vars, whenEnded) {
    const { message, operation } = vars
    const owner = ownerKey(vars.identity.principal)
    const budget = operation === undefined ? undefined : budgets.get(operation.rule)
    if (budget !== undefined) {
      await countCall(budget, owner)
      whenEnded(takeSlot(budget.calls, owner))
    }
    if (message.method === 'subscriptions/listen') {
      checkSubscriptions(message)
      takeStream(owner, whenEnded)
      vars.release()
    }
  }
}

const LISTEN_BYTES = 16_384

function checkSubscriptions(message: Message): void {
  const isTooMuch = Buffer.byteLength(JSON.stringify(message)) > LISTEN_BYTES
  if (followedResources(message).length > MAX_FOLLOWED || isTooMuch) {
    throw new Denied('call-limit.subscriptions')
  }
}

interface CallBudget {
  readonly rate: { readonly limit: number; readonly limiter: Limiter } | undefined
  readonly calls: Slots
}

/** A tool without limits of its own has those of the principal, and no table of counters. */
function budgetOf(rule: Rule, store: Store, slotsOf: SlotTables): CallBudget {
  const limit = rule.callsPerMinutePerPrincipal
  const name = `${rule.kind}:${rule.name}`
  return {
    rate:
      limit === undefined
        ? undefined
        : { limit, limiter: store.limiter({ name, limit, windowSeconds: 60 }) },
    calls: slotsOf(name, rule.concurrentCallsPerPrincipal ?? Number.POSITIVE_INFINITY),
  }
}

async function countCall({ rate }: CallBudget, owner: string): Promise<void> {
  if (rate === undefined) return
  const budget = await rate.limiter.hit(owner)
  if (budget.allowed) return
  const headers = rateLimitHeaders('tool', rate.limit, 60, budget)
  throw new Denied('call-limit.rate', { headers })
}

function takeSlot(all: Slots, owner: string): () => void {
  const release = all.take(owner)
  if (release !== undefined) return release
  throw new Denied('call-limit.concurrency', { headers: concurrencyHeaders('tool', all.limit) })
}
