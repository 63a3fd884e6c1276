// optional: api-key
import { hash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { z } from 'zod'
import { scanJson } from '../json-scan.ts'
import { isCidr } from '../networks.ts'
import { inWords, Problems } from '../problems.ts'

const DAY_MS = 86_400_000

const printable = z
  .string()
  .regex(/^[\x20-\x7e]{1,255}$/, 'must be 1 to 255 printable ASCII characters')
const instant = z.iso.datetime('must be a time in UTC such as 2026-01-31T00:00:00Z')

/** One character repeated, or the digest of nothing: what stands in examples and templates. */
function isPlaceholder(digest: string): boolean {
  return /^(.)\1+$/.test(digest) || digest === hash('sha256', '')
}

const keyRecord = z.strictObject({
  id: z.string().regex(/^[a-z2-7]{12}$/, 'must be the 12 characters after mcpk_'),
  /** For people: who holds the key, or where it is used. */
  name: printable,
  /** Of the whole key, lower-case hex. A digest of anything but a generated key matches no request. */
  sha256: z
    .string()
    .regex(/^[0-9a-f]{64}$/, 'must be a SHA-256 digest in lower-case hex')
    .refine((digest) => !isPlaceholder(digest), 'must be the digest of a generated key'),
  /** Keys with the same subject are one principal, so that rotation keeps what it owns. */
  subject: printable,
  tenant: printable.nullable(),
  roles: z.array(printable),
  /** scope-token, RFC 6749 §3.3. */
  scopes: z.array(
    z
      .string()
      .regex(/^[\x21\x23-\x5b\x5d-\x7e]{1,128}$/, 'must be one scope token')
      .refine((scope) => scope !== '*', 'there is no wildcard: name each scope'),
  ),
  createdAt: instant,
  expiresAt: instant,
  /** Client networks that may use the key. Empty: the key is not bound to networks. */
  allowedCidrs: z.array(z.string().refine(isCidr, 'must be a network such as 10.0.0.0/8')),
  /** Any time here revokes the key at once, also one in the future. */
  revokedAt: instant.nullable(),
})

/** One key as the key file holds it. */
export type KeyRecord = Readonly<z.output<typeof keyRecord>>

const SETTING = 'MCP_API_KEYS_FILE'

/**
 * Reads a key file, whole or not at all.
 *
 * @param maxLifetimeDays longest time from `createdAt` to `expiresAt`
 * @param named what names the file, for messages
 * @throws {Problems} naming each wrong field by its place in the file, never by its value.
 */
export function loadKeys(
  file: string,
  maxLifetimeDays: number,
  named = SETTING,
): readonly KeyRecord[] {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch {
    throw new Problems([{ field: named, message: 'cannot be read' }])
  }
  return parseKeys(text, maxLifetimeDays, named)
}

/** Does the same for the text of a key file. */
export function parseKeys(
  text: string,
  maxLifetimeDays: number,
  named = SETTING,
): readonly KeyRecord[] {
  const result = keyFile(maxLifetimeDays).safeParse(parseJson(text, named), { error: inWords })
  if (result.success) return result.data.keys
  throw new Problems(
    result.error.issues.map(({ path, message }) => ({
      field: [named, path.join('.')].join(' ').trim(),
      message,
    })),
  )
}

/** @throws {Problems} with fixed text: what the parser says quotes the file. */
function parseJson(text: string, named: string): unknown {
  const fault = scanJson(text, 4)
  if (fault !== undefined) throw new Problems([{ field: named, message: `is refused: ${fault}` }])
  try {
    return JSON.parse(text)
  } catch {
    throw new Problems([{ field: named, message: 'is not JSON' }])
  }
}

function keyFile(maxLifetimeDays: number) {
  return z.strictObject({
    keys: z.array(keyRecord).superRefine((records, context) => {
      const ids = new Set<string>()
      for (const [index, { id, createdAt, expiresAt }] of records.entries()) {
        const refuse = (field: string, message: string): void =>
          context.addIssue({ code: 'custom', path: [index, field], message })
        const lifetimeMs = Date.parse(expiresAt) - Date.parse(createdAt)
        if (ids.has(id)) refuse('id', 'is the id of another key')
        if (lifetimeMs <= 0) refuse('expiresAt', 'must be after createdAt')
        if (lifetimeMs > maxLifetimeDays * DAY_MS) {
          refuse('expiresAt', `must be at most ${maxLifetimeDays} days after createdAt`)
        }
        ids.add(id)
      }
    }),
  })
}
