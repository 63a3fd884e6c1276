// optional: oauth (jose)
import { calculateJwkThumbprint, createLocalJWKSet, errors, type JWTHeaderParameters } from 'jose'
import type { Clock } from '../clock.ts'
import { Denied } from '../errors.ts'
import type { Outbound } from '../outbound.ts'
import { fetchKeys, type KeySource } from './jwks.ts'
import { CredentialFault } from './strategy.ts'

/** When the next set is fetched, as a part of `cacheSeconds`. */
const REFRESH_AT = 0.75

export interface KeySetOptions extends KeySource {
  readonly cacheSeconds: number
  readonly cooldownSeconds: number
  readonly staleIfErrorSeconds: number
}

type VerifyKey = Awaited<ReturnType<ReturnType<typeof createLocalJWKSet>>>

/** The signature keys of one issuer. */
export interface KeySet {
  /**
   * Finds the key for the header of a token, for `jwtVerify`.
   *
   * @throws {CredentialFault} `unknown` when the issuer has no such key.
   * @throws {Denied} `authenticate.keys-unavailable` when that cannot be told.
   * @throws {errors.JWKSMultipleMatchingKeys} when the token names no key and several may be meant.
   */
  find(header: JWTHeaderParameters): Promise<VerifyKey>
  /**
   * Another number after each change of the set: what was verified before it is void. `NaN`, which
   * equals nothing, while there are no keys that may be used.
   */
  generation(): number
  /** Whether there are keys that may be used now. */
  available(): boolean
  /** Since the keys were fetched, seconds; `Infinity` when they never were. */
  ageSeconds(): number
  /** Ends the background refresh. */
  close(): void
}

interface Keys {
  readonly match: ReturnType<typeof createLocalJWKSet>
  /** What the keys are, to tell a change. */
  readonly content: string
  readonly count: number
  /** When the fetch began, on the clock, ms. */
  readonly fetchedAt: number
}

/**
 * Threat:  An outage of the issuer that locks everybody out or lets anybody in; floods of unknown key
 *          ids that turn this server against the issuer; keys that did not come from the issuer.
 * Rule:    fetched in the background before `cacheSeconds` end. An unknown key id causes at most one
 *          fetch in `cooldownSeconds`, failed ones count, and callers share it. While fetches fail the
 *          last set stays in use until `staleIfErrorSeconds` past its age, then it is 503. A document
 *          that the issuer does serve counts, even if no key in it is usable.
 * Policy:  policies/auth.yaml `jwks`, `issuers[].jwksUri`
 * Refuses: 503 `authenticate.keys-unavailable`
 * Source:  RFC 7517 §5; RFC 8414 §3; OpenID Connect Discovery 1.0 §4; RFC 8725 §3.10
 *
 * Where an issuer puts no `kid` into its tokens, a new key is found with the next refresh only.
 *
 * @param clock monotonic, so that a step of the wall clock neither extends nor ends a set
 * @param onChange called with the key ids of each new set, the first included
 * @param onFailure called with what went wrong in each fetch that failed
 */
export function createKeySet(
  options: KeySetOptions,
  outbound: Pick<Outbound, 'json'>,
  clock: Clock,
  onChange: (keyIds: readonly string[]) => void,
  onFailure: (error: unknown) => void,
): KeySet {
  const cacheMs = options.cacheSeconds * 1000
  const cooldownMs = options.cooldownSeconds * 1000
  const lastUseMs = cacheMs + options.staleIfErrorSeconds * 1000

  let current: Keys | undefined
  let generation = 0
  let attemptedAt = Number.NEGATIVE_INFINITY
  let failure: unknown
  let inFlight: Promise<void> | undefined
  let cancel = (): void => undefined
  let closed = false

  const age = (): number => (current === undefined ? Infinity : clock.now() - current.fetchedAt)
  const available = (): boolean => age() < lastUseMs && current?.count !== 0

  async function refresh(): Promise<void> {
    attemptedAt = clock.now()
    cancel()
    try {
      const jwks = await fetchKeys(options, outbound)
      const content = jwks
        .map((jwk) => JSON.stringify(jwk))
        .toSorted()
        .join()
      const changed = content !== current?.content
      const ids = await Promise.all(jwks.map(async (jwk) => jwk.kid ?? calculateJwkThumbprint(jwk)))
      const match = createLocalJWKSet({ keys: jwks })
      current = { match, content, count: jwks.length, fetchedAt: attemptedAt }
      failure = undefined
      if (changed) {
        generation += 1
        onChange(ids)
      }
    } catch (error) {
      failure = error
      onFailure(error)
    }
    const waitMs = failure === undefined ? cacheMs * REFRESH_AT : cooldownMs
    if (!closed) cancel = clock.after(waitMs, startRefresh)
  }

  function startRefresh(): void {
    inFlight ??= refresh().finally(() => {
      inFlight = undefined
    })
  }

  /** Waits for a fetch, if one is under way or may begin. */
  async function refreshIfAllowed(): Promise<void> {
    if (clock.now() - attemptedAt >= cooldownMs) startRefresh()
    await inFlight
  }

  function unavailable(): Denied {
    const waitMs = attemptedAt + cooldownMs - clock.now()
    const seconds = Math.max(1, Math.ceil(waitMs / 1000))
    return new Denied('authenticate.keys-unavailable', {
      headers: { 'retry-after': String(seconds) },
      cause: failure,
    })
  }

  /** @returns `undefined` when the current set has no such key. */
  async function match(header: JWTHeaderParameters): Promise<VerifyKey | undefined> {
    if (current === undefined || !available()) throw unavailable()
    try {
      return await current.match(header)
    } catch (error) {
      if (error instanceof errors.JWKSNoMatchingKey) return undefined
      throw error
    }
  }

  async function find(header: JWTHeaderParameters): Promise<VerifyKey> {
    if (!available() || (age() >= cacheMs && failure === undefined)) await refreshIfAllowed()
    let key = await match(header)
    if (key === undefined) {
      await refreshIfAllowed()
      key = await match(header)
    }
    if (key !== undefined) return key
    throw failure === undefined ? new CredentialFault('unknown') : unavailable()
  }

  startRefresh()
  return {
    find,
    generation: () => (available() ? generation : Number.NaN),
    available,
    ageSeconds: () => age() / 1000,
    close() {
      closed = true
      cancel()
    },
  }
}
