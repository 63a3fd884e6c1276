// optional: introspection
import { LRUCache } from 'lru-cache'
import type { Clock } from '../clock.ts'
import { Denied } from '../errors.ts'
import type { Logger } from '../log.ts'
import { type Outbound, OutboundError } from '../outbound.ts'
import { isLoopbackUrl } from '../urls.ts'
import { type IntrospectionResponse, introspectionResponse } from './introspection-response.ts'
import type { Credential } from './strategy.ts'

const MAX_BYTES = 16_384
/** Requests that the endpoint is asked to answer at the same time. */
const MAX_IN_FLIGHT = 16
const MAX_COOLDOWN_SECONDS = 5
/** Tokens without an answer that are remembered for a cool-down. */
const MAX_UNANSWERED = 1000

export interface EndpointOptions {
  /** For the log. */
  readonly issuer: string
  /** Of the endpoint. */
  readonly url: string
  readonly clientId: string
  readonly clientSecret: string
  /** For one exchange. */
  readonly timeoutMs: number
  /** Five at most. */
  readonly cooldownSeconds: number
}

type Question = Pick<Credential, 'token' | 'digest'>

/** The issuer, as far as it can be asked about tokens. */
export interface IntrospectionEndpoint {
  /**
   * Asks about a token. Callers that ask about the same one at the same time share the request.
   *
   * @throws {Denied} `authenticate.introspection-unavailable` when there is no answer, with the time
   *   after which to ask again.
   */
  ask(question: Question): Promise<IntrospectionResponse>
  /** `false` for a cool-down after a request that has failed. */
  available(): boolean
}

/**
 * Threat:  An issuer that is down or slow takes this server with it, or makes good tokens look bad; a
 *          flood of invented tokens goes through this server to the issuer; the secret leaks.
 * Rule:    POST, authenticated with `client_secret_basic`. No answer is no verdict: 503, whatever
 *          went wrong. After a failure nothing is asked for a cool-down, and then one request at a
 *          time until one succeeds; at other times 16. An answer that is wrong for one token (too
 *          large, not JSON, most of 4xx) puts off that token alone: with `unsupported_token_type`, or
 *          a firewall in front of the issuer, a caller could lock out all others. The log has a line
 *          for each cool-down, without token or secret.
 * Policy:  policies/auth.yaml `issuers[].introspection`, `jwks.timeoutMs`, `jwks.cooldownSeconds`
 * Refuses: 503 `authenticate.introspection-unavailable`
 * Source:  RFC 7662 §2.1, §2.3 and §4; RFC 6749 §2.3.1; OWASP ASVS 5.0 16.5.2
 *
 * Signed responses (RFC 9701) are not asked for: the connection proves who answers.
 *
 * @param clock monotonic, so that a step of the wall clock neither extends nor ends a cool-down
 */
export function introspectionEndpoint(
  options: EndpointOptions,
  parts: { readonly outbound: Outbound; readonly clock: Clock; readonly logger: Logger },
): IntrospectionEndpoint {
  const { issuer, url, timeoutMs } = options
  const { outbound, clock, logger } = parts
  const authorization = clientSecretBasic(options.clientId, options.clientSecret)
  const allowLoopback = isLoopbackUrl(new URL(url))
  const cooldownMs = Math.min(options.cooldownSeconds, MAX_COOLDOWN_SECONDS) * 1000

  const flights = new Map<string, Promise<IntrospectionResponse>>()
  const unanswered = new LRUCache<string, true>({
    max: MAX_UNANSWERED,
    ttl: cooldownMs,
    perf: clock,
    ttlResolution: 0,
  })
  /** Of the last request, when it has failed. */
  let failedAt: number | undefined
  let loggedAt = Number.NEGATIVE_INFINITY

  async function request(token: string): Promise<IntrospectionResponse> {
    const form = { token, token_type_hint: 'access_token' }
    const limits = { timeoutMs, maxBytes: MAX_BYTES, allowLoopback }
    const document = await outbound.json(url, { ...limits, post: { form, authorization } })
    return introspectionResponse.parse(document)
  }

  async function attempt({ token, digest }: Question): Promise<IntrospectionResponse> {
    try {
      const response = await request(token)
      failedAt = undefined
      return response
    } catch (error) {
      if (isOutage(error)) failedAt = clock.now()
      else unanswered.set(digest, true)
      log(error)
      throw unavailable(cooldownMs, error)
    } finally {
      flights.delete(digest)
    }
  }

  function log(error: unknown): void {
    if (clock.now() - loggedAt < cooldownMs) return
    loggedAt = clock.now()
    const reason = reasonOf(error)
    logger.warn('The issuer could not be asked about a token', { issuer, reason, error })
  }

  /** How long there is nothing to ask for, ms. */
  const pause = (): number =>
    failedAt === undefined ? 0 : Math.max(0, failedAt + cooldownMs - clock.now())

  return {
    async ask(question) {
      const { digest } = question
      const underWay = flights.get(digest)
      if (underWay !== undefined) return underWay
      if (unanswered.has(digest)) throw unavailable(unanswered.getRemainingTTL(digest))
      if (pause() > 0) throw unavailable(pause())
      if (flights.size >= (failedAt === undefined ? MAX_IN_FLIGHT : 1)) throw unavailable(0)
      const flight = attempt(question)
      flights.set(digest, flight)
      return flight
    },
    available: () => pause() === 0,
  }
}

/** Each part is form-encoded before they are joined, so that a colon in one stays there (§2.3.1). */
function clientSecretBasic(clientId: string, clientSecret: string): string {
  const [id, secret] = [clientId, clientSecret].map((part) =>
    new URLSearchParams({ '': part }).toString().slice(1),
  )
  return `Basic ${Buffer.from(`${id}:${secret}`).toString('base64')}`
}

/** Answers that are about this server or the endpoint, whatever the token. */
const STATUS_OF_OUTAGE: ReadonlySet<number> = new Set([401, 404, 405, 408, 429])
const FAULT_OF_TOKEN: ReadonlySet<string> = new Set(['not-json', 'too-large'])

/** Whether the next token would fare no better. */
function isOutage(error: unknown): boolean {
  if (!(error instanceof OutboundError)) return false // A document of another shape.
  const { fault, status = 0 } = error
  if (fault === 'status') return status >= 500 || STATUS_OF_OUTAGE.has(status)
  return !FAULT_OF_TOKEN.has(fault)
}

function reasonOf(error: unknown): string {
  if (!(error instanceof OutboundError)) return 'document'
  return error.status === 401 ? 'client-authentication' : error.fault
}

function unavailable(waitMs: number, cause?: unknown): Denied {
  const seconds = Math.max(1, Math.ceil(waitMs / 1000))
  return new Denied('authenticate.introspection-unavailable', {
    headers: { 'retry-after': String(seconds) },
    cause,
  })
}
