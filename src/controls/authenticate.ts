import { hash } from 'node:crypto'
import type { Context, MiddlewareHandler } from 'hono'
import type { AuditTrail } from '../audit/trail.ts'
import type { Authenticator } from '../auth/authenticator.ts'
import { type Credential, CredentialFault, type Fault } from '../auth/strategy.ts'
import { networkOf } from '../client-address.ts'
import type { AppEnv, Identity } from '../context.ts'
import { DENIALS, Denied, type DenyReason } from '../errors.ts'
import type { LimitsPolicy } from '../policy.ts'
import { rateLimitHeaders } from '../rate-limit-headers.ts'
import { requestFacts } from '../request-facts.ts'
import type { Store } from '../stores/store.ts'

export interface AuthenticateOptions {
  readonly authenticator: Pick<Authenticator, 'verify'>
  /** `X-API-Key` or another header that carries an API key, lower case; `null` for none. */
  readonly keyHeader: string | null
  /** `WWW-Authenticate` by refusal. */
  readonly challenges: ReadonlyMap<DenyReason, string>
  readonly store: Store
  readonly limits: Pick<LimitsPolicy, 'address'>
  readonly trail: AuditTrail
  /** The `DPoP-Nonce` of answers: what clients put into their next proof. */
  readonly newestNonce: (nowMs: number) => string // optional: dpop
  /** Development only: the caller when there is no credential. */
  readonly anonymous: Identity | undefined
}

/**
 * Threat:  A caller without a valid credential, or with two of them, gets in; a guesser tries many.
 * Rule:    one credential, in a header, verified on every request by the one strategy it belongs to.
 *          Every bad credential gets the same answer. Bad ones count against the address, and past
 *          its budget they get 429; a good one is still served, so that a guesser behind the same
 *          address locks nobody out. `address-limit` bounds what guessing costs. A DPoP proof that
 *          lacks its nonce is no bad credential: it is how a client learns the nonce, which answers
 *          to DPoP callers renew. One with an old or invented nonce is a failure on record, but does
 *          not count against the address: clients that were idle send it.
 * Policy:  policies/auth.yaml; policies/limits.yaml `address.authFailuresPerMinute`
 * Refuses: 401 `authenticate.missing`, `authenticate.rejected`, `authenticate.dpop-nonce`;
 *          400 `authenticate.malformed`, `authenticate.two-credentials`; 429 `authenticate.throttled`;
 *          503 `authenticate.keys-unavailable`, `authenticate.introspection-unavailable`
 * Source:  MCP 2026-07-28 Authorization, Token requirements; RFC 6750 §2 and §3.1; RFC 9110 §11;
 *          RFC 9449 §7.1, §8.2 and §9
 */
export function authenticate(options: AuthenticateOptions): MiddlewareHandler<AppEnv> {
  const { authenticator, keyHeader, challenges, trail, anonymous } = options
  const { newestNonce } = options // optional: dpop
  const limit = options.limits.address.authFailuresPerMinute
  const failures = options.store.limiter({ name: 'address-auth', limit, windowSeconds: 60 })

  /** @throws {Denied} for every caller that is not proven. */
  async function prove(credential: Credential | undefined, c: Context<AppEnv>): Promise<Identity> {
    if (credential === undefined) {
      if (anonymous !== undefined) return anonymous
      throw new Denied('authenticate.missing')
    }
    const proofs = c.get('headers').get('dpop') ?? []
    const method = c.env.incoming.method ?? ''
    return authenticator.verify({ ...credential, method, proofs }, Date.now())
  }

  /** Counts a bad credential. Past the budget of its address the answer says so. */
  async function countFailure(denied: Denied, address: string): Promise<Denied> {
    const budget = await failures.hit(networkOf(address))
    if (budget.allowed) return denied
    const headers = rateLimitHeaders('address-auth', limit, 60, budget)
    return new Denied('authenticate.throttled', { headers, cause: denied.cause })
  }

  return async function authenticate(c, next) {
    try {
      const source = {
        headers: c.get('headers'),
        address: c.get('address'),
        clientCertificate: c.get('clientCertificate'),
      }
      const credential = credentialOf(source, keyHeader)
      c.set('credential', credential)
      c.set('identity', await prove(credential, c))
    } catch (error) {
      if (!(error instanceof Denied)) throw error
      const isFailure = error.reason === 'authenticate.rejected'
      const { reason, headers, cause } = isFailure
        ? await countFailure(error, c.get('address'))
        : error
      if (!STEPS.has(reason) || cause !== undefined) {
        const fault = faultOf(reason, cause)
        trail.write({ ...requestFacts(c.var), event: 'authn.fail', reason, cause: fault })
      }
      const challenge = challenges.get(reason)
      throw new Denied(reason, {
        headers: challenge === undefined ? headers : { ...headers, 'www-authenticate': challenge },
        cause,
      })
    }
    await next()
    const scheme = c.get('credential')?.scheme // optional: dpop
    if (scheme === 'dpop') c.res.headers.set('dpop-nonce', newestNonce(Date.now())) // optional: dpop
  }
}

/** What is wrong with the credential, or that nobody could tell. */
function faultOf(reason: DenyReason, cause: unknown): Fault | 'unavailable' {
  if (cause instanceof CredentialFault) return cause.fault
  return DENIALS[reason].status === 503 ? 'unavailable' : 'shape'
}

/** What a client does not know until it is told: without a cause no failures, though the answer is 401. */
const STEPS: ReadonlySet<DenyReason> = new Set(['authenticate.missing', 'authenticate.dpop-nonce'])

/**
 * Whether the credential of a request is a live key or was verified a moment ago. For
 * `address-limit`, which stands before this control.
 */
export function isKnownCaller(
  authenticator: Pick<Authenticator, 'recall'>,
  keyHeader: string | null,
): (request: CredentialSource) => boolean {
  return function isKnownCaller(request) {
    try {
      const credential = credentialOf(request, keyHeader)
      return credential !== undefined && authenticator.recall(credential, Date.now()) !== undefined
    } catch (error) {
      if (error instanceof Denied) return false
      throw error
    }
  }
}

const TOKEN_BYTES = 8192
const TOKEN68 = /^(bearer|dpop) +([A-Za-z0-9._~+/-]+=*)$/i
const OTHER_SCHEME = /^(?!(?:bearer|dpop)(?: |$))[!#$%&'*+.^_`|~0-9A-Za-z-]+(?: |$)/i

/** What a credential is read from. */
export type CredentialSource = Pick<
  AppEnv['Variables'],
  'headers' | 'address' | 'clientCertificate'
>

/**
 * The one credential of a request. The configured key header carries API keys only, never tokens.
 *
 * @returns `undefined` when there is none.
 * @throws {Denied} when there are two, when it is not one token68, or when it is of another scheme.
 */
export function credentialOf(
  { headers, address, clientCertificate }: CredentialSource,
  keyHeader: string | null,
): Credential | undefined {
  const authorization = headers.get('authorization') ?? []
  const key = (keyHeader === null ? undefined : headers.get(keyHeader)) ?? []
  if (authorization.length + key.length > 1) throw new Denied('authenticate.two-credentials')
  const [value] = authorization
  const [keyValue] = key
  if (value === undefined && keyValue === undefined) return undefined
  if (value !== undefined && OTHER_SCHEME.test(value)) {
    throw new Denied('authenticate.rejected', { cause: new CredentialFault('shape') })
  }
  const [, name = 'bearer', sent] = TOKEN68.exec(value ?? '') ?? []
  const token = value === undefined ? keyValue : sent
  if (token === undefined || token === '') throw new Denied('authenticate.malformed')
  if (token.length > TOKEN_BYTES || (keyValue !== undefined && !keyValue.startsWith('mcpk_'))) {
    throw new Denied('authenticate.rejected', { cause: new CredentialFault('shape') })
  }
  const scheme = name.toLowerCase() === 'dpop' ? 'dpop' : 'bearer'
  const digest = hash('sha256', token)
  return { scheme, token, digest, address, certificate: clientCertificate }
}
