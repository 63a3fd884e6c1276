// optional: dpop (oauth4webapi)
import { hash } from 'node:crypto'
import { exportJWK, type JWTPayload } from 'jose'
import { clockTolerance, customFetch, jwksCache, validateJwtAccessToken } from 'oauth4webapi'
import { Denied } from '../errors.ts'
import type { IssuerPolicy } from '../policy.ts'
import type { SecretRing } from '../secrets.ts'
import type { Store } from '../stores/store.ts'
import { readJwt } from './access-token.ts'
import { PROOF_ALGORITHMS } from './dpop-metadata.ts'
import { dpopNonces } from './dpop-nonce.ts'
import { CredentialFault, type Presented } from './strategy.ts'

const MAX_PROOF_BYTES = 4096
const MAX_JTI_LENGTH = 256
/** How far the clock of a client may be off in either direction, seconds. */
const IAT_WINDOW_SECONDS = 60
/** How long a request may wait for keys between the look at the clock and the mark, seconds. */
const VERIFICATION_SECONDS = 30
/** From the first moment at which a proof can be used to the last mark of a request that came in time. */
const REPLAY_SECONDS = 2 * IAT_WINDOW_SECONDS + VERIFICATION_SECONDS

/** An access token that was verified, with the key that verified it. */
export interface VerifiedToken {
  readonly issuer: { readonly policy: IssuerPolicy }
  readonly payload: JWTPayload
  readonly key: Parameters<typeof exportJWK>[0]
}

/**
 * Verifies that whoever sent a token holds the key that it is bound to.
 *
 * @throws {CredentialFault} `proof`, `replay`, or `claims` for a token without `jti` and `client_id`.
 * @throws {Denied} `authenticate.dpop-nonce` (with a `CredentialFault` as cause when there was one), or
 *   what the store throws when it cannot be asked.
 */
export type ProveSender = (
  presented: Presented,
  token: VerifiedToken,
  nowMs: number,
) => Promise<void>

/**
 * Threat:  A stolen token, sent without the key of its client or together with a proof that was
 *          recorded, made for another request or another server, or made in advance.
 * Rule:    one proof with each request, for its method, for this server's public URL and for this
 *          token, signed with the key that the token names, at most 60 s old or early, with a nonce
 *          of this server, and never seen before. What identifies a proof is kept only after all the
 *          rest has been verified, so that only holders of tokens can fill that table.
 * Policy:  policies/auth.yaml `issuers[].senderConstraint: dpop`
 * Refuses: 401 `authenticate.rejected`, `authenticate.dpop-nonce`; 503 `store.unavailable`
 * Source:  RFC 9449 §4.3, §7.1, §9, §11.1; RFC 9068 §4
 *
 * `oauth4webapi` verifies the proof, and the token once more, with the one key that has verified it
 * before; it fetches nothing. Not checked by it: nonce, replay, size, the narrow window, doubled
 * members of the JSON. A token that is not bound to a DPoP key by its issuer's policy needs no proof,
 * and one that is sent along is not read.
 *
 * The memory store remembers 100,000 proofs: above 660 calls a second the oldest is forgotten before
 * its window ends. Redis has no such bound.
 */
export function dpop(parts: {
  readonly publicUrl: string
  readonly ring: SecretRing
  readonly store: Pick<Store, 'once'>
}): ProveSender {
  const { publicUrl, ring, store } = parts
  const nonces = dpopNonces(ring)

  return async function dpop(presented, token, nowMs) {
    const { issuer, payload } = token
    if (issuer.policy.senderConstraint !== 'dpop') return
    if (!isString(payload.jti) || !isString(payload['client_id'])) {
      throw new CredentialFault('claims')
    }
    const { proof, jti, nonce } = readProof(presented.proofs, nowMs)
    await validate(proof, presented, token, publicUrl)
    if (!nonces.accepts(nonce, nowMs)) {
      const headers = { 'dpop-nonce': nonces.newest(nowMs) }
      // Without any, the client has not been told one. One that is not accepted is no such step.
      const cause = nonce === undefined ? undefined : new CredentialFault('nonce')
      throw new Denied('authenticate.dpop-nonce', { headers, cause })
    }
    const used = hash('sha256', JSON.stringify([payload['cnf'], jti]))
    if (!(await store.once(`dpop:${used}`, REPLAY_SECONDS))) throw new CredentialFault('replay')
  }
}

/** The one proof of a request, as far as it can be judged without its signature. */
function readProof(
  [proof, second]: readonly string[],
  nowMs: number,
): { readonly proof: string; readonly jti: string; readonly nonce: unknown } {
  if (proof === undefined || second !== undefined) throw new CredentialFault('proof')
  const { header, payload } = readJwt(proof, MAX_PROOF_BYTES) ?? {}
  if (header === undefined || payload === undefined) throw new CredentialFault('proof')
  const { jti, iat, htu, nonce } = payload
  const isKnown = PROOF_ALGORITHMS.some((algorithm) => algorithm === header.alg)
  const isRecent = typeof iat === 'number' && Math.abs(nowMs / 1000 - iat) <= IAT_WINDOW_SECONDS
  // A query or fragment is not part of `htu` (§4.2), and this server has no resource with a query.
  const isBareUrl = isString(htu) && !/[?#]/.test(htu)
  const isNamed = isString(jti) && jti.length <= MAX_JTI_LENGTH
  if (!isKnown || !isRecent || !isBareUrl || !isNamed) throw new CredentialFault('proof')
  return { proof, jti, nonce }
}

/** Everything about a proof that needs the request, the token or the signature. */
async function validate(
  proof: string,
  { token, method }: Presented,
  { issuer, payload, key }: VerifiedToken,
  publicUrl: string,
): Promise<void> {
  // Issuer and audience were verified with the token. The library compares them once more.
  const [audience = ''] = [payload.aud ?? []].flat()
  const kid = readJwt(token, token.length)?.header.kid
  const jwk = { ...(await exportJWK(key)), ...(kid !== undefined && { kid }) }
  const request = new Request(publicUrl, {
    method,
    headers: { authorization: `DPoP ${token}`, dpop: proof },
  })
  try {
    await validateJwtAccessToken({ issuer: payload.iss ?? '' }, request, audience, {
      requireDPoP: true,
      [clockTolerance]: issuer.policy.clockToleranceSeconds,
      [jwksCache]: { jwks: { keys: [jwk] }, uat: Math.floor(Date.now() / 1000) },
      [customFetch]: refuseToFetch,
    })
  } catch {
    // Its errors hold the claims and are left behind. Whatever it is that failed means no.
    throw new CredentialFault('proof')
  }
}

async function refuseToFetch(): Promise<never> {
  throw new Error('Keys come from the key set alone')
}

function isString(value: unknown): value is string {
  return typeof value === 'string' && value !== ''
}
