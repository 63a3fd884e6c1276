// optional: oauth
import type { Identity } from '../context.ts'
import type { IssuerPolicy } from '../policy.ts'
import { constraintFault } from './sender-constraint.ts'
import type { Credential, Fault } from './strategy.ts'

/** Claims of a token that its issuer vouches for: by a signature, or because it was asked. */
type Claims = Readonly<Record<string, unknown>>

/** The part of an issuer's policy that says how its claims are read. */
export type ClaimsPolicy = Pick<
  IssuerPolicy,
  | 'senderConstraint'
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
 * The proof of a DPoP key is not asked for here: it belongs to one request.
 *
 * Source: RFC 9068 §2.2 and §4; RFC 7519 §4.1; RFC 7662 §2.2
 *
 * @param issuedAt whether `iat` has to be there. An issuer that is asked may leave it out; what is
 *   left of the life of its token is then held against the longest lifetime.
 */
export function identityOf(
  claims: Claims,
  policy: ClaimsPolicy,
  credential: Pick<Credential, 'scheme' | 'digest' | 'certificate'>,
  nowMs: number,
  issuedAt: 'required' | 'optional' = 'required',
): Identity | Fault {
  const { iss, sub, exp, iat, nbf } = claims
  if (!isSeconds(exp) || !(nbf === undefined || isSeconds(nbf))) return 'claims'
  if (!(isSeconds(iat) || (iat === undefined && issuedAt === 'optional'))) return 'claims'
  const nowSeconds = nowMs / 1000
  const tolerance = policy.clockToleranceSeconds
  if (nowSeconds >= exp + tolerance) return 'expired'
  if (iat !== undefined && iat > nowSeconds + tolerance) return 'not-yet-valid'
  if (nbf !== undefined && nbf > nowSeconds + tolerance) return 'not-yet-valid'
  if (iat !== undefined && exp <= iat) return 'lifetime'
  if (exp - (iat ?? nowSeconds) > policy.maxTokenLifetimeSeconds) return 'lifetime'
  const fault = constraintFault(claims, policy.senderConstraint, credential)
  if (fault !== undefined) return fault

  const client = clientOf(claims, policy.clientIdClaims)
  const scopes = scopesOf(own(claims, policy.scopeClaim), policy.scopeFormat)
  const roles = stringsOf(own(claims, policy.rolesClaim), PRINTABLE)
  const tenant = own(claims, policy.tenantClaim) ?? null
  if (!isPrintable(iss) || !isPrintable(sub) || client === undefined) return 'claims'
  if (scopes === undefined || roles === undefined) return 'claims'
  if (tenant !== null && !isPrintable(tenant)) return 'claims'
  return {
    principal: { kind: 'oauth', issuer: iss, client, subject: sub, scopes, roles, tenant },
    credentialDigest: credential.digest,
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
