// optional: oauth (jose)
import {
  decodeJwt,
  decodeProtectedHeader,
  errors,
  type JWTHeaderParameters,
  type JWTPayload,
  type JWTVerifyOptions,
  jwtVerify,
  type ProtectedHeaderParameters,
} from 'jose'
import { scanJson } from '../json-scan.ts'
import type { KeySet } from './key-set.ts'
import { CredentialFault, type Fault } from './strategy.ts'

const MAX_TOKEN_BYTES = 8192
/** Deepest nesting of a header or payload. */
const MAX_DEPTH = 16
const THREE_PARTS = /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/
/** Claims that only other kinds of JWT have: ID tokens, security events and logout, DPoP proofs. */
const FOREIGN_CLAIMS = ['nonce', 'at_hash', 'c_hash', 's_hash', 'events', 'htm', 'htu']

/** What a token of one issuer must be. */
export interface TokenRules {
  readonly issuer: string
  readonly audiences: readonly string[]
  readonly algorithms: readonly string[]
  /** Without `application/`. */
  readonly tokenTypes: readonly string[]
  readonly clockToleranceSeconds: number
}

/**
 * Reads a token that nobody has verified yet, to learn whose it claims to be.
 *
 * @throws {CredentialFault}
 */
export function decodeToken(token: string): {
  readonly header: ProtectedHeaderParameters
  readonly iss: string
} {
  if (token.length > MAX_TOKEN_BYTES || !THREE_PARTS.test(token)) throw new CredentialFault('shape')
  if (!token.split('.', 2).every(isUnambiguous)) throw new CredentialFault('shape')
  let header: ProtectedHeaderParameters
  let iss: unknown
  try {
    header = decodeProtectedHeader(token)
    iss = decodeJwt(token)['iss']
  } catch {
    throw new CredentialFault('shape')
  }
  // No extension of JWS is in use here (RFC 7515 §4.1.11, RFC 7797 §3).
  if ('crit' in header || 'b64' in header) throw new CredentialFault('shape')
  if (header.kid !== undefined && typeof header.kid !== 'string') throw new CredentialFault('shape')
  if (typeof iss !== 'string') throw new CredentialFault('issuer')
  return { header, iss }
}

/**
 * Whether a part holds JSON that every parser reads alike, so that a proxy in front sees no other
 * claims: strict UTF-8, no member twice (RFC 7515 §4, RFC 7519 §4), no `__proto__`.
 */
function isUnambiguous(part: string): boolean {
  try {
    return scanJson(strictUtf8.decode(Buffer.from(part, 'base64url')), MAX_DEPTH) === undefined
  } catch {
    return false // Not UTF-8.
  }
}

const strictUtf8 = new TextDecoder('utf-8', { fatal: true })

/**
 * Verifies signature, issuer, audience, type and times. A key or key address in the token (`jwk`,
 * `jku`, `x5c`, `x5u`) has no effect.
 *
 * @throws {CredentialFault}
 * @throws {errors.JOSEError} a fault of the token as well: see `tokenFault`.
 * @throws {Denied} `authenticate.keys-unavailable`
 */
export async function verifyToken(
  token: string,
  header: ProtectedHeaderParameters,
  rules: TokenRules,
  keys: Pick<KeySet, 'find'>,
  nowMs: number,
): Promise<JWTPayload> {
  if (!rules.algorithms.some((name) => name === header.alg)) throw new CredentialFault('algorithm')
  const type = mediaType(header.typ)
  const mayBe = rules.tokenTypes.map((name) => name.toLowerCase())
  if (type === undefined || !mayBe.includes(type)) throw new CredentialFault('type')

  const options: JWTVerifyOptions = {
    algorithms: [...rules.algorithms],
    audience: [...rules.audiences],
    clockTolerance: rules.clockToleranceSeconds,
    currentDate: new Date(nowMs),
    issuer: rules.issuer,
    requiredClaims: ['exp', 'iat', 'sub'],
  }
  const payload = await jwtVerify(
    token,
    (used: JWTHeaderParameters) => keys.find(used),
    options,
  ).then(
    (result) => result.payload,
    (error: unknown) => verifyWithAny(token, error, options),
  )
  // A type other than at+jwt is an exception of policy and does not tell the kinds apart.
  if (type !== 'at+jwt' && isForeign(payload)) throw new CredentialFault('type')
  return payload
}

/** A type in lower case and without `application/`, which may be left out (RFC 7515 §4.1.9). */
function mediaType(typ: unknown): string | undefined {
  return typeof typ === 'string' ? typ.toLowerCase().replace(/^application\//, '') : undefined
}

/** Tries each key of the error for a token that names none (RFC 7515 §4.1.4: `kid` is optional). */
async function verifyWithAny(
  token: string,
  error: unknown,
  options: JWTVerifyOptions,
): Promise<JWTPayload> {
  if (!(error instanceof errors.JWKSMultipleMatchingKeys)) throw error
  for await (const key of error) {
    try {
      return (await jwtVerify(token, key, options)).payload
    } catch (mismatch) {
      if (!(mismatch instanceof errors.JWSSignatureVerificationFailed)) throw mismatch
    }
  }
  throw new CredentialFault('signature')
}

/** Tells tokens apart by content, for issuers that call all of them `JWT` (RFC 8725 §3.12). */
function isForeign(payload: JWTPayload): boolean {
  const { token_use: use = 'access', typ = 'Bearer' } = payload
  return use !== 'access' || typ !== 'Bearer' || FOREIGN_CLAIMS.some((claim) => claim in payload)
}

/** Why the library refused a token. Its error is left behind: it holds the claims. */
export function tokenFault(error: errors.JOSEError): Fault {
  if (error instanceof errors.JWTExpired) return 'expired'
  if (error instanceof errors.JWSSignatureVerificationFailed) return 'signature'
  if (!(error instanceof errors.JWTClaimValidationFailed)) return 'shape'
  if (error.claim === 'aud') return 'audience'
  return error.claim === 'nbf' && error.reason === 'check_failed' ? 'not-yet-valid' : 'claims'
}
