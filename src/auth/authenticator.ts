import type { Identity } from '../context.ts'
import { Denied } from '../errors.ts'
import { type AuthStrategy, type Credential, CredentialFault, type Presented } from './strategy.ts'

/** Says who is calling, whichever kind of credential they have. */
export interface Authenticator {
  /** The caller, when that is known without I/O; see `AuthStrategy.recall`. */
  recall(credential: Credential, nowMs: number): Identity | undefined
  /** @throws {Denied} for every caller that is not proven; see `AuthStrategy.verify`. */
  verify(presented: Presented, nowMs: number): Promise<Identity>
  /** @throws {Denied} when the credential of an open stream does not hold any more. */
  recheck(credential: Credential, nowMs: number): Promise<Identity>
  /** Whether a caller who is proven is on the deny list. Known here, whatever becomes of an issuer. */
  denies(identity: Identity): boolean
}

/**
 * The ways to prove who is calling, behind one door. The first strategy that the credential belongs
 * to decides; none means a bad credential. Whoever is on the deny list is refused after that, on
 * every request.
 */
export function authenticator(
  strategies: readonly AuthStrategy[],
  denies: (identity: Identity) => boolean,
): Authenticator {
  async function first(
    ask: (strategy: AuthStrategy) => Promise<Identity | undefined>,
  ): Promise<Identity> {
    for (const strategy of strategies) {
      const identity = await ask(strategy)
      if (identity === undefined) continue
      if (denies(identity)) throw rejected('denied')
      return identity
    }
    throw rejected('shape')
  }

  return {
    recall(credential, nowMs) {
      for (const strategy of strategies) {
        const identity = strategy.recall(credential, nowMs)
        if (identity !== undefined) return denies(identity) ? undefined : identity
      }
      return undefined
    },
    verify: (presented, nowMs) => first((strategy) => strategy.verify(presented, nowMs)),
    recheck: (credential, nowMs) => first((strategy) => strategy.recheck(credential, nowMs)),
    denies,
  }
}

function rejected(fault: 'denied' | 'shape'): Denied {
  return new Denied('authenticate.rejected', { cause: new CredentialFault(fault) })
}
