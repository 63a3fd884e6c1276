// optional: stdio
import { hash } from 'node:crypto'
import type { NameOf } from '../audit/names.ts'
import type { AuditTrail, ReloadDigests } from '../audit/trail.ts'
import { type Authenticator, authenticator } from '../auth/authenticator.ts'
import { configuredKeys } from '../auth/configured-keys.ts' // optional: api-key
import type { AuthStrategy, Credential } from '../auth/strategy.ts'
import type { Clock } from '../clock.ts'
import type { Config } from '../config.ts'
import type { Identity } from '../context.ts'
import { denyList } from '../deny-list.ts'
import { filesDigest, watchFiles } from '../file-watch.ts'
import type { Holds } from '../holds.ts'
import type { Logger } from '../log.ts'
import type { Policies } from '../policy.ts'
import type { SharedState } from '../stores/store.ts'

/** Where everything comes from: the process that started this one. */
export const LOCAL_ADDRESS = '127.0.0.1'

/** Whoever started this process. */
export interface Caller {
  /** `undefined` for the local caller of development. */
  readonly credential: Credential | undefined
  /** @throws {Denied} `authenticate.rejected` once the credential does not hold any more. */
  identify(): Promise<Identity>
  close(): void
}

export interface CallerParts {
  readonly config: Pick<Config, 'apiKeysFile' | 'denyListFile'>
  readonly policies: Policies
  /** How logs and records name an id. */
  readonly nameOf: NameOf
  readonly shared: SharedState | undefined
  readonly holds: Holds
  readonly clock: Clock
  readonly trail: AuditTrail
  readonly logger: Logger
  /** Keys and denials were read again. */
  readonly changed: () => void
}

/**
 * Threat:  A key is revoked or expires, and the process that was started with it goes on.
 * Rule:    the process runs as one API key, verified like that of any request: at start, with each
 *          message, every 10 s, and whenever the key file or the deny list has changed, which is
 *          looked at every 2 s. A file that is wrong changes nothing.
 * Config:  `MCP_STDIO_KEY`, `MCP_API_KEYS_FILE`, `MCP_DENY_LIST_FILE`
 * Refuses: `authenticate.rejected`; the process then ends
 * Source:  OWASP ASVS 5.0 7.4.1, 8.3.2
 *
 * A key that is bound to networks is good here only when one of them holds 127.0.0.1.
 *
 * @throws {Problems} when a file is wrong
 */
export function keyCaller(token: string, parts: CallerParts): Caller {
  const { config, policies, shared, holds, clock, trail, logger } = parts
  const files = [config.apiKeysFile, config.denyListFile].filter((file) => file !== undefined)
  const credential: Credential = {
    scheme: 'bearer',
    token,
    digest: hash('sha256', token),
    address: LOCAL_ADDRESS,
    certificate: undefined,
  }

  function read(): { readonly judge: Authenticator; close(): void } {
    const denied = denyList(config.denyListFile, shared)
    const ways: AuthStrategy[] = []
    const keys = { ...parts, ...config, ephemeralKey: undefined } // optional: api-key
    ways.push(...configuredKeys({ ...keys, policy: policies.auth })) // optional: api-key
    const close = (): void => {
      for (const way of ways) way.close()
    }
    return { judge: authenticator(ways, denied.denies), close }
  }

  const digests = (): ReloadDigests => ({ policies: policies.digest, files: filesDigest(files) })
  let known = digests()
  let inForce = known
  let current = read()
  holds.use(current.judge)

  async function readAgain(): Promise<void> {
    const from = inForce
    known = digests()
    const event = { event: 'keys.reload', from, to: known } as const
    try {
      const next = read()
      current.close()
      current = next
    } catch (error) {
      trail.write({ ...event, outcome: 'refused' })
      logger.error('Read again and refused: nothing has changed', { error })
      return
    }
    inForce = known
    holds.use(current.judge)
    trail.write({ ...event, outcome: 'applied' })
    logger.info('Read again and in force')
    await holds.check()
    parts.changed()
  }

  const watched = { now: () => digests().files, known: () => known.files }
  const stop = watchFiles(watched, clock, readAgain)
  return {
    credential,
    identify: () => current.judge.verify({ ...credential, method: '', proofs: [] }, Date.now()),
    close() {
      stop()
      current.close()
    },
  }
}

/** Development without a key: the person at the machine, with the scopes of everything. */
export function localCaller(scopes: readonly string[]): Caller {
  const identity: Identity = {
    principal: {
      kind: 'local',
      issuer: 'gatehouse',
      client: '',
      subject: 'local',
      scopes,
      roles: [],
      tenant: null,
    },
    credentialDigest: '',
    credentialId: null,
    expiresAt: null,
    claims: {},
  }
  return { credential: undefined, identify: () => Promise.resolve(identity), close() {} }
}
