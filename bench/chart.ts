import type { Era } from './client.ts'
import { type Results, type Row, ratioOf, rowOf, type Spread } from './results.ts'

/** One group of bars: a figure of every server, divided by that of Gatehouse. */
interface Panel {
  readonly title: string
  readonly note: string
  readonly rows: readonly Row[]
  readonly era: Era
  readonly figure: string
}

interface Bar {
  readonly label: string
  readonly value: Spread
  readonly own: boolean
}

const WIDTH = 760
const LABELS = 210
const ROW = 22
const HEAD = 54
const RIGHT = 175
/** Bars longer than this many times Gatehouse are cut, and say so. */
const LONGEST = 4

const STYLE = `
  text { font: 12px system-ui, sans-serif; fill: #1f2328 }
  .title { font-weight: 600; font-size: 14px }
  .note { fill: #59636e }
  .bar { fill: #9aa4b2 }
  .own { fill: #0969da }
  .spread { stroke: #1f2328; stroke-width: 1 }
  .one { stroke: #59636e; stroke-dasharray: 2 3 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 }
    .note { fill: #9198a1 }
    .bar { fill: #59636e }
    .own { fill: #4493f8 }
    .spread { stroke: #e6edf3 }
    .one { stroke: #9198a1 }
  }`

/**
 * The picture of a run, SVG, for light and dark pages. Ratios with their spread; servers that know no
 * protocol are left out, because their bars would hide all others.
 */
export function chart(results: Results): string {
  const { calls, lists, progress, start } = results.sections
  const panels: readonly Panel[] = [
    {
      title: 'Calls a second, MCP 2026-07-28',
      note: 'longer is faster',
      rows: calls,
      era: '2026',
      figure: 'perSecond',
    },
    {
      title: 'Calls a second, MCP 2025-11-25',
      note: 'longer is faster',
      rows: calls,
      era: '2025',
      figure: 'perSecond',
    },
    {
      title: 'CPU of a list of 50 tools, MCP 2025-11-25',
      note: 'shorter is better',
      rows: lists,
      era: '2025',
      figure: 'cpuMs',
    },
    {
      title: 'CPU of a progress event, MCP 2025-11-25',
      note: 'shorter is better',
      rows: progress,
      era: '2025',
      figure: 'cpuMs',
    },
    {
      title: 'Memory of an open stream, MCP 2025-11-25',
      note: 'shorter is better',
      rows: start,
      era: '2025',
      figure: 'streamKiB',
    },
  ]
  const parts: string[] = []
  let y = 24
  for (const panel of panels) {
    const bars = barsOf(panel)
    if (bars.length < 2) continue
    parts.push(...drawn(panel, bars, y))
    y += HEAD + bars.length * ROW
  }
  const { date, machine } = results
  const foot =
    `Gatehouse with every control on = 1, the others unguarded. Median and spread. ` +
    `${date}, ${machine.cpu}, ${machine.cores} cores, Node ${machine.node}.`
  parts.push(text(0, y - 10, foot, 'note'))
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="-12 0 ${WIDTH + 24} ${y + 4}" role="img">`,
    `<title>Gatehouse beside other MCP servers</title>`,
    `<style>${STYLE}\n</style>`,
    ...parts,
    '</svg>\n',
  ].join('\n')
}

function barsOf({ rows, era, figure }: Panel): readonly Bar[] {
  const own = rowOf(rows, 'gatehouse', era)
  return rows.flatMap((row) => {
    const value = ratioOf(row, own, figure)
    const hasProtocol = row.id !== 'node' && row.id !== 'hono'
    if (row.era !== era || value === undefined || !hasProtocol) return []
    return [{ label: row.label, value, own: row === own }]
  })
}

function drawn({ title, note }: Panel, bars: readonly Bar[], top: number): readonly string[] {
  const longest = Math.min(LONGEST, Math.max(...bars.map(({ value }) => value.median)))
  const scale = (WIDTH - LABELS - RIGHT) / longest
  const x = (value: number): number => round(LABELS + Math.min(value, longest) * scale)
  const end = top + 10 + bars.length * ROW
  const lines = bars.map(({ label, value, own }, index) => {
    const y = top + 12 + index * ROW
    const { median, low, high } = value
    const cut = median > longest ? ' →' : ''
    const figures = own
      ? '1'
      : `${median.toFixed(2)}${cut} (${low.toFixed(2)} to ${high.toFixed(2)})`
    const isDrawn = !own && cut === ''
    return [
      text(0, y + 12, label),
      `<rect class="${own ? 'own' : 'bar'}" x="${LABELS}" y="${y}" width="${round(x(median) - LABELS)}" height="${ROW - 6}"/>`,
      isDrawn
        ? `<line class="spread" x1="${x(low)}" x2="${x(high)}" y1="${y + 8}" y2="${y + 8}"/>`
        : '',
      text(Math.max(x(median), isDrawn ? x(high) : 0) + 6, y + 12, figures, 'note'),
    ].join('')
  })
  return [
    text(0, top, title, 'title'),
    text(WIDTH - RIGHT, top, note, 'note'),
    `<line class="one" x1="${x(1)}" x2="${x(1)}" y1="${top + 6}" y2="${end}"/>`,
    ...lines,
  ]
}

function text(x: number, y: number, content: string, name?: string): string {
  const escaped = content.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
  return `<text x="${x}" y="${y}"${name === undefined ? '' : ` class="${name}"`}>${escaped}</text>`
}

function round(value: number): number {
  return Math.round(value * 10) / 10
}
