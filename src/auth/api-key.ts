// optional: api-key
import { hash, randomBytes, timingSafeEqual } from 'node:crypto'
import type { BlockList } from 'node:net'
import type { Identity } from '../context.ts'
import { Denied } from '../errors.ts'
import { isWithin, networkList } from '../networks.ts'
import type { KeyRecord } from './key-file.ts'
import { type AuthStrategy, type Credential, CredentialFault, type Fault } from './strategy.ts'

const KEY = /^mcpk_([a-z2-7]{12})_[A-Za-z0-9_-]{43}_[A-Za-z0-9_-]{6}$/
const ID_ALPHABET = 'abcdefghijklmnopqrstuvwxyz234567'
/** How far the clock of the machine that made a key may be ahead, ms. */
const CLOCK_TOLERANCE_MS = 60_000

/**
 * Makes a key: `mcpk_<id>_<secret>_<checksum>`. The id is 12 characters of base32 and public, the
 * secret 256 random bits, the checksum lets scanners tell a leaked key from a text that looks like
 * one without asking us.
 *
 * @returns the key, to be shown once, and what the key file keeps of it
 */
export function generateKey(): {
  readonly key: string
  readonly id: string
  readonly sha256: string
} {
  const id = Array.from(randomBytes(12), (byte) => ID_ALPHABET.charAt(byte % 32)).join('')
  const body = `mcpk_${id}_${randomBytes(32).toString('base64url')}`
  const key = `${body}_${checksum(body)}`
  return { key, id, sha256: hash('sha256', key) }
}

/** @returns the id that a key claims, or why the text cannot be a key. Nothing is verified yet. */
export function parseKey(
  token: string,
): { readonly id: string } | Extract<Fault, 'shape' | 'checksum'> {
  const id = KEY.exec(token)?.[1]
  if (id === undefined) return 'shape'
  return checksum(token.slice(0, -7)) === token.slice(-6) ? { id } : 'checksum'
}

function checksum(body: string): string {
  return hash('sha256', body, 'base64url').slice(0, 6)
}

interface Entry {
  readonly record: KeyRecord
  readonly digest: Buffer
  readonly createdAtMs: number
  readonly expiresAtMs: number
  readonly networks: BlockList | undefined
}

/** Compared with when no key has the id, so that the answer takes as long as for one that exists. */
const NO_DIGEST = Buffer.alloc(32)

/**
 * Threat:  Stolen, guessed, expired or revoked keys; learning from timing which keys exist.
 * Rule:    the text must be a well-formed key, which carries 256 random bits, so short, default and
 *          example keys never match; the SHA-256 of the whole key must equal that of its record, in
 *          constant time; then revocation, expiry and networks, on every request.
 * Policy:  policies/auth.yaml `apiKeys`; the key file
 * Refuses: 401 `authenticate.rejected`
 * Source:  OWASP ASVS 5.0 11.2.4, 11.5.1, 14.2.1
 */
export function apiKey({ records }: { readonly records: readonly KeyRecord[] }): AuthStrategy {
  const entries = new Map<string, Entry>(records.map((record) => [record.id, entryOf(record)]))

  function check(credential: Credential, nowMs: number): KeyRecord | Fault {
    const { scheme, token, digest, address } = credential
    if (scheme !== 'bearer') return 'shape'
    const parsed = parseKey(token)
    if (typeof parsed === 'string') return parsed
    const entry = entries.get(parsed.id)
    const equal = timingSafeEqual(entry?.digest ?? NO_DIGEST, Buffer.from(digest, 'hex'))
    if (entry === undefined || !equal) return 'unknown'
    if (entry.record.revokedAt !== null) return 'revoked'
    if (nowMs < entry.createdAtMs - CLOCK_TOLERANCE_MS) return 'not-yet-valid'
    if (nowMs >= entry.expiresAtMs) return 'expired'
    if (entry.networks !== undefined && !isWithin(entry.networks, address)) return 'address'
    return entry.record
  }

  async function verify(credential: Credential, nowMs: number): Promise<Identity | undefined> {
    if (!credential.token.startsWith('mcpk_')) return undefined
    const result = check(credential, nowMs)
    if (typeof result !== 'string') return identityOf(result, credential)
    throw new Denied('authenticate.rejected', { cause: new CredentialFault(result) })
  }

  return {
    recall(credential, nowMs) {
      const result = check(credential, nowMs)
      return typeof result === 'string' ? undefined : identityOf(result, credential)
    },

    verify,
    recheck: verify,

    available(nowMs) {
      return [...entries.values()].some(
        ({ record, expiresAtMs }) => record.revokedAt === null && nowMs < expiresAtMs,
      )
    },

    close() {
      // Nothing runs in the background.
    },
  }
}

function identityOf(record: KeyRecord, { digest }: Credential): Identity {
  const { id, subject, scopes, roles, tenant, expiresAt } = record
  return {
    principal: {
      kind: 'api-key',
      issuer: 'gatehouse',
      client: '',
      subject,
      scopes,
      roles,
      tenant,
    },
    credentialDigest: digest,
    credentialId: id,
    expiresAt: Math.floor(Date.parse(expiresAt) / 1000),
    claims: {},
  }
}

function entryOf(record: KeyRecord): Entry {
  return {
    record,
    digest: Buffer.from(record.sha256, 'hex'),
    createdAtMs: Date.parse(record.createdAt),
    expiresAtMs: Date.parse(record.expiresAt),
    networks: record.allowedCidrs.length === 0 ? undefined : networkList(record.allowedCidrs),
  }
}
