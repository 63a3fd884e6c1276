import { parseArgs } from 'node:util'
import { UnreadableFile } from '../audit/log-files.ts'
import { COUNTED, type Counted, type ShowOptions, show } from './audit/show.ts'
import { shown, type Terminal, UsageError } from './audit/terminal.ts'
import { verify } from './audit/verify.ts'
import { knownHeads, macKeys, publicKeys } from './audit/verify-inputs.ts'

const USAGE = `Usage:
  npm run audit -- verify [--mac-key FILE] [--public-key FILE] [--head WRITER:SEQUENCE:MAC]
                          [--heads FILE] [--allow-missing-start] FILE…
  npm run audit -- show [--principal P] [--tool T] [--decision allowed|denied] [--event E]
                        [--reason R] [--address IP] [--request ID] [--since TIME] [--until TIME]
                        [--counts [FIELD] | --json] FILE…

FILE is an audit log, in any order of a rotated set; - is standard input; .gz files are read as well.

verify needs a key. --mac-key: what npm run keys -- derive audit-mac prints; every record is verified.
--public-key: Ed25519 (PEM); the records up to the newest signed checkpoint are. Both may be given more
than once. --head names a record that must be in the log, --heads a file of heads or of whole records.
--allow-missing-start accepts that the oldest files are gone. Exit code 0: complete and unchanged;
1: damaged, with the first damage; 2: usage.

show does not verify. TIME is as in 2026-01-31 or 2026-01-31T12:00:00Z. FIELD is one of
${COUNTED.join(', ')}; event when left out.
`

/**
 * Verifies and shows audit logs.
 *
 * @returns the exit code: 0 done, 1 damaged or unreadable, 2 usage
 */
export async function audit(args: readonly string[], terminal: Terminal): Promise<0 | 1 | 2> {
  try {
    const [command, ...rest] = args
    if (command === 'verify') return await verifyCommand(rest, terminal)
    if (command === 'show') return await showCommand(rest, terminal)
    throw new UsageError('Say verify or show.')
  } catch (error) {
    if (error instanceof UsageError) {
      terminal.err(`${error.message}\n\n${USAGE}`)
      return 2
    }
    if (!(error instanceof UnreadableFile)) throw error
    terminal.err(`${shown(error.file)} cannot be read whole (${error.code}).\n`)
    return 1
  }
}

const text = { type: 'string' } as const
const texts = { type: 'string', multiple: true } as const
const flag = { type: 'boolean', default: false } as const

function verifyCommand(args: readonly string[], terminal: Terminal): Promise<0 | 1> {
  const { values, positionals } = understood('verify', () =>
    parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        'mac-key': texts,
        'public-key': texts,
        head: texts,
        heads: texts,
        'allow-missing-start': flag,
      },
    }),
  )
  const keys = {
    macKeys: macKeys(values['mac-key'] ?? []),
    publicKeys: publicKeys(values['public-key'] ?? []),
  }
  if (keys.macKeys.size + keys.publicKeys.size === 0) {
    throw new UsageError('Without a key nothing can be verified: give --mac-key or --public-key.')
  }
  const options = {
    ...keys,
    heads: knownHeads(values.head ?? [], values.heads ?? []),
    allowMissingStart: values['allow-missing-start'],
  }
  return verify(named(positionals), options, terminal)
}

function showCommand(args: readonly string[], terminal: Terminal): Promise<0> {
  const { counts, rest } = countsOf(args)
  const { values, positionals } = understood('show', () =>
    parseArgs({
      args: [...rest],
      allowPositionals: true,
      options: {
        principal: text,
        tool: text,
        decision: text,
        event: text,
        reason: text,
        address: text,
        request: text,
        since: text,
        until: text,
        json: flag,
      },
    }),
  )
  const { since, until, json, ...equal } = values
  if (equal.decision !== undefined && !['allowed', 'denied'].includes(equal.decision)) {
    throw new UsageError('--decision must be allowed or denied.')
  }
  if (json && counts !== undefined) throw new UsageError('Give --counts or --json, not both.')
  const options: ShowOptions = {
    equal,
    since: timeOf('--since', since),
    until: timeOf('--until', until),
    as: json ? 'json' : counts === undefined ? 'table' : { counts },
  }
  return show(named(positionals), options, terminal)
}

function understood<Parsed>(command: string, read: () => Parsed): Parsed {
  try {
    return read()
  } catch {
    throw new UsageError(`${command} does not know one of these options, or one has no value.`)
  }
}

function named(files: readonly string[]): readonly string[] {
  if (files.length === 0) throw new UsageError('Name the log: one or more files, or - .')
  if (new Set(files).size < files.length) throw new UsageError('A file is named twice.')
  return files
}

/** `--counts` has a value only when the next word is a field. */
function countsOf(args: readonly string[]): {
  readonly counts: Counted | undefined
  readonly rest: readonly string[]
} {
  const at = args.indexOf('--counts')
  if (at === -1) return { counts: undefined, rest: args }
  const field = COUNTED.find((name) => name === args[at + 1])
  return { counts: field ?? 'event', rest: args.toSpliced(at, field === undefined ? 1 : 2) }
}

const TIME = /^\d{4}-\d{2}-\d{2}(?:T\d{2}:\d{2}(?::\d{2}(?:\.\d{1,3})?)?(?:Z|[+-]\d{2}:\d{2}))?$/

/** UTC unless it says otherwise. @returns ms since the epoch */
function timeOf(option: string, value: string | undefined): number | undefined {
  if (value === undefined) return undefined
  const time = TIME.test(value) ? Date.parse(value) : Number.NaN
  if (Number.isNaN(time)) {
    throw new UsageError(`${option} must be a time as in 2026-01-31 or 2026-01-31T12:00:00Z.`)
  }
  return time
}

if (import.meta.main) {
  const args = process.argv.slice(2)
  // The reader of a pipe may have enough: `show … | head`. A verdict that nobody got is none.
  process.stdout.on('error', () => process.exit(args[0] === 'show' ? 0 : 1))
  process.exitCode = await audit(args, {
    out: (text) => process.stdout.write(text),
    err: (text) => process.stderr.write(text),
    colors: process.stdout.isTTY && process.stdout.hasColors(),
    watched: process.stderr.isTTY,
  })
}
