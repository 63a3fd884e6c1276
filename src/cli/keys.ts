// optional: api-key
import { hash } from 'node:crypto'
import { generateKey } from '../auth/api-key.ts'
import { type KeyRecord, loadKeys, parseKeys } from '../auth/key-file.ts'
import { commandSettings } from '../config.ts'
import type { CommandSettings } from '../config-commands.ts'
import { loadAuthPolicy } from '../policy.ts'
import { Problems } from '../problems.ts'
import { secretRing } from '../secrets.ts'
import {
  type Arguments,
  type Command,
  count,
  keyId,
  readArguments,
  UsageError,
} from './keys/arguments.ts'
import { grantOf, optionsFit } from './keys/grant.ts'
import { type Change, created, revoked, rotated, serialized } from './keys/key-changes.ts'
import { jsonOf, tableOf } from './keys/list-keys.ts'
import {
  type KeyFile,
  LONGEST_LIFE_DAYS,
  readKeyFile,
  updateKeyFile,
} from './keys/update-key-file.ts'

const USAGE = `Usage:
  npm run keys -- create --name NAME --scopes 'SCOPE SCOPE' --days DAYS [--subject SUBJECT]
      [--tenant TENANT] [--roles 'ROLE ROLE'] [--networks 'CIDR CIDR'] [--dry-run] [--file FILE]
  npm run keys -- rotate ID [--overlap-hours HOURS] [--days DAYS] [--dry-run] [--file FILE]
  npm run keys -- revoke ID [--dry-run] [--file FILE]
  npm run keys -- list [--json] [--file FILE]
  npm run keys -- derive audit-mac

FILE defaults to MCP_API_KEYS_FILE. ID is the 12 characters after mcpk_. A key that is made is
printed, this once, to standard output; everything else goes to standard error (npm adds lines of its
own unless it is called as npm run --silent). --dry-run says what would change, changes nothing and
makes no key.

create   adds a key to FILE, which is made if it does not exist. DAYS is at most what auth.yaml
         apiKeys.maxLifetimeDays allows. SUBJECT owns what the key stores and defaults to NAME.
rotate   makes a key with the name, subject and grants of ID, which lives as long as that was made
         to. ID ends after HOURS, 1 to 720, by default 168, but never later than it would have.
revoke   ends a key: servers that read FILE refuse it within 5 seconds. When a key may have leaked,
         rotate it, then revoke it.
derive   prints the key that verifies the audit trail, from MCP_SECRET or MCP_SECRET_FILE.
`
const OVERLAP = { defaultHours: 168, maxHours: 720 } as const

/** Stands for a key in a dry run. It is written nowhere. */
const NO_KEY = { key: '', id: 'aaaaaaaaaaaa', sha256: hash('sha256', 'dry run') }

/** Where a command writes. */
export interface Terminal {
  /** Results alone. */
  out(text: string): void
  /** Notes, problems and usage. */
  err(text: string): void
}

interface Run {
  readonly args: Arguments
  readonly terminal: Terminal
  readonly nowMs: number
  readonly settings: Partial<CommandSettings>
}

/**
 * Makes, rotates, revokes and lists API keys, and derives the key of the auditor.
 *
 * @returns the exit code: 0 done, 1 the file, the id or the secret cannot be used, 2 usage
 */
export function keys(
  args: readonly string[],
  terminal: Terminal,
  nowMs: number,
  settings: Partial<CommandSettings> = {},
): number {
  try {
    const parsed = readArguments(args)
    COMMANDS[parsed.command]({ args: parsed, terminal, nowMs, settings })
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

const COMMANDS: Readonly<Record<Command, (run: Run) => void>> = {
  create,
  rotate,
  revoke,
  list,
  derive,
}

function create(run: Run): void {
  const { args, nowMs } = run
  const file = fileOf(run)
  const days = count(args, 'days', maxDays(run))
  const grant = grantOf(args)
  if (days === undefined) throw new UsageError('--days is missing.')
  const { key, ...generated } = newKey(args)
  const options = { days, generated, nowMs }
  optionsFit(() => created([], grant, options))
  apply(run, file, true, (records) => created(records, grant, options))
  show(run, generated.id, key)
}

function rotate(run: Run): void {
  const { args, nowMs } = run
  const file = fileOf(run)
  const id = idOf(run)
  const longest = maxDays(run)
  const days = count(args, 'days', longest)
  const overlapHours = count(args, 'overlap-hours', OVERLAP.maxHours) ?? OVERLAP.defaultHours
  const { key, ...generated } = newKey(args)
  const options = { overlapHours, days, maxDays: longest, generated, nowMs }
  apply(run, file, false, (records) => rotated(records, id, options))
  show(run, generated.id, key)
}

function revoke(run: Run): void {
  const file = fileOf(run)
  const id = idOf(run)
  apply(run, file, false, (records) => revoked(records, id, run.nowMs))
}

function list(run: Run): void {
  const { path, named } = fileOf(run)
  const records = loadKeys(path, LONGEST_LIFE_DAYS, named)
  const shown = run.args.flags.has('json') ? jsonOf : tableOf
  run.terminal.out(shown(records, run.nowMs))
}

/** One line for each root secret: records made before a rotation of the secret need the older ones. */
function derive({ args, terminal, settings }: Run): void {
  if (args.operand !== 'audit-mac') throw new UsageError('derive gives out audit-mac alone.')
  if (settings.secrets === undefined) throw new UsageError('Set MCP_SECRET or MCP_SECRET_FILE.')
  const derived = secretRing(settings.secrets())('audit-mac')
  terminal.err(
    [
      `Ids of the keys, one a line: ${derived.map(({ id }) => id).join(' ')}`,
      'A record names its key in unmapped.chain.key. Whoever has the key can verify the audit',
      'trail, and forge it: give it to the auditor, never to those who keep the records.\n',
    ].join('\n'),
  )
  terminal.out(derived.map(({ key }) => `${key.toString('base64')}\n`).join(''))
}

function fileOf({ args, settings }: Run): KeyFile {
  const option = args.values.get('file')
  const path = option ?? settings.apiKeysFile ?? ''
  if (path !== '') return { path, named: option === undefined ? 'MCP_API_KEYS_FILE' : '--file' }
  throw new UsageError('Name the key file: set MCP_API_KEYS_FILE, or give --file.')
}

function idOf({ args, terminal }: Run): string {
  const { id, isWholeKey } = keyId(args)
  if (isWholeKey) {
    terminal.err(
      `That is a whole key; its id is ${id}. The id is enough: a command line is seen and kept by others.\n`,
    )
  }
  return id
}

/** The server refuses a key file as a whole when one key may live too long. */
function maxDays({ terminal, settings: { policyDir } }: Run): number {
  const policy = policyDir === undefined ? undefined : loadAuthPolicy(policyDir, 'development')
  if (policy !== undefined) return policy.apiKeys.maxLifetimeDays
  terminal.err(
    'No auth.yaml in MCP_POLICY_DIR: if the server allows fewer days, it will refuse the file.\n',
  )
  return LONGEST_LIFE_DAYS
}

function newKey({ flags }: Arguments): ReturnType<typeof generateKey> {
  return flags.has('dry-run') ? NO_KEY : generateKey()
}

/** Changes the file, or only says how, and that no secret has been made. */
function apply(
  { args, terminal }: Run,
  file: KeyFile,
  orNone: boolean,
  change: (records: readonly KeyRecord[]) => Change,
): void {
  let sentences: readonly string[] = []
  function decide(records: readonly KeyRecord[]): readonly KeyRecord[] | undefined {
    const result = change(records)
    sentences = result.sentences
    if (result.records !== undefined) {
      parseKeys(serialized(result.records), LONGEST_LIFE_DAYS, file.named)
    }
    return result.records
  }
  if (args.flags.has('dry-run')) {
    decide(readKeyFile(file, orNone))
    terminal.err('Dry run, nothing has changed. This is what the command would do:\n')
  } else {
    updateKeyFile(file, orNone, decide)
  }
  terminal.err(sentences.map((sentence) => `${sentence}\n`).join(''))
}

function show({ terminal }: Run, id: string, key: string): void {
  if (key === '') return
  terminal.err(`Its id is ${id}. The key is shown only now:\n`)
  terminal.out(`${key}\n`)
}

if (import.meta.main) {
  const terminal: Terminal = {
    out: (text) => process.stdout.write(text),
    err: (text) => process.stderr.write(text),
  }
  process.exitCode = keys(process.argv.slice(2), terminal, Date.now(), commandSettings())
}
