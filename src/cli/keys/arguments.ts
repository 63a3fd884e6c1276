// optional: api-key
import { parseArgs } from 'node:util'
import { parseKey } from '../../auth/api-key.ts'

/** Wrong use of the command line: exit code 2. The message never quotes what was typed. */
export class UsageError extends Error {}

export type Command = 'create' | 'rotate' | 'revoke' | 'list' | 'derive'

/** A command line, taken apart. */
export interface Arguments {
  readonly command: Command
  /** Options with a value. */
  readonly values: ReadonlyMap<string, string>
  /** Options without one. */
  readonly flags: ReadonlySet<string>
  /** What stands beside the options: an id, a purpose. `undefined` where the command takes nothing. */
  readonly operand: string | undefined
}

interface Form {
  readonly values: readonly string[]
  readonly flags: readonly string[]
  /** What the operand is called in messages. */
  readonly operand?: string
}

const FORMS: ReadonlyMap<string, Form & { readonly command: Command }> = new Map(
  (
    [
      {
        command: 'create',
        values: ['file', 'name', 'scopes', 'days', 'subject', 'tenant', 'roles', 'networks'],
        flags: ['dry-run'],
      },
      {
        command: 'rotate',
        values: ['file', 'days', 'overlap-hours'],
        flags: ['dry-run'],
        operand: 'the id of a key',
      },
      { command: 'revoke', values: ['file'], flags: ['dry-run'], operand: 'the id of a key' },
      { command: 'list', values: ['file'], flags: ['json'] },
      { command: 'derive', values: [], flags: [], operand: 'a purpose' },
    ] as const
  ).map((form) => [form.command, form]),
)

/** @throws {UsageError} for anything that no command takes */
export function readArguments(args: readonly string[]): Arguments {
  const [first = '', ...rest] = args
  const form = FORMS.get(first)
  if (form === undefined) throw new UsageError(`Say ${[...FORMS.keys()].join(', ')}.`)
  const { command } = form
  const { values, positionals } = parse(rest, form)
  const takes = form.operand === undefined ? 0 : 1
  if (positionals.length > takes) throw new UsageError(`${command} was given too much.`)
  if (positionals.length < takes) throw new UsageError(`${command} needs ${form.operand}.`)
  const entries = Object.entries(values)
  return {
    command,
    values: new Map(
      entries.flatMap(([name, value]) => (typeof value === 'string' ? [[name, value]] : [])),
    ),
    flags: new Set(entries.flatMap(([name, value]) => (value === true ? [name] : []))),
    operand: positionals[0],
  }
}

function parse(args: string[], form: Form): ReturnType<typeof parseArgs> {
  const options = [
    ...form.values.map((name) => [name, { type: 'string' }] as const),
    ...form.flags.map((name) => [name, { type: 'boolean' }] as const),
  ]
  try {
    return parseArgs({ args, options: Object.fromEntries(options), allowPositionals: true })
  } catch {
    throw new UsageError('One of these options is not known here, or has no value.') // No quotes.
  }
}

/** @throws {UsageError} when the option is missing or empty */
export function required({ values }: Arguments, name: string): string {
  const value = values.get(name)
  if (value === undefined || value === '') throw new UsageError(`--${name} is missing.`)
  return value
}

/**
 * @returns the whole number of an option, from 1 on; `undefined` when it is not given
 * @throws {UsageError} for any other text, and above `max`
 */
export function count({ values }: Arguments, name: string, max: number): number | undefined {
  const value = values.get(name)
  if (value === undefined) return undefined
  if (/^[1-9]\d{0,3}$/.test(value) && Number(value) <= max) return Number(value)
  throw new UsageError(`--${name} must be a whole number from 1 to ${max}.`)
}

/**
 * Reads the operand as the id of a key. A whole key is taken for its id when its checksum fits,
 * because an operator who has to revoke one in a hurry has nothing else at hand.
 *
 * @throws {UsageError} for a part of an id, and for anything else; never with the text itself
 */
export function keyId({ operand = '' }: Arguments): {
  readonly id: string
  readonly isWholeKey: boolean
} {
  if (/^[a-z2-7]{12}$/.test(operand)) return { id: operand, isWholeKey: false }
  const parsed = parseKey(operand)
  if (typeof parsed !== 'string') return { id: parsed.id, isWholeKey: true }
  throw new UsageError(
    parsed === 'checksum'
      ? 'That has the form of a key, but its checksum does not fit: a character is wrong.'
      : 'An id is the 12 characters after mcpk_, all of them. list shows the ids.',
  )
}
