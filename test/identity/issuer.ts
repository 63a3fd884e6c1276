// optional: oauth
import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import type { RequestListener } from 'node:http'
import { httpServer, json, type TestServer } from '../http-server.ts'

/** An authorization server on loopback, as far as a resource server sees one. */
export interface Issuer extends Pick<TestServer, 'down' | 'up' | 'requests'> {
  /** The value of `iss`. */
  readonly url: string
  /** Signs tokens; `rotate` sets another one. */
  readonly key: SigningKey
  /** What it publishes, oldest first. */
  readonly keys: readonly SigningKey[]
  /** How often somebody began to fetch its keys. */
  fetches(): number
  /** Answers everything like this from now on. */
  answerWith(listener: RequestListener): void
  /** Publishes another key and signs with it from now on. `without` takes the old ones away. */
  rotate(without?: 'old keys'): void
}

export type Algorithm = 'ES256' | 'EdDSA' | 'PS256' | 'RS256'

export interface SigningKey {
  readonly alg: Algorithm
  readonly kid: string
  readonly privateKey: KeyObject
  readonly publicKey: KeyObject
}

/** Members of a JSON object; as text when its exact bytes matter. `undefined` leaves one out. */
export type Members = Readonly<Record<string, unknown>>

export const METADATA_PATH = '/.well-known/oauth-authorization-server'
export const JWKS_PATH = '/jwks'

/** Publishes one key of each algorithm and signs with the first. */
export async function startIssuer(): Promise<Issuer> {
  let keys = ALGORITHMS.map((alg) => signingKey(alg, alg))
  let key = ofAlgorithm(keys, 'ES256')
  const server = await httpServer((request, response) => {
    const document = new Map<string, object>([
      [METADATA_PATH, metadataOf(server.origin)],
      [JWKS_PATH, jwksOf(keys)],
    ]).get(request.url ?? '')
    if (document === undefined) response.writeHead(404).end()
    else json(document)(request, response)
  })
  return {
    ...server,
    url: server.origin,
    get key() {
      return key
    },
    get keys() {
      return keys
    },
    fetches: () => server.requests.filter(({ url }) => url === METADATA_PATH).length,
    answerWith(listener) {
      server.answer = listener
    },
    rotate(without) {
      key = signingKey('ES256', `rotated-${keys.length}`)
      keys = without === undefined ? [...keys, key] : [key]
    },
  }
}

export function metadataOf(issuer: string): object {
  return { issuer, jwks_uri: `${issuer}${JWKS_PATH}` }
}

export function jwksOf(keys: readonly SigningKey[]): { readonly keys: readonly object[] } {
  return {
    keys: keys.map(({ alg, kid, publicKey }) => ({
      ...publicKey.export({ format: 'jwk' }),
      alg,
      kid,
      use: 'sig',
    })),
  }
}

export function ofAlgorithm(keys: readonly SigningKey[], alg: Algorithm): SigningKey {
  const found = keys.find((key) => key.alg === alg)
  if (found === undefined) throw new Error(`No key for ${alg}`)
  return found
}

export function signingKey(alg: Algorithm, kid: string): SigningKey {
  return { alg, kid, ...GENERATE[alg]() }
}

/** A token signed whatever its parts say; a part given as text is signed as it is. */
export function jws(key: SigningKey, header: Members | string, payload: Members | string): string {
  const input = `${base64url(header)}.${base64url(payload)}`
  return `${input}.${SIGN[key.alg](Buffer.from(input), key.privateKey).toString('base64url')}`
}

export function base64url(part: unknown): string {
  const text = typeof part === 'string' ? part : JSON.stringify(part)
  return Buffer.from(text).toString('base64url')
}

const ALGORITHMS = ['ES256', 'EdDSA', 'PS256', 'RS256'] as const

const rsa = (): Pick<SigningKey, 'privateKey' | 'publicKey'> =>
  generateKeyPairSync('rsa', { modulusLength: 2048 })
const GENERATE = {
  ES256: () => generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  EdDSA: () => generateKeyPairSync('ed25519'),
  PS256: rsa,
  RS256: rsa,
} as const satisfies Record<Algorithm, () => Pick<SigningKey, 'privateKey' | 'publicKey'>>

/** Node's defaults for RSA-PSS besides the padding are those of RFC 7518 §3.5 but for the salt. */
const PSS = { padding: 6, saltLength: 32 } as const
const SIGN: Readonly<Record<Algorithm, (input: Buffer, key: KeyObject) => Buffer>> = {
  ES256: (input, key) => sign('sha256', input, { key, dsaEncoding: 'ieee-p1363' }),
  EdDSA: (input, key) => sign(null, input, key),
  PS256: (input, key) => sign('sha256', input, { key, ...PSS }),
  RS256: (input, key) => sign('sha256', input, key),
}
