import type { MiddlewareHandler } from 'hono'
import type { AppEnv, Identity, Message } from '../context.ts'
import { Denied } from '../errors.ts'
import { ownerKey } from '../owner-key.ts'
import type { LimitsPolicy } from '../policy.ts'
import { concurrencyHeaders } from '../rate-limit-headers.ts'
import type { SlotTables } from '../slots.ts'
import { whenDone } from '../when-closed.ts'

/**
 * Threat:  One authenticated caller keeps everything busy with calls that do not end.
 * Rule:    calls at the same time, by principal. A slot is held until the answer has ended, however it
 *          ended, and the tool with it: leaving a call whose tool goes on makes no room for another
 *          one before the deadline of that tool. A stream gives it back before, for a slot of its own
 *          (`call-limit`). A notification takes none, nor does an answer in a session: callers whose
 *          calls hold every slot can still cancel one, and answer what it asks.
 * Policy:  policies/limits.yaml `principal.concurrentCalls`
 * Refuses: 429 `principal-calls.concurrency`
 * Source:  MCP 2026-07-28 Tools, Security; OWASP API Security API4:2023
 */
export function principalCalls(
  policy: Pick<LimitsPolicy, 'principal'>,
  slotsOf: SlotTables,
): MiddlewareHandler<AppEnv> {
  const takeSlot = callSlots(policy, slotsOf)

  return async function principalCalls(c, next) {
    const release = takeSlot(c.get('message'), c.get('identity'))
    if (release !== undefined) {
      c.get('release')()
      c.set('release', release)
      whenDone(c.env.outgoing, release)
    }
    await next()
  }
}

/**
 * A slot for a message, on whatever transport.
 *
 * @returns its release; `undefined` for a message that takes none
 * @throws {Denied} `principal-calls.concurrency`
 */
export type TakeCallSlot = (
  message: Message,
  identity: Pick<Identity, 'principal'>,
) => (() => void) | undefined

export function callSlots(
  { principal: { concurrentCalls } }: Pick<LimitsPolicy, 'principal'>,
  slotsOf: SlotTables,
): TakeCallSlot {
  const slots = slotsOf('principal-calls', concurrentCalls)

  return function takeSlot(message, { principal }) {
    if (message.id === undefined) return undefined
    const release = slots.take(ownerKey(principal))
    if (release !== undefined) return release
    throw new Denied('principal-calls.concurrency', {
      headers: concurrencyHeaders('principal', concurrentCalls),
    })
  }
}
