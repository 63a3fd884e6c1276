/** Text from a server is not trusted: it could move the cursor, recolour or hide what is on screen. */
const CONTROLS = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu

/** One line, without control and invisible formatting characters. */
export function printable(text: string): string {
  return text.replace(/[\n\t]+/g, ' ').replace(CONTROLS, '')
}

/** The same for text of several lines: line feeds and tabs stay. */
export function printableLines(text: string): string {
  return text.replace(CONTROLS, (character) => (/[\n\t]/.test(character) ? character : ''))
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Any JSON value for people: one line for each member, a table for a list of objects. */
export function pretty(value: unknown): string {
  if (!isRecord(value)) return inline(value)
  return Object.entries(value)
    .map(([name, member]) =>
      Array.isArray(member) && member.length > 0 && member.every(isRecord)
        ? `${printable(name)}:\n${table(member)}`
        : `${printable(name)}: ${inline(member)}`,
    )
    .join('\n')
}

/** Rows in aligned columns; numbers to the right, long cells shortened. */
export function table(rows: readonly Readonly<Record<string, unknown>>[]): string {
  const names = [...new Set(rows.flatMap((row) => Object.keys(row)))]
  const columns = names.map((name) => {
    const cells = rows.map((row) => shortened(inline(row[name] ?? '')))
    const width = Math.max(name.length, ...cells.map((cell) => cell.length))
    const isNumeric = rows.every((row) => typeof row[name] === 'number')
    return [name, ...cells].map((cell) => (isNumeric ? cell.padStart(width) : cell.padEnd(width)))
  })
  return [undefined, ...rows]
    .map((_row, index) =>
      `  ${columns.map((cells) => printable(cells[index] ?? '')).join('  ')}`.trimEnd(),
    )
    .join('\n')
}

const CELL_LENGTH = 26
const HEX_DIGEST = /^[0-9a-f]{64}$/

function shortened(cell: string): string {
  const length = HEX_DIGEST.test(cell) ? 12 : CELL_LENGTH
  return cell.length <= length ? cell : `${cell.slice(0, length - 1)}…`
}

function inline(value: unknown): string {
  if (Array.isArray(value)) return value.map(inline).join(', ')
  if (isRecord(value)) return Object.values(value).map(inline).join(' ')
  return printable(typeof value === 'string' ? value : JSON.stringify(value))
}
