// optional: legacy-sessions
import { randomBytes } from 'node:crypto'
import type { Clock } from '../../clock.ts'
import { Denied } from '../../errors.ts'
import type { HttpPolicy } from '../../policy.ts'
import { concurrencyHeaders } from '../../rate-limit-headers.ts'
import type { SlotTables } from '../../slots.ts'
import type { Session, SessionOptions } from './session.ts'

/** Makes a session of what the registry says of it. */
type Make = (bounds: Pick<SessionOptions, 'id' | 'ended' | Bound>) => Promise<Session>
type Bound = 'idleSeconds' | 'absoluteSeconds'

/** The living sessions of this process. */
export interface SessionRegistry {
  /** @returns the session of this id, path and owner (`ownerKey`), if it lives */
  find(id: string, path: string, owner: string): Session | undefined
  /** @throws {Denied} `session-guard.per-principal`, `session-guard.total`. The living stay. */
  begin(owner: string, make: Make): Promise<Session>
  /** Ends all of them at once. */
  close(): void
}

/** 256 bits. */
const ID_BYTES = 32
/** How often sessions are looked at, ms. */
const SWEEP_MS = 1000

export function sessionRegistry(
  { idleSeconds, absoluteSeconds, perPrincipal, total }: HttpPolicy['sessions'],
  slotsOf: SlotTables,
  clock: Clock,
): SessionRegistry {
  const ofPrincipals = slotsOf('principal-sessions', perPrincipal)
  const ofAll = slotsOf('sessions', total)
  const sessions = new Map<string, { readonly session: Session; readonly owner: string }>()
  let cancel = (): void => undefined

  function sweep(): void {
    for (const { session } of sessions.values()) session.sweep()
    cancel = clock.after(SWEEP_MS, sweep)
  }
  sweep()

  return {
    find(id, path, owner) {
      sessions.get(id)?.session.sweep()
      const found = sessions.get(id)
      return found?.owner === owner && found.session.path === path ? found.session : undefined
    },
    async begin(owner, make) {
      const own = ofPrincipals.take(owner)
      if (own === undefined) {
        const headers = concurrencyHeaders('principal', perPrincipal)
        throw new Denied('session-guard.per-principal', { headers })
      }
      const one = ofAll.take('all')
      const id = randomBytes(ID_BYTES).toString('base64url')
      const ended = (): void => {
        sessions.delete(id)
        own()
        one?.()
      }
      if (one === undefined) {
        ended()
        throw new Denied('session-guard.total', { headers: { 'retry-after': '5' } })
      }
      try {
        const session = await make({ id, idleSeconds, absoluteSeconds, ended })
        sessions.set(id, { session, owner })
        return session
      } catch (error) {
        ended()
        throw error
      }
    },
    close() {
      cancel()
      for (const { session } of [...sessions.values()]) session.cut()
    },
  }
}
