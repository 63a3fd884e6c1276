// optional: dpop
import { createHash, randomUUID } from 'node:crypto'
import { base64url, jws, type Members, type SigningKey } from './issuer.ts'

/** What a proof is made for. */
export interface ProofOptions {
  readonly key: SigningKey
  readonly token: string
  /** `htu` */
  readonly url: string
  readonly nonce?: string | undefined
  /** Claims of a good proof but for these; `undefined` takes one away. As text: the whole payload. */
  readonly claims?: Members | string
  /** Headers of a good proof but for these. As text: the whole header. */
  readonly header?: Members | string
}

/** A DPoP proof (RFC 9449 §4.2) for a POST, made now. */
export function proofOf({ key, token, url, nonce, claims, header }: ProofOptions): string {
  return jws(
    key,
    typeof header === 'string'
      ? header
      : { typ: 'dpop+jwt', alg: key.alg, jwk: publicJwk(key), ...header },
    typeof claims === 'string'
      ? claims
      : {
          jti: randomUUID(),
          htm: 'POST',
          htu: url,
          iat: Math.floor(Date.now() / 1000),
          ath: athOf(token),
          nonce,
          ...claims,
        },
  )
}

export function athOf(token: string): string {
  return createHash('sha256').update(token).digest('base64url')
}

export function publicJwk({ publicKey }: SigningKey): Members {
  return { ...publicKey.export({ format: 'jwk' }) }
}

/** RFC 7638, for the keys of the tests. */
export function thumbprint(key: SigningKey): string {
  const { crv, e, kty, n, x, y } = publicJwk(key)
  return createHash('sha256').update(JSON.stringify({ crv, e, kty, n, x, y })).digest('base64url')
}

/** The same JWT with another part. */
export function withPart(jwt: string, index: 0 | 1 | 2, part: Members | string): string {
  const text = typeof part === 'string' ? part : base64url(part)
  return jwt
    .split('.')
    .map((old, at) => (at === index ? text : old))
    .join('.')
}
