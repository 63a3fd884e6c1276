import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import { generateKey } from '../src/auth/api-key.ts'
import type { KeyRecord } from '../src/auth/key-file.ts'

const DAY_MS = 86_400_000

/** A time some days from now, as key files have it. */
export function daysFromNow(days: number): string {
  return new Date(Date.now() + days * DAY_MS).toISOString()
}

/**
 * A key file for one test, with one live key for each record that differs from it as the record says.
 *
 * @returns the file, and the keys in order
 */
export function keyFile(...records: readonly Partial<KeyRecord>[]): {
  readonly file: string
  readonly keys: readonly string[]
} {
  const dir = mkdtempSync(join(tmpdir(), 'gatehouse-'))
  onTestFinished(() => rmSync(dir, { recursive: true }))
  const file = join(dir, 'keys.json')
  const made = records.map((record, index) => {
    const { key, id, sha256 } = generateKey()
    const full: KeyRecord = {
      id,
      name: `key ${index}`,
      sha256,
      subject: `subject ${index}`,
      tenant: null,
      roles: [],
      scopes: ['mcp:use'],
      createdAt: daysFromNow(-2),
      expiresAt: daysFromNow(30),
      allowedCidrs: [],
      revokedAt: null,
      ...record,
    }
    return { key, full }
  })
  writeFileSync(file, JSON.stringify({ keys: made.map(({ full }) => full) }))
  return { file, keys: made.map(({ key }) => key) }
}
