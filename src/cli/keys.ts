// optional: api-key
import {
  closeSync,
  existsSync,
  fchmodSync,
  fsyncSync,
  openSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { parseArgs } from 'node:util'
import { generateKey } from '../auth/api-key.ts'
import { type KeyRecord, loadKeys, parseKeys } from '../auth/key-file.ts'
import { apiKeysFileSetting } from '../config.ts'
import { Problems } from '../problems.ts'

const USAGE = `Usage:
  npm run keys -- create --name NAME --scopes 'SCOPE SCOPE' --days DAYS [--subject SUBJECT] [--file FILE]
  npm run keys -- list [--file FILE]

FILE defaults to MCP_API_KEYS_FILE.
create adds a key to FILE (made if it does not exist) and prints the key, this once, to standard
output. DAYS is 1 to 365. SUBJECT owns what the key stores and defaults to NAME: give a new key the
subject of the old one to rotate.
`
const MAX_DAYS = 365
/** The longest life that a policy may allow: what is in the file already may be that old. */
const MAX_POLICY_DAYS = 730
const DAY_MS = 86_400_000

/** Where a command writes. */
export interface Terminal {
  /** Results alone. */
  out(text: string): void
  /** Notes, problems and usage. */
  err(text: string): void
}

class UsageError extends Error {}

/**
 * Creates and lists API keys.
 *
 * @param defaultFile key file for a command that names none
 * @returns the exit code: 0 done, 1 the file cannot be used, 2 usage
 */
export function keys(
  args: readonly string[],
  terminal: Terminal,
  nowMs: number,
  defaultFile?: string,
): number {
  try {
    const { command, options } = readArguments(args)
    const file = options['file'] ?? defaultFile
    if (file === undefined || file === '') {
      throw new UsageError('Name the key file: set MCP_API_KEYS_FILE, or give --file.')
    }
    if (command === 'create') create(file, options, terminal, nowMs)
    else list(file, terminal, nowMs)
    return 0
  } catch (error) {
    if (error instanceof UsageError) {
      terminal.err(`${error.message}\n\n${USAGE}`)
      return 2
    }
    if (!(error instanceof Problems)) throw error
    terminal.err(`${error.message}\n`)
    return 1
  }
}

type Options = Readonly<Record<string, string | undefined>>

function readArguments(args: readonly string[]): { command: 'create' | 'list'; options: Options } {
  const option = { type: 'string' } as const
  const file = { file: option }
  const all = { ...file, name: option, scopes: option, days: option, subject: option }
  const [command, ...rest] = args
  if (command !== 'create' && command !== 'list') throw new UsageError('Say create or list.')
  try {
    const { values } =
      command === 'create'
        ? parseArgs({ args: rest, options: all })
        : parseArgs({ args: rest, options: file })
    return { command, options: { ...values } }
  } catch {
    throw new UsageError(`${command} does not know one of these options, or one has no value.`)
  }
}

function required(options: Options, name: string): string {
  const value = options[name]
  if (value === undefined || value === '') throw new UsageError(`--${name} is missing.`)
  return value
}

function create(file: string, options: Options, { out, err }: Terminal, nowMs: number): void {
  const { key, id, sha256 } = generateKey()
  const record = recordOf(options, { id, sha256 }, nowMs)
  update(file, (records) => [...records, record])
  err(`Key ${id} is in the file and expires at ${record.expiresAt}. It is shown only now:\n`)
  out(`${key}\n`)
}

function recordOf(
  options: Options,
  generated: Pick<KeyRecord, 'id' | 'sha256'>,
  nowMs: number,
): KeyRecord {
  const name = required(options, 'name')
  const days = required(options, 'days')
  if (!/^[1-9]\d{0,2}$/.test(days) || Number(days) > MAX_DAYS) {
    throw new UsageError(`--days must be a whole number from 1 to ${MAX_DAYS}.`)
  }
  const scopes = required(options, 'scopes')
  if (scopes.includes(',')) throw new UsageError('--scopes are separated by spaces, not commas.')
  const record = {
    ...generated,
    name,
    subject: options['subject'] ?? name,
    tenant: null,
    roles: [],
    scopes: scopes.split(' '),
    createdAt: new Date(nowMs).toISOString(),
    expiresAt: new Date(nowMs + Number(days) * DAY_MS).toISOString(),
    allowedCidrs: [],
    revokedAt: null,
  }
  try {
    parseKeys(serialized([record]), MAX_DAYS)
  } catch (error) {
    if (!(error instanceof Problems)) throw error
    const wrong = error.problems.map(
      ({ field, message }) => `--${field.split('.')[2] ?? field} ${message}.`,
    )
    throw new UsageError(wrong.join('\n'))
  }
  return record
}

function serialized(records: readonly KeyRecord[]): string {
  return `${JSON.stringify({ keys: records }, null, 2)}\n`
}

/**
 * Replaces the file in one step, so that a server never reads half of it. The new file is also the
 * lock: two changes at once would lose one.
 */
function update(
  file: string,
  change: (records: readonly KeyRecord[]) => readonly KeyRecord[],
): void {
  const next = `${file}.new`
  let descriptor: number
  try {
    descriptor = openSync(next, 'wx', 0o600)
  } catch {
    throw new Problems([
      {
        field: '--file',
        message: 'cannot be written, or FILE.new is left over: remove it if no other change runs',
      },
    ])
  }
  try {
    const exists = existsSync(file)
    const records = exists ? loadKeys(file, MAX_POLICY_DAYS) : []
    writeFileSync(descriptor, serialized(change(records)))
    if (exists) fchmodSync(descriptor, statSync(file).mode & 0o777)
    fsyncSync(descriptor)
    renameSync(next, file)
  } catch (error) {
    rmSync(next, { force: true })
    throw error
  } finally {
    closeSync(descriptor)
  }
}

function list(file: string, { out }: Terminal, nowMs: number): void {
  const rows = loadKeys(file, MAX_POLICY_DAYS).map((record) => [
    record.id,
    stateOf(record, nowMs),
    record.expiresAt.slice(0, 10),
    record.name,
    record.subject,
    record.scopes.join(' '),
  ])
  const table = [['ID', 'STATE', 'EXPIRES', 'NAME', 'SUBJECT', 'SCOPES'], ...rows]
  const widths = table[0]?.map((_, column) =>
    Math.max(...table.map((row) => row[column]?.length ?? 0)),
  )
  for (const row of table) {
    out(
      `${row
        .map((cell, column) => cell.padEnd(widths?.[column] ?? 0))
        .join('  ')
        .trimEnd()}\n`,
    )
  }
}

function stateOf({ revokedAt, expiresAt }: KeyRecord, nowMs: number): string {
  if (revokedAt !== null) return 'revoked'
  return nowMs < Date.parse(expiresAt) ? 'live' : 'expired'
}

if (import.meta.main) {
  const terminal: Terminal = {
    out: (text) => process.stdout.write(text),
    err: (text) => process.stderr.write(text),
  }
  process.exitCode = keys(process.argv.slice(2), terminal, Date.now(), apiKeysFileSetting())
}
