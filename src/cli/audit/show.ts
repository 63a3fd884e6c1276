import { styleText } from 'node:util'
import { inOrder, linesOf } from '../../audit/log-files.ts'
import { type Row, rowOf } from './row.ts'
import { grouped, shown, type Terminal } from './terminal.ts'

/** What `--counts` can count. */
export const COUNTED = [
  'event',
  'operation',
  'tool',
  'decision',
  'status',
  'reason',
  'principal',
  'address',
] as const
export type Counted = (typeof COUNTED)[number]

export interface ShowOptions {
  /** Values that the members of a row must have. */
  readonly equal: Readonly<Partial<Record<Counted | 'request', string>>>
  /** ms since the epoch. */
  readonly since: number | undefined
  /** ms since the epoch, not included. */
  readonly until: number | undefined
  readonly as: 'table' | 'json' | { readonly counts: Counted }
}

/** Places of bad lines that are named. */
const NAMED_LINES = 10
/** Values that are counted one by one: an attacker chooses addresses and names. */
const COUNTED_VALUES = 100_000
const OTHERS = '(others)'

/** Prints the records that match, oldest first. Lines that are no records are counted, not fatal. */
export async function show(
  files: readonly string[],
  options: ShowOptions,
  terminal: Terminal,
): Promise<0> {
  const counts = new Map<string, number>()
  const bad: string[] = []
  let badCount = 0
  if (options.as === 'table') terminal.out(tableLine(HEADER))

  await eachLine(files, (raw, place) => {
    const line = raw.toString()
    const row = rowOf(line)
    if (row === undefined) {
      badCount += 1
      if (bad.length < NAMED_LINES) bad.push(shown(place))
      return
    }
    if (!matches(row, options)) return
    if (options.as === 'table') terminal.out(colored(row, tableLine(cellsOf(row)), terminal))
    else if (options.as === 'json') terminal.out(`${ascii(line.trimEnd())}\n`)
    else count(counts, row[options.as.counts])
  })

  for (const [value, number] of [...counts].toSorted(([, a], [, b]) => b - a)) {
    terminal.out(`${grouped(number).padStart(12)}  ${shown(value) || '-'}\n`)
  }
  if (badCount > 0) {
    const more = badCount > bad.length ? ' …' : ''
    terminal.err(`${grouped(badCount)} lines are no records: ${bad.join(', ')}${more}\n`)
  }
  terminal.err('This shows the log and does not verify it: npm run audit -- verify\n')
  return 0
}

async function eachLine(
  files: readonly string[],
  use: (raw: Buffer, place: string) => void,
): Promise<void> {
  for (const file of await inOrder(files)) {
    let line = 0
    for await (const batch of linesOf(file)) {
      for (const raw of batch) {
        line += 1
        use(raw, `${file}:${line}`)
      }
    }
  }
}

function matches(row: Row, { equal, since, until }: ShowOptions): boolean {
  if (since !== undefined && (row.time === undefined || row.time < since)) return false
  if (until !== undefined && (row.time === undefined || row.time >= until)) return false
  return [...COUNTED, 'request' as const].every(
    (name) => equal[name] === undefined || row[name] === equal[name],
  )
}

function count(counts: Map<string, number>, value: string): void {
  const name = counts.has(value) || counts.size < COUNTED_VALUES ? value : OTHERS
  counts.set(name, (counts.get(name) ?? 0) + 1)
}

const HEADER = [
  'TIME',
  'EVENT',
  'OPERATION',
  'TOOL',
  'DECISION',
  'STATUS',
  'PRINCIPAL',
  'ADDRESS',
  'REQUEST',
]
/** Characters of each column. Longer cells push the rest of their line. */
const WIDTHS = [24, 16, 16, 20, 8, 28, 20, 15, 0]

function cellsOf(row: Row): readonly string[] {
  return [
    row.time === undefined ? '' : timeText(row.time),
    row.event,
    row.operation,
    row.tool,
    row.decision,
    [row.status, row.reason].filter((text) => text !== '').join(' '),
    row.principal,
    row.address,
    row.request,
  ]
}

function timeText(time: number): string {
  const date = new Date(time)
  return Number.isNaN(date.valueOf()) ? '' : date.toISOString()
}

function tableLine(cells: readonly string[]): string {
  const padded = cells.map((cell, column) => (shown(cell) || '-').padEnd(WIDTHS[column] ?? 0))
  return `${padded.join('  ').trimEnd()}\n`
}

function colored({ decision }: Row, text: string, { colors }: Terminal): string {
  return colors && decision === 'denied' ? styleText('red', text, { validateStream: false }) : text
}

/** The same JSON in ASCII: what a terminal could take for a command is an escape. */
function ascii(json: string): string {
  return json.replace(/[^ -~]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
}
