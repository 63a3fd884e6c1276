import type { Authenticator } from './auth/authenticator.ts'
import { type Credential, CredentialFault } from './auth/strategy.ts'
import type { Clock } from './clock.ts'
import { Denied } from './errors.ts'

/** Why a credential does not hold any more. `revoked` is everything but the end of its time. */
export type HoldEnd = 'expired' | 'revoked'

/** What an open answer has of its credential: whether it still holds. */
export interface Hold {
  /** `ended` may run more than once. */
  onEnd(ended: (end: HoldEnd) => void): void
}

/** The credentials of all answers that are open. */
export interface Holds {
  /** @returns a hold on this credential, and what to call when the answer has ended */
  add(credential: Credential): { readonly hold: Hold; readonly release: () => void }
  /** Asks this one from now on; nothing is checked before. */
  use(authenticator: Pick<Authenticator, 'recheck'>): void
  /** Checks every open answer now. */
  check(): Promise<void>
  close(): void
}

/** How often open answers are checked, ms. */
const INTERVAL_MS = 10_000
/**
 * Credentials that are checked at the same time: half of what an issuer is asked at a time
 * (introspection), so that new callers find room.
 */
const AT_ONCE = 8

interface Held {
  readonly credential: Credential
  readonly listeners: Set<(end: HoldEnd) => void>
  answers: number
}

/** @see credentialWatch for the rule that it serves */
export function credentialHolds(clock: Clock): Holds {
  const held = new Map<string, Held>()
  let authenticator: Pick<Authenticator, 'recheck'> | undefined
  let cancel = (): void => undefined
  let closed = false

  async function check(): Promise<void> {
    const current = authenticator
    if (current === undefined) return
    const all = [...held.values()]
    while (all.length > 0) {
      await Promise.all(
        all.splice(0, AT_ONCE).map(async ({ credential, listeners }) => {
          const end = await endOf(current, credential)
          if (end === undefined) return
          for (const ended of listeners) ended(end)
        }),
      )
    }
  }

  function schedule(): void {
    cancel = clock.after(INTERVAL_MS, () => {
      void check().finally(() => {
        if (!closed) schedule()
      })
    })
  }
  schedule()

  return {
    add(credential) {
      const name = nameOf(credential)
      const entry: Held = held.get(name) ?? { credential, listeners: new Set(), answers: 0 }
      entry.answers += 1
      held.set(name, entry)
      const own: ((end: HoldEnd) => void)[] = []
      let released = false
      return {
        hold: {
          onEnd(ended) {
            own.push(ended)
            entry.listeners.add(ended)
          },
        },
        release() {
          if (released) return
          released = true
          for (const ended of own) entry.listeners.delete(ended)
          entry.answers -= 1
          if (entry.answers === 0) held.delete(name)
        },
      }
    },
    use(next) {
      authenticator = next
    },
    check,
    close() {
      closed = true
      cancel()
    },
  }
}

/** A key may be bound to networks and a token to a certificate, so the same text may not hold alike. */
function nameOf({ digest, address, certificate, scheme }: Credential): string {
  return JSON.stringify([digest, address, certificate, scheme])
}

/** @returns `undefined` while it holds, and while nothing can be said because the issuer is down. */
async function endOf(
  authenticator: Pick<Authenticator, 'recheck'>,
  credential: Credential,
): Promise<HoldEnd | undefined> {
  try {
    await authenticator.recheck(credential, Date.now())
    return undefined
  } catch (error) {
    if (!(error instanceof Denied && error.reason === 'authenticate.rejected')) return undefined
    const { cause } = error
    return cause instanceof CredentialFault && cause.fault === 'expired' ? 'expired' : 'revoked'
  }
}
