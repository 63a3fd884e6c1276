// optional: oauth
import { createPublicKey } from 'node:crypto'
import { z } from 'zod'
import { type Outbound, OutboundError } from '../outbound.ts'
import { isLoopbackUrl } from '../urls.ts'

const MAX_BYTES = 262_144
const MAX_KEYS = 64
/** NIST SP 800-131A: RSA from 2048 bits. FIPS 186-5 §5.1: public exponents above 2^16. */
const MIN_RSA_BITS = 2048
const MIN_RSA_EXPONENT = 65_537n

/** Where the keys of an issuer come from. */
export interface KeySource {
  readonly issuer: string
  /** `null`: discovered from the issuer's metadata. */
  readonly jwksUri: string | null
  /** Keys that name another algorithm are ignored. */
  readonly algorithms: readonly string[]
  /** For all of it, metadata and keys. */
  readonly timeoutMs: number
}

/** The parts of a public key that are used. Whatever else a set says (`x5u`, `x5c`) is dropped. */
const publicKey = z.object({
  kty: z.enum(['EC', 'RSA', 'OKP']),
  kid: z.string().exactOptional(),
  use: z.literal('sig').exactOptional(),
  /** The others are dropped: no public key could be imported for them. */
  key_ops: z
    .array(z.string())
    .refine((ops) => ops.includes('verify'))
    .transform((): string[] => ['verify'])
    .exactOptional(),
  alg: z.string().exactOptional(),
  crv: z.string().exactOptional(),
  x: z.string().exactOptional(),
  y: z.string().exactOptional(),
  n: z.string().exactOptional(),
  e: z.string().exactOptional(),
  /** A key whose private part is public proves nothing. */
  d: z.never().exactOptional(),
})

export type PublicKey = z.output<typeof publicKey>

const jwksDocument = z.object({ keys: z.array(z.unknown()).max(MAX_KEYS) })
const metadataDocument = z.object({ issuer: z.string(), jwks_uri: z.string() })

/**
 * Fetches the keys of an issuer that may verify signatures: asymmetric, strong, meant for signatures.
 * All others in the set are ignored; a set of more than 64 keys or 256 KiB is refused.
 *
 * @throws {OutboundError} when the issuer does not answer as it should.
 * @throws {Error} when its documents are not what they should be.
 */
export async function fetchKeys(
  source: KeySource,
  outbound: Pick<Outbound, 'json'>,
): Promise<PublicKey[]> {
  const { issuer, jwksUri, algorithms, timeoutMs } = source
  const allowLoopback = isLoopbackUrl(new URL(jwksUri ?? issuer))
  const endsAt = performance.now() + timeoutMs
  const get = (url: string): Promise<unknown> => {
    const leftMs = Math.max(0, Math.ceil(endsAt - performance.now()))
    return outbound.json(url, { timeoutMs: leftMs, maxBytes: MAX_BYTES, allowLoopback })
  }
  const { keys } = jwksDocument.parse(await get(jwksUri ?? (await discover(issuer, get))))
  return keys
    .flatMap((key) => publicKey.safeParse(key).data ?? [])
    .filter((key) => key.alg === undefined || algorithms.includes(key.alg))
    .filter(isStrong)
}

function isStrong(jwk: PublicKey): boolean {
  try {
    const { asymmetricKeyType, asymmetricKeyDetails } = createPublicKey({ key: jwk, format: 'jwk' })
    if (asymmetricKeyType !== 'rsa') return true
    const { modulusLength = 0, publicExponent = 0n } = asymmetricKeyDetails ?? {}
    return modulusLength >= MIN_RSA_BITS && publicExponent >= MIN_RSA_EXPONENT
  } catch {
    // Not a key at all.
    return false
  }
}

/** What a place without such a document answers: an error, the way to a login page, a page. */
const NO_DOCUMENT: ReadonlySet<string> = new Set(['status', 'redirect', 'not-json'])

/** Asks at the well-known places in turn; the next one only when a place has no such document. */
async function discover(issuer: string, get: (url: string) => Promise<unknown>): Promise<string> {
  let missing: unknown
  for (const url of metadataUrls(issuer)) {
    let document: unknown
    try {
      document = await get(url)
    } catch (error) {
      if (!(error instanceof OutboundError) || !NO_DOCUMENT.has(error.fault)) throw error
      missing = error
      continue
    }
    const metadata = metadataDocument.parse(document)
    if (metadata.issuer !== issuer) throw new TypeError('metadata of another issuer')
    return metadata.jwks_uri
  }
  throw missing
}

/** RFC 8414 §3.1 puts the well-known part before the path of the issuer, OpenID Connect after it. */
function metadataUrls(issuer: string): readonly string[] {
  const { origin, pathname } = new URL(issuer)
  const path = pathname.replace(/\/$/, '')
  return [
    `${origin}/.well-known/oauth-authorization-server${path}`,
    `${origin}${path}/.well-known/openid-configuration`,
  ]
}
