// optional: oauth (jose)
import {
  decodeJwt,
  decodeProtectedHeader,
  errors,
  type JWTHeaderParameters,
  type JWTPayload,
  type JWTVerifyOptions,
  type JWTVerifyResult,
  jwtVerify,
  type ProtectedHeaderParameters,
  type ResolvedKey,
} from 'jose'
import { scanJson } from '../json-scan.ts'
import type { KeySet } from './key-set.ts'
import { CredentialFault, type Fault } from './strategy.ts'

const MAX_TOKEN_BYTES = 8192
/** Deepest nesting of a header or payload. */
const MAX_DEPTH = 16
const THREE_PARTS = /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/
/** What policy calls a header without `typ`. */
const NO_TYPE = 'absent'
/** Claims that only other kinds of JWT have: ID tokens, security events and logout, DPoP proofs. */
export const FOREIGN_CLAIMS = ['nonce', 'at_hash', 'c_hash', 's_hash', 'events', 'htm', 'htu']

/** What a token of one issuer must be. */
export interface TokenRules {
  readonly issuer: string
  readonly audiences: readonly string[]
  readonly algorithms: readonly string[]
  /** Without `application/`. `absent` stands for a header without `typ`. */
  readonly tokenTypes: readonly string[]
  readonly clockToleranceSeconds: number
}

/** Header and payload of a JWT that nobody has verified. */
export interface Decoded {
  readonly header: ProtectedHeaderParameters
  readonly payload: JWTPayload
}

/** Whether a token looks like a signed JWT. Nothing in it was read. */
export function isJwtShaped(token: string): boolean {
  return THREE_PARTS.test(token)
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
  const decoded = readJwt(token, MAX_TOKEN_BYTES)
  if (decoded === undefined) throw new CredentialFault('shape')
  const { header, payload } = decoded
  const iss: unknown = payload.iss
  if (typeof iss !== 'string') throw new CredentialFault('issuer')
  return { header, iss }
}

/** @returns `undefined` for what is too long, ambiguous, or not a JWT signed without extensions. */
export function readJwt(jwt: string, maxBytes: number): Decoded | undefined {
  if (jwt.length > maxBytes || !isJwtShaped(jwt)) return undefined
  const parts = jwt.split('.')
  if (!parts.every(isCanonical) || !parts.slice(0, 2).every(isUnambiguous)) return undefined
  let decoded: Decoded
  try {
    decoded = { header: decodeProtectedHeader(jwt), payload: decodeJwt(jwt) }
  } catch {
    return undefined // What the library says quotes the token.
  }
  const { header } = decoded
  // No extension of JWS is in use here (RFC 7515 §4.1.11, RFC 7797 §3).
  if ('crit' in header || 'b64' in header) return undefined
  return header.kid === undefined || typeof header.kid === 'string' ? decoded : undefined
}

/** One token has one spelling: no bits that decoding drops (RFC 4648 §3.5). */
function isCanonical(part: string): boolean {
  return Buffer.from(part, 'base64url').toString('base64url') === part
}

/**
 * Whether a part holds JSON that every parser reads alike, so that a proxy in front sees no other
 * claims: strict UTF-8 without a byte order mark, no member twice (RFC 7515 §4, RFC 7519 §4), no `__proto__`.
 */
function isUnambiguous(part: string): boolean {
  try {
    const text = strictUtf8.decode(Buffer.from(part, 'base64url'))
    return !text.startsWith(BYTE_ORDER_MARK) && scanJson(text, MAX_DEPTH) === undefined
  } catch {
    return false // Not UTF-8.
  }
}

const BYTE_ORDER_MARK = '\ufeff'
const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** What a token says, and the key that has signed it. */
export type Verification = Pick<JWTVerifyResult & ResolvedKey, 'payload' | 'key'>

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
): Promise<Verification> {
  if (!rules.algorithms.some((name) => name === header.alg)) throw new CredentialFault('algorithm')
  const type = typeOf(header)
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
  const verification = await jwtVerify(
    token,
    (used: JWTHeaderParameters) => keys.find(used),
    options,
  ).catch((error: unknown) => verifyWithAny(token, error, options))
  const { payload, key } = verification
  // A type other than at+jwt is an exception of policy and does not tell the kinds apart.
  if (type !== 'at+jwt' && isForeign(payload)) throw new CredentialFault('type')
  return { payload, key }
}

/**
 * The type in lower case and without `application/`, which may be left out (RFC 7515 §4.1.9);
 * `absent` for a header without `typ`, and for no other.
 */
function typeOf(header: ProtectedHeaderParameters): string | undefined {
  if (!('typ' in header)) return NO_TYPE
  const { typ } = header
  const type = typeof typ === 'string' ? typ.toLowerCase().replace(/^application\//, '') : undefined
  return type === NO_TYPE ? undefined : type
}

/** Tries each key of the error for a token that names none (RFC 7515 §4.1.4: `kid` is optional). */
async function verifyWithAny(
  token: string,
  error: unknown,
  options: JWTVerifyOptions,
): Promise<Verification> {
  if (!(error instanceof errors.JWKSMultipleMatchingKeys)) throw error
  for await (const key of error) {
    try {
      return { ...(await jwtVerify(token, key, options)), key }
    } catch (mismatch) {
      if (!(mismatch instanceof errors.JWSSignatureVerificationFailed)) throw mismatch
    }
  }
  throw new CredentialFault('signature')
}

/** Tells tokens apart by content, for issuers that call all of them `JWT` (RFC 8725 §3.12). */
function isForeign(payload: JWTPayload): boolean {
  const { token_use: use = 'access', typ = 'Bearer' } = payload
  // Keycloak names the token_type of access tokens here (RFC 6750 §4, RFC 9449 §5).
  const isAccess = use === 'access' && (typ === 'Bearer' || typ === 'DPoP')
  return !isAccess || FOREIGN_CLAIMS.some((claim) => claim in payload)
}

/** Why the library refused a token. Its error is left behind: it holds the claims. */
export function tokenFault(error: errors.JOSEError): Fault {
  if (error instanceof errors.JWTExpired) return 'expired'
  if (error instanceof errors.JWSSignatureVerificationFailed) return 'signature'
  if (!(error instanceof errors.JWTClaimValidationFailed)) return 'shape'
  if (error.claim === 'aud') return 'audience'
  return error.claim === 'nbf' && error.reason === 'check_failed' ? 'not-yet-valid' : 'claims'
}
