import { parseArgs } from 'node:util'
import { stopServers } from '../server.ts'
import { type Figure, isMet } from './scenario.ts'
import { scenarios } from './scenarios.ts'

/** Runs scenarios at full size, those that are named or all, and prints what was measured. */
const { positionals } = parseArgs({ allowPositionals: true })
const unknown = positionals.filter((name) => !scenarios.some((scenario) => scenario.name === name))
if (unknown.length > 0) {
  process.stderr.write(`No scenario ${unknown.join(', ')}. There are:\n`)
  for (const { name, about } of scenarios) process.stderr.write(`  ${name.padEnd(14)}${about}\n`)
  process.exit(2)
}

let missed = 0
line(['scenario', 'figure', 'measured', 'target', 'verdict'])
for (const { name, about, missing, run } of scenarios) {
  if (positionals.length > 0 && !positionals.includes(name)) continue
  const lacking = missing?.('whole')
  if (lacking !== undefined) {
    line([name, about, '', '', `not run: it needs ${lacking}`])
    continue
  }
  try {
    for (const figure of await run('whole')) {
      if (!isMet(figure)) missed += 1
      line([name, figure.what, measuredOf(figure), targetOf(figure), verdictOf(figure)])
    }
  } catch (error) {
    missed += 1
    line([name, about, '', '', `failed: ${error instanceof Error ? error.message : error}`])
  }
  await stopServers()
}
process.exit(missed === 0 ? 0 : 1)

function measuredOf({ measured, unit }: Figure): string {
  const digits = Number.isInteger(measured) || measured >= 100 ? 0 : 2
  return `${measured.toFixed(digits)} ${unit}`.trimEnd()
}

function targetOf({ target, unit }: Figure): string {
  if (target === undefined) return ''
  const [word, bound] =
    'atMost' in target ? ['at most', target.atMost] : ['at least', target.atLeast]
  return `${word} ${bound} ${unit}`.trimEnd()
}

function verdictOf(figure: Figure): string {
  if (figure.target === undefined) return ''
  return isMet(figure) ? 'met' : 'MISSED'
}

function line(cells: readonly string[]): void {
  const widths = [14, 44, 14, 20]
  console.log(
    cells
      .map((cell, index) => cell.padEnd(widths[index] ?? 0))
      .join('')
      .trimEnd(),
  )
}
