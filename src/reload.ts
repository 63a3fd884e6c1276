import { isDeepStrictEqual } from 'node:util'
import { createApp } from './app.ts'
import { type Assembly, assemble } from './assemble.ts'
import type { Reload, ReloadDigests } from './audit/trail.ts'
import { clientSecretFiles } from './auth/configured-introspection.ts' // optional: introspection
import { egressCredentialFiles } from './egress-rules.ts'
import { filesDigest, watchFiles } from './file-watch.ts'
import type { LastingParts } from './lasting.ts'
import type { PublicListener } from './listen.ts'
import type { LogFields } from './log.ts'
import { loadPolicies, type Policies } from './policy.ts'
import { type Problem, Problems } from './problems.ts'

export interface Reloading {
  /** What is in force. */
  current(): Assembly
  /**
   * Since when what the files say is not in force, because it was refused, ms since the epoch.
   * `undefined` when all is in force that was read.
   */
  refusedSince(event: Reload['event']): number | undefined
  /** Reads everything again: policies, keys, denials, certificates. */
  reload(): Promise<void>
  /** Nothing is read from now on. What is in force stays. */
  close(): void
}

/**
 * Reads policies and credentials again while the server runs.
 *
 * Everything is read and checked whole, a new app is built over the lasting parts, and one reference
 * is swapped: requests in flight keep the app that they began with, the token cache starts empty, and
 * open answers are authorized again. What is wrong in any file changes nothing. Files are digested
 * before they are read, so that a change in between is seen by the next look and no revocation is lost.
 *
 * @param first policies that are in force from now on; the app that stands on them is not served here
 * @throws {Problems} as `assemble` does
 */
export function reloading(
  lasting: LastingParts,
  listener: Pick<PublicListener, 'serve' | 'secure'>,
  first: Policies,
): Reloading {
  const { config, trail, logger, clock } = lasting
  let inForce = digestsOf(first)
  let known = inForce.files
  const refused = new Map<Reload['event'], number>()
  let current = assemble(lasting, first)
  listener.secure() // It was bound with what the files held before they were digested.
  lasting.holds.use(current.authenticator)
  let queue: Promise<void> = Promise.resolve()
  let closed = false

  function digestsOf(policies: Policies): ReloadDigests {
    const files = [
      ...watchedFiles(config),
      ...clientSecretFiles(policies.auth), // optional: introspection
      ...egressCredentialFiles(policies.egress),
    ]
    return { policies: policies.digest, files: filesDigest(files) }
  }

  /** @throws {Problems} and whatever else goes wrong: what is in force stays in force. */
  function replace(policies: Policies): void {
    refuseRestartOnly(current.policies, policies)
    const next = assemble(lasting, policies)
    try {
      const app = createApp(next.parts)
      listener.secure()
      listener.serve(app)
    } catch (error) {
      next.close()
      throw error
    }
    current.close()
    current = next
    lasting.holds.use(next.authenticator)
  }

  async function attempt(event: Reload['event'], read: () => Policies): Promise<void> {
    if (closed) return
    const from = inForce
    let to: ReloadDigests | undefined
    known = digestsOf(current.policies).files
    try {
      const policies = read()
      to = digestsOf(policies)
      replace(policies)
    } catch (error) {
      // Policies that are those in force are not what was refused.
      const blocked = to?.policies === from.policies ? 'keys.reload' : event
      if (!refused.has(blocked)) refused.set(blocked, Date.now())
      trail.write({ event, outcome: 'refused', from, to })
      logger.error('Read again and refused: nothing has changed', factsOf(error))
      return
    }
    inForce = to
    known = to.files
    refused.delete('keys.reload') // Every reload reads these files.
    refused.delete(event)
    trail.write({ event, outcome: 'applied', from, to })
    logger.info('Read again and in force')
    void authorizeAgain(from.policies !== to.policies)
  }

  /** Nobody waits for it: an issuer that is slow must not hold up the next revocation. */
  async function authorizeAgain(policiesChanged: boolean): Promise<void> {
    await lasting.holds.check()
    if (policiesChanged) lasting.changes.policiesChanged()
  }

  /** One after the other, whoever asks. One that fails is told to who asked, and stops no other. */
  function queued(event: Reload['event'], read: () => Policies): Promise<void> {
    const turn = queue.then(() => attempt(event, read))
    queue = turn.catch(() => undefined)
    return turn
  }

  const digest = { now: () => digestsOf(current.policies).files, known: () => known }
  const stop = watchFiles(digest, clock, () => queued('keys.reload', () => current.policies))
  return {
    current: () => current,
    refusedSince: (event) => refused.get(event),
    reload: () => queued('policy.reload', () => loadPolicies(config.policyDir, config.mode)),
    close() {
      closed = true
      stop()
    },
  }
}

function factsOf(error: unknown): LogFields {
  if (!(error instanceof Problems)) return { error }
  return { problems: error.problems.map(({ field, message }) => `${field} ${message}`) }
}

/** The files of credentials, which are looked at all the time. */
function watchedFiles({ apiKeysFile, denyListFile, tls }: LastingParts['config']): string[] {
  const files = [apiKeysFile, denyListFile, tls?.certFile, tls?.keyFile, tls?.clientCaFile]
  return files.filter((file) => file !== undefined)
}

/** What the listener and the SDK were made from. @throws {Problems} when it is another now. */
function refuseRestartOnly(before: Policies, after: Policies): void {
  const problems: Problem[] = []
  const compare = (field: string, old: unknown, next: unknown): void => {
    if (!isDeepStrictEqual(old, next))
      problems.push({ field, message: 'needs a restart to change' })
  }
  compare('http.yaml protocol', before.http.protocol, after.http.protocol)
  compare('http.yaml sessions', before.http.sessions, after.http.sessions) // optional: legacy-sessions
  compare('limits.yaml connections', before.limits.connections, after.limits.connections)
  compare('limits.yaml timeouts', before.limits.timeouts, after.limits.timeouts)
  compare('limits.yaml headers', before.limits.headers, after.limits.headers)
  compare(
    'limits.yaml address.connections',
    before.limits.address.connections,
    after.limits.address.connections,
  )
  compare('audit.yaml', before.audit, after.audit)
  if (problems.length > 0) throw new Problems(problems)
}
