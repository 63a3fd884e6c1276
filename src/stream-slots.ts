import { Denied } from './errors.ts'
import type { LimitsPolicy } from './policy.ts'
import { concurrencyHeaders } from './rate-limit-headers.ts'
import type { SlotTables } from './slots.ts'
import type { WhenEnded } from './when-closed.ts'

/**
 * Takes a place for one more stream of an owner (`ownerKey`), until it has ended.
 *
 * @throws {Denied} 429 `call-limit.open-streams`, 503 `call-limit.streams`
 */
export type TakeStream = (owner: string, whenEnded: WhenEnded) => void

/** Counts the streams of each principal and of all, whatever opened them. */
export function streamSlots(
  policy: Pick<LimitsPolicy, 'principal' | 'streams'>,
  slotsOf: SlotTables,
): TakeStream {
  const ofPrincipals = slotsOf('principal-streams', policy.principal.openStreams)
  const ofAll = slotsOf('streams', policy.streams)

  return function takeStream(owner, whenEnded) {
    const own = ofPrincipals.take(owner)
    if (own === undefined) {
      const headers = concurrencyHeaders('principal', ofPrincipals.limit)
      throw new Denied('call-limit.open-streams', { headers })
    }
    whenEnded(own)
    const one = ofAll.take('all')
    if (one === undefined) throw new Denied('call-limit.streams', { headers: RETRY_SOON })
    whenEnded(one)
  }
}

const RETRY_SOON = { 'retry-after': '1' }
