// optional: oauth
import type { Identity } from '../context.ts'
import type { IssuerPolicy } from '../policy.ts'
import type { Fault } from './strategy.ts'

/** Claims of a token whose signature was verified. */
type Claims = Readonly<Record<string, unknown>>

/** The part of an issuer's policy that says how its claims are read. */
export type ClaimsPolicy = Pick<
  IssuerPolicy,
  | 'scopeClaim'
  | 'scopeFormat'
  | 'clientIdClaims'
  | 'rolesClaim'
  | 'tenantClaim'
  | 'clockToleranceSeconds'
  | 'maxTokenLifetimeSeconds'
>

/** OpenID Connect Core 1.0 §2: `sub` is at most 255 ASCII characters. Printable, because it is logged. */
const PRINTABLE = /^[\x20-\x7e]{1,255}$/
/** scope, RFC 6749 §3.3: tokens with one space between them. */
const SCOPE = /^[\x21\x23-\x5b\x5d-\x7e]+(?: [\x21\x23-\x5b\x5d-\x7e]+)*$/
const SCOPE_TOKEN = /^[\x21\x23-\x5b\x5d-\x7e]+$/

/**
 * Turns verified claims into the caller, or says why they are not acceptable now. Asked on every
 * request, also for remembered tokens.
 *
 * Source: RFC 9068 §2.2 and §4; RFC 7519 §4.1; RFC 9449 §7.2 and RFC 8705 §3 (`cnf`)
 */
export function identityOf(
  claims: Claims,
  policy: ClaimsPolicy,
  credentialDigest: string,
  nowMs: number,
): Identity | Fault {
  const { iss, sub, exp, iat, nbf } = claims
  if (!isSeconds(exp) || !isSeconds(iat) || !(nbf === undefined || isSeconds(nbf))) return 'claims'
  const nowSeconds = nowMs / 1000
  const tolerance = policy.clockToleranceSeconds
  if (nowSeconds >= exp + tolerance) return 'expired'
  if (iat > nowSeconds + tolerance) return 'not-yet-valid'
  if (nbf !== undefined && nbf > nowSeconds + tolerance) return 'not-yet-valid'
  if (exp <= iat || exp - iat > policy.maxTokenLifetimeSeconds) return 'lifetime'
  // Bound to a key that this server does not ask for: whoever sends it may have stolen it.
  if ('cnf' in claims) return 'sender-constrained'

  const client = clientOf(claims, policy.clientIdClaims)
  const scopes = scopesOf(own(claims, policy.scopeClaim), policy.scopeFormat)
  const roles = stringsOf(own(claims, policy.rolesClaim), PRINTABLE)
  const tenant = own(claims, policy.tenantClaim) ?? null
  if (!isPrintable(iss) || !isPrintable(sub) || client === undefined) return 'claims'
  if (scopes === undefined || roles === undefined) return 'claims'
  if (tenant !== null && !isPrintable(tenant)) return 'claims'
  return {
    principal: { kind: 'oauth', issuer: iss, client, subject: sub, scopes, roles, tenant },
    credentialDigest,
    credentialId: typeof claims['jti'] === 'string' ? claims['jti'] : null,
    expiresAt: exp,
    claims,
  }
}

/** A claim by a configured name; never something inherited from the prototype of all objects. */
function own(claims: Claims, name: string | null): unknown {
  return name !== null && Object.hasOwn(claims, name) ? claims[name] : undefined
}

/** @returns the first claim that is there; the empty string for none, `undefined` for a bad one. */
function clientOf(claims: Claims, names: readonly string[]): string | undefined {
  const name = names.find((candidate) => Object.hasOwn(claims, candidate))
  if (name === undefined) return ''
  const client = claims[name]
  return isPrintable(client) ? client : undefined
}

function scopesOf(claim: unknown, format: 'string' | 'array'): readonly string[] | undefined {
  if (format === 'array') return stringsOf(claim, SCOPE_TOKEN)
  if (claim === undefined || claim === '') return []
  return typeof claim === 'string' && SCOPE.test(claim) ? claim.split(' ') : undefined
}

/** @returns the strings of a list, none when it is absent, `undefined` when it is anything else. */
function stringsOf(claim: unknown, pattern: RegExp): readonly string[] | undefined {
  if (claim === undefined) return []
  if (!Array.isArray(claim)) return undefined
  const strings = claim.filter((item) => typeof item === 'string' && pattern.test(item))
  return strings.length === claim.length ? strings : undefined
}

function isPrintable(value: unknown): value is string {
  return typeof value === 'string' && PRINTABLE.test(value)
}

/** NumericDate without fractions (RFC 7519 §2). */
function isSeconds(value: unknown): value is number {
  return Number.isSafeInteger(value)
}
