// optional: api-key
import { keyState } from '../../auth/key-expiry.ts'
import type { KeyRecord } from '../../auth/key-file.ts'

type Ending = Pick<KeyRecord, 'expiresAt' | 'revokedAt'>

const HOUR_MS = 3_600_000
const HEADER = ['ID', 'STATE', 'EXPIRES', 'LEFT', 'NAME', 'SUBJECT', 'SCOPES']

/** The keys as a table for people: neither digests nor anything that lets somebody in. */
export function tableOf(records: readonly KeyRecord[], nowMs: number): string {
  const rows = records.map((record) => [
    record.id,
    keyState(record, nowMs),
    record.expiresAt.slice(0, 10),
    left(record, nowMs),
    record.name,
    record.subject,
    record.scopes.join(' '),
  ])
  const table = [HEADER, ...rows]
  const widths = HEADER.map((_, column) =>
    Math.max(...table.map((row) => row[column]?.length ?? 0)),
  )
  const lineOf = (row: readonly string[]): string =>
    row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  ')
  return table.map((row) => `${lineOf(row).trimEnd()}\n`).join('')
}

/** The same for programs: one JSON array, with the fields of the key file but its digests. */
export function jsonOf(records: readonly KeyRecord[], nowMs: number): string {
  const shown = records.map(({ sha256: _, ...record }) => ({
    ...record,
    state: keyState(record, nowMs),
    secondsLeft: Math.floor(remainingMs(record, nowMs) / 1000),
  }))
  return `${JSON.stringify(shown)}\n`
}

function remainingMs({ expiresAt, revokedAt }: Ending, nowMs: number): number {
  return revokedAt === null ? Math.max(0, Date.parse(expiresAt) - nowMs) : 0
}

/** Rounded down, so that nobody plans on time that is not there. */
function left(record: Ending, nowMs: number): string {
  const remaining = remainingMs(record, nowMs)
  if (remaining === 0) return '-'
  const hours = Math.floor(remaining / HOUR_MS)
  return hours < 48 ? `${hours} h` : `${Math.floor(hours / 24)} days`
}
