import type { Rule } from '../../access/rules.ts'
import type { LoadedPolicy } from './load.ts'

/**
 * Who may use what, as a Markdown page: a column for each set of scopes that an entry asks for, a row
 * for each tool, resource and prompt. Kept in the repository, it shows in review who gains what.
 */
export function matrix({ policies, rules }: LoadedPolicy): string {
  const rows = [...rules.tools.values(), ...rules.resources.values(), ...rules.prompts.values()]
  const sets = new Map(rows.map(({ scopes }) => [setOf(scopes), scopes]))
  const columns = [...sets].toSorted(([one, a], [other, b]) =>
    a.length === b.length ? compare(one, other) : a.length - b.length,
  )
  const cells = (rule: Rule): readonly string[] =>
    columns.map(([, held]) => cell(rule, new Set(held)))
  const condition = ({ kind, name }: Rule): string => {
    const { when } = policies.access[`${kind}s`][name] ?? {}
    return when === undefined ? '' : code(when)
  }
  return [
    ...HEADING,
    row(['', ...columns.map(([set]) => code(set)), 'condition']),
    row([...columns, '', ''].map(() => '---')),
    ...rows.map((rule) =>
      row([`${rule.kind} ${code(rule.name)}`, ...cells(rule), condition(rule)]),
    ),
    '',
  ].join('\n')
}

const HEADING = [
  '# Who may use what',
  '',
  'Made by `npm run policy -- matrix --write docs/access-matrix.md` from `policies/access.yaml`. A column is what a',
  'caller holds; `if` means that the condition has to hold, too, `listed` that lists show it and calls are refused.',
  '',
]

function cell({ scopes, listed, condition }: Rule, held: ReadonlySet<string>): string {
  if (scopes.every((scope) => held.has(scope))) return condition === undefined ? 'yes' : 'if'
  return listed ? 'listed' : ''
}

function setOf(scopes: readonly string[]): string {
  return scopes.toSorted().join(' ')
}

function compare(one: string, other: string): number {
  if (one === other) return 0
  return one < other ? -1 : 1
}

/** Code in a cell: the bar would end the cell, also there (GFM 4.10). */
function code(text: string): string {
  return `\`${text.replaceAll('|', '\\|')}\``
}

function row(cells: readonly string[]): string {
  return `| ${cells.join(' | ')} |`
}
