// optional: api-key
import { type KeyRecord, parseKeys } from '../../auth/key-file.ts'
import { Problems } from '../../problems.ts'

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS

/** What the file keeps of a key that was just generated. */
export type Generated = Pick<KeyRecord, 'id' | 'sha256'>

/** What would be in the file, and how it differs, in sentences. */
export interface Change {
  /** `undefined` when the file is as it should be. */
  readonly records: readonly KeyRecord[] | undefined
  readonly sentences: readonly string[]
}

/** What the caller of `create` decides. */
export type Grant = Pick<
  KeyRecord,
  'name' | 'subject' | 'tenant' | 'roles' | 'scopes' | 'allowedCidrs'
>

/** @throws {Problems} naming the wrong fields of the grant as `keys.0.<field>` */
export function created(
  records: readonly KeyRecord[],
  grant: Grant,
  { days, generated, nowMs }: { days: number; generated: Generated; nowMs: number },
): Change {
  const record = {
    id: generated.id,
    name: grant.name,
    sha256: generated.sha256,
    subject: grant.subject,
    tenant: grant.tenant,
    roles: [...grant.roles],
    scopes: [...grant.scopes],
    createdAt: at(nowMs),
    expiresAt: at(nowMs + days * DAY_MS),
    allowedCidrs: [...grant.allowedCidrs],
    revokedAt: null,
  }
  parseKeys(serialized([record]), days)
  return { records: [...records, record], sentences: [sentenceOf(record)] }
}

/**
 * A second key with the grants of the first, which then ends after the overlap, or when it would have
 * ended anyway. One subject, so what the first owns is the second's as well.
 *
 * @param maxDays longest life of the new key, which lives as long as the old one by default
 * @throws {Problems} for a key that is not there or has ended: its grants were taken back.
 */
export function rotated(
  records: readonly KeyRecord[],
  id: string,
  options: {
    readonly overlapHours: number
    readonly days: number | undefined
    readonly maxDays: number
    readonly generated: Generated
    readonly nowMs: number
  },
): Change {
  const { overlapHours, maxDays, generated, nowMs } = options
  const old = find(records, id)
  const expiresAtMs = Date.parse(old.expiresAt)
  if (old.revokedAt !== null) throw refused('is revoked: make a new key with create')
  if (expiresAtMs <= nowMs) throw refused('has expired: make a new key with create')

  const lifeDays = Math.max(...records.filter(isAlike(old)).map(lifeDaysOf))
  const days = options.days ?? Math.min(lifeDays, maxDays)
  const endMs = nowMs + overlapHours * HOUR_MS
  const ending = endMs < expiresAtMs ? { ...old, expiresAt: at(endMs) } : old
  const rest = records.map((record) => (record === old ? ending : record))
  const next = created(rest, old, { days, generated, nowMs })
  const before = ending === old ? 'as before' : `before: ${old.expiresAt}`
  return {
    ...next,
    sentences: [`Key ${id} ends ${ending.expiresAt} (${before}).`, ...next.sentences],
  }
}

/** A key that is in its overlap ends early: how long it was made to live, its successor shows. */
function isAlike({ name, subject }: KeyRecord): (record: KeyRecord) => boolean {
  return (record) => record.name === name && record.subject === subject
}

function lifeDaysOf({ createdAt, expiresAt }: KeyRecord): number {
  return Math.ceil((Date.parse(expiresAt) - Date.parse(createdAt)) / DAY_MS)
}

/** Ends a key now. One that is revoked stays revoked since when it was. */
export function revoked(records: readonly KeyRecord[], id: string, nowMs: number): Change {
  const old = find(records, id)
  if (old.revokedAt !== null) {
    const sentence = `Key ${id} has been revoked since ${old.revokedAt}: there is nothing to change.`
    return { records: undefined, sentences: [sentence] }
  }
  const ended = { ...old, revokedAt: at(nowMs) }
  return {
    records: records.map((record) => (record === old ? ended : record)),
    sentences: [`Key ${id} (name ${old.name}, subject ${old.subject}) is revoked.`],
  }
}

/** A key file with these records. */
export function serialized(records: readonly KeyRecord[]): string {
  return `${JSON.stringify({ keys: records }, null, 2)}\n`
}

function find(records: readonly KeyRecord[], id: string): KeyRecord {
  const found = records.find((record) => record.id === id)
  if (found === undefined) throw refused('is that of no key in the file; list shows the ids')
  return found
}

function refused(message: string): Problems {
  return new Problems([{ field: 'ID', message }])
}

function at(ms: number): string {
  return new Date(ms).toISOString()
}

/** Everything that the holder of the key will be, for whoever approves it. */
function sentenceOf(record: KeyRecord): string {
  const listed = (all: readonly string[], none: string): string =>
    all.length === 0 ? none : all.join(' ')
  return [
    `The new key has the name ${record.name}`,
    `the subject ${record.subject}`,
    record.tenant === null ? 'no tenant' : `the tenant ${record.tenant}`,
    `the roles ${listed(record.roles, 'none')}`,
    `the scopes ${listed(record.scopes, 'none')}`,
    `may be used from ${listed(record.allowedCidrs, 'any network')}`,
    `and ends ${record.expiresAt}.`,
  ].join(', ')
}
