// optional: api-key
import { Problems } from '../../problems.ts'
import { type Arguments, required, UsageError } from './arguments.ts'
import type { Grant } from './key-changes.ts'

/** Fields of a record that an option of another name sets. */
const OPTIONS: ReadonlyMap<string, string> = new Map([['allowedCidrs', 'networks']])

/** What the options of `create` grant. Not checked but for what a record cannot show. */
export function grantOf(args: Arguments): Grant {
  const { values } = args
  const name = required(args, 'name')
  const scopes = required(args, 'scopes')
  if (scopes.includes(',')) throw new UsageError('--scopes are separated by spaces, not commas.')
  return {
    name,
    subject: values.get('subject') ?? name,
    tenant: values.get('tenant') ?? null,
    roles: words(values.get('roles')),
    scopes: words(scopes),
    allowedCidrs: words(values.get('networks')),
  }
}

/** Not even the empty text, which a variable that is not set leaves, may mean any network. */
function words(text: string | undefined): string[] {
  return text === undefined ? [] : text.split(' ')
}

/**
 * Tries the options on a file of their own.
 *
 * @throws {UsageError} naming the options that are wrong, in place of fields of a record
 */
export function optionsFit(attempt: () => void): void {
  try {
    attempt()
  } catch (error) {
    if (!(error instanceof Problems)) throw error
    const wrong = error.problems.map(({ field, message }) => {
      const name = field.split('.')[2] ?? field
      return `--${OPTIONS.get(name) ?? name} ${message}.`
    })
    throw new UsageError(wrong.join('\n'))
  }
}
