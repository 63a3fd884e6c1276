import { type Results, type Row, ratioOf, rowOf, type Spread } from './results.ts'
import { verdicts } from './targets.ts'

const BEGIN = '<!-- results: begin -->'
const END = '<!-- results: end -->'

/** Where, when and how it was measured: no figure stands without it. */
export function describeRun({ date, machine, settings, missing }: Results): string {
  const { cpu, cores, node, pinned, load } = machine
  const [before, after] = load.map((average) => average.toFixed(1))
  const cpus = pinned ? 'servers on one core, load on another' : 'not bound to cores'
  const left = missing.map(({ label, why }) => ` Left out: ${label} (${why}).`).join('')
  return (
    `Measured ${date} on ${cpu}, ${cores} cores, Node ${node}; ${cpus}; ${settings.rounds} rounds of ` +
    `${settings.seconds} s for calls, fewer for the rest. Load average ${before} before and ${after} ` +
    `at the end: above 2, other work ran on the machine, and ratios are worth less. Each figure is the median of the rounds, ` +
    `with the bounds of the middle half of them in brackets.${left}`
  )
}

/** All tables of a run, Markdown. Ratios only: times mean nothing on another machine. */
export function tables(results: Results): string {
  const { sections } = results
  const parts = [
    targetsTable(results),
    ...(['2026', '2025'] as const).map((era) =>
      compared(sections.calls, era, `Calls, MCP ${REVISIONS[era]}, 10 tools`, [
        ['requests a second', 'perSecond'],
        ['CPU a request', 'cpuMs'],
      ]),
    ),
    ...(['2026', '2025'] as const).map((era) =>
      compared(sections.lists, era, `\`tools/list\`, MCP ${REVISIONS[era]}, 50 tools`, [
        ['requests a second', 'perSecond'],
        ['CPU a request', 'cpuMs'],
      ]),
    ),
    ...(['2026', '2025'] as const).map((era) =>
      compared(sections.progress, era, `Progress, MCP ${REVISIONS[era]}`, [
        ['time to the first event', 'firstMs'],
        ['events a second', 'perSecond'],
        ['CPU an event', 'cpuMs'],
      ]),
    ),
    ...(['2026', '2025'] as const).map((era) =>
      compared(sections.start, era, `Start, and streams that stay open, MCP ${REVISIONS[era]}`, [
        ['time to the first answer', 'startMs'],
        ['CPU until then', 'startCpuMs'],
        ['memory when idle', 'idleMiB'],
        ['memory a stream', 'streamKiB'],
        ['of it JavaScript', 'streamHeapKiB'],
      ]),
    ),
    toolsTable(sections.tools),
    callersTable(sections.callers),
    controlsTable(sections.controls),
  ]
  return parts.filter((part) => part !== '').join('\n\n')
}

const REVISIONS = { '2026': '2026-07-28', '2025': '2025-11-25' } as const

function targetsTable(results: Results): string {
  const lines = verdicts(results).map(({ what, ratio, wanted, met }) =>
    line([what, spread(ratio), wanted, met ? 'met' : 'missed']),
  )
  if (lines.length === 0) return ''
  return table('Targets', ['Ratio', 'Measured', 'Target', ''], lines)
}

/** Each figure divided by that of Gatehouse in the same round. */
function compared(
  rows: readonly Row[],
  era: Row['era'],
  title: string,
  figures: readonly (readonly [label: string, name: string])[],
): string {
  const own = rowOf(rows, 'gatehouse', era)
  const others = rows.filter((row) => row.era === era)
  if (own === undefined || others.length < 2) return ''
  const lines = others.map((row) => {
    const cells = figures.map(([, name]) => (row === own ? '1' : spread(ratioOf(row, own, name))))
    return line([row.label, ...cells])
  })
  return table(`${title}: divided by Gatehouse`, ['', ...figures.map(([label]) => label)], lines)
}

function toolsTable(rows: readonly Row[]): string {
  const lines = rows
    .filter(({ id }) => id.endsWith('-10') || id.endsWith('-50'))
    .map((row) => {
      const few = rows.find(({ id }) => id === row.id.replace(/-\d+$/, '-3'))
      return line([row.label, spread(ratioOf(row, few, 'cpuMs'))])
    })
  if (lines.length === 0) return ''
  return table('CPU of a call by the number of tools', ['', 'divided by 3 tools'], lines)
}

function callersTable(rows: readonly Row[]): string {
  const [one, ...more] = rows
  if (one === undefined) return ''
  const lines = more.map((row) => line([row.label, spread(ratioOf(row, one, 'cpuMs'))]))
  return table('CPU of a call by the number of callers', ['', 'divided by 1 caller'], lines)
}

function controlsTable(rows: readonly Row[]): string {
  const whole = rows.find(({ id }) => id === 'whole')
  const lines = rows
    .filter((row) => row !== whole)
    .map((row) => line([kebab(row.label), row.why ?? spread(ratioOf(row, whole, 'cpuMs'))]))
  if (lines.length === 0) return ''
  return table('CPU of a call without one control', ['', 'divided by everything'], lines)
}

/** Controls have their names, not those of their factories. */
function kebab(label: string): string {
  return label.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)
}

function table(title: string, head: readonly string[], lines: readonly string[]): string {
  return [`**${title}**`, '', line(head), line(head.map(() => '---')), ...lines].join('\n')
}

function line(cells: readonly string[]): string {
  return `| ${cells.join(' | ')} |`
}

/** @returns such as `1.52 (1.48 to 1.60)`, or `–` for what was not measured */
function spread(value: Spread | undefined): string {
  if (value === undefined) return '–'
  const { median, low, high } = value
  return `${short(median)} (${short(low)} to ${short(high)})`
}

function short(value: number): string {
  return Math.abs(value) >= 100 ? value.toFixed(0) : value.toFixed(Math.abs(value) >= 10 ? 1 : 2)
}

/** @returns what stands between the marks of `bench/README.md` for these results */
export function readmeBlock(results: Results): string {
  return `${BEGIN}\n${describeRun(results)}\n\n${tables(results)}\n${END}`
}

/** @returns what stands between the marks of the README of the repository: the short form */
export function summaryBlock(results: Results): string {
  return `${BEGIN}\n${describeRun(results)}\n\n${targetsTable(results)}\n${END}`
}

/** @returns a page with another block between its marks; unchanged when it has no marks */
export function filled(page: string, block: string): string {
  const [begin, end] = [page.indexOf(BEGIN), page.indexOf(END)]
  if (begin === -1 || end === -1) return page
  return page.slice(0, begin) + block + page.slice(end + END.length)
}
