import type { Authenticator } from './auth/authenticator.ts'
import { type Credential, CredentialFault } from './auth/strategy.ts'
import type { Clock } from './clock.ts'
import type { Identity } from './context.ts'
import { Denied } from './errors.ts'

/** Why a credential does not hold any more. `revoked` is everything but the end of its time. */
export type HoldEnd = 'expired' | 'revoked'

/** What an open answer has of its credential: whether it still holds. */
export interface Hold {
  /** `ended` may run more than once. */
  onEnd(ended: (end: HoldEnd) => void): void
}

/** Who decides whether a credential still holds. */
type Judge = Pick<Authenticator, 'recheck' | 'denies'>

/** The credentials of all answers that are open. */
export interface Holds {
  /**
   * @param identity whose credential it is, as just verified
   * @returns a hold on this credential, and what to call when the answer has ended
   */
  add(
    credential: Credential,
    identity: Identity,
  ): { readonly hold: Hold; readonly release: () => void }
  /** Asks this one from now on; nothing is checked before. */
  use(judge: Judge): void
  /**
   * Checks every open answer now. Credentials of an issuer that the same judge still waits for have
   * their turn in its next round.
   */
  check(): Promise<void>
  close(): void
}

/** How often open answers are checked, ms. */
const INTERVAL_MS = 10_000
/**
 * Credentials of one issuer that are checked at the same time: half of what an issuer is asked at a
 * time (introspection), so that new callers find room.
 */
const AT_ONCE = 8

interface Held {
  readonly credential: Credential
  readonly identity: Identity
  readonly listeners: Set<(end: HoldEnd) => void>
  answers: number
}

/** @see credentialWatch for the rule that it serves */
export function credentialHolds(clock: Clock): Holds {
  const held = new Map<string, Held>()
  /** Issuers whose credentials are being verified, and for whom. */
  const rounds = new Map<string, Judge>()
  let judge: Judge | undefined
  let cancel = (): void => undefined

  async function check(): Promise<void> {
    const current = judge
    if (current === undefined) return
    const others: Held[] = []
    // What is known here does not wait for any issuer, nor one issuer for another.
    for (const one of held.values()) {
      if (current.denies(one.identity)) tell(one, 'revoked')
      else others.push(one)
    }
    const byIssuer = Map.groupBy(others, ({ identity }) => identity.principal.issuer)
    await Promise.all([...byIssuer].map(([issuer, some]) => verify(issuer, some, current)))
  }

  /** Verifies credentials of one issuer, unless that goes on already, and until others decide. */
  async function verify(issuer: string, left: Held[], current: Judge): Promise<void> {
    if (rounds.get(issuer) === current) return
    rounds.set(issuer, current)
    const isLatest = (): boolean => rounds.get(issuer) === current
    try {
      while (left.length > 0 && isLatest()) {
        await Promise.all(
          left.splice(0, AT_ONCE).map(async (one) => {
            const end = await endOf(current, one.credential)
            if (end !== undefined) tell(one, end)
          }),
        )
      }
    } finally {
      if (isLatest()) rounds.delete(issuer)
    }
  }

  /** However long a round takes, the next one begins in time. */
  function schedule(): void {
    cancel = clock.after(INTERVAL_MS, () => {
      schedule()
      void check()
    })
  }
  schedule()

  return {
    add(credential, identity) {
      const name = nameOf(credential)
      const entry = held.get(name) ?? { credential, identity, listeners: new Set(), answers: 0 }
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
      judge = next
    },
    check,
    close() {
      cancel()
    },
  }
}

function tell({ listeners }: Held, end: HoldEnd): void {
  for (const ended of listeners) ended(end)
}

/** A key may be bound to networks and a token to a certificate, so the same text may not hold alike. */
function nameOf({ digest, address, certificate, scheme }: Credential): string {
  return JSON.stringify([digest, address, certificate, scheme])
}

/** @returns `undefined` while it holds, and while nothing can be said because the issuer is down. */
async function endOf(
  judge: Pick<Judge, 'recheck'>,
  credential: Credential,
): Promise<HoldEnd | undefined> {
  try {
    await judge.recheck(credential, Date.now())
    return undefined
  } catch (error) {
    if (!(error instanceof Denied && error.reason === 'authenticate.rejected')) return undefined
    const { cause } = error
    return cause instanceof CredentialFault && cause.fault === 'expired' ? 'expired' : 'revoked'
  }
}
