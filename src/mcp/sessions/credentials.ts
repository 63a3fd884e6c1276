// optional: legacy-sessions
import type { AppVariables } from '../../context.ts'
import type { Holds } from '../../holds.ts'

/** Credentials that one session remembers: short tokens come and go. */
const REMEMBERED = 4

/** The credentials that have used one session and still hold. */
export interface SessionCredentials {
  note(request: Pick<AppVariables, 'credential' | 'identity'>): void
  release(): void
}

/** @param revoked runs when the last one of them is revoked. One that expires is forgotten. */
export function credentialsOf(holds: Pick<Holds, 'add'>, revoked: () => void): SessionCredentials {
  /** What lets go of each, by digest, the latest last. */
  const held = new Map<string, () => void>()

  function forget(digest: string): void {
    held.get(digest)?.()
    held.delete(digest)
  }

  return {
    note({ credential, identity }) {
      if (credential === undefined) return // An anonymous caller of development.
      const { digest } = credential
      const known = held.get(digest)
      held.delete(digest)
      if (known !== undefined) {
        held.set(digest, known)
        return
      }
      const { hold, release } = holds.add(credential, identity)
      held.set(digest, release)
      hold.onEnd((end) => {
        forget(digest)
        if (end === 'revoked' && held.size === 0) revoked()
      })
      const [oldest] = held.keys()
      if (held.size > REMEMBERED && oldest !== undefined) forget(oldest)
    },
    release() {
      for (const digest of [...held.keys()]) forget(digest)
    },
  }
}
