import { execFileSync } from 'node:child_process'
import { stripVTControlCharacters } from 'node:util'
import { z } from 'zod'
import { ROOT } from '../source-tree.ts'

/** A line of the terminal, as it was from a moment on, s. */
interface Version {
  readonly at: number
  readonly text: string
}
type Row = Version[]

/** Runs a command on a terminal of its own and prints what it writes, with the time: JSON. */
const TERMINAL = `
import codecs, fcntl, json, os, pty, struct, sys, termios, time
pid, terminal = pty.fork()
if pid == 0:
    os.execvp(sys.argv[1], sys.argv[1:])
fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack('HHHH', 40, 110, 0, 0))
began, events, data = time.monotonic(), [], b' '
text = codecs.getincrementaldecoder('utf8')()
while data:
    try:
        data = os.read(terminal, 65536)
    except OSError:
        break
    events.append([time.monotonic() - began, text.decode(data)])
_, status = os.waitpid(pid, 0)
print(json.dumps(events))
sys.exit(os.waitstatus_to_exitcode(status))
`
const recorded = z.array(z.tuple([z.number(), z.string()]))

/** What `npm run demo` does to a terminal, line by line, without the two lines of npm itself. */
export function recordDemo(): readonly Row[] {
  const { CI: _, NO_COLOR: __, ...env } = process.env
  const output = execFileSync('python3', ['-c', TERMINAL, process.execPath, 'examples/demo.ts'], {
    cwd: ROOT,
    env: { ...env, TERM: 'xterm-256color', FORCE_COLOR: '1' },
    encoding: 'utf8',
  })
  const prompt = [{ at: 0, text: '$ npm run demo' }]
  return [prompt, ...rowsOf(recorded.parse(JSON.parse(output)))]
}

/** The demo clears the line that it is on and goes on to the next one, and does nothing else. */
function rowsOf(events: readonly (readonly [number, string])[]): readonly Row[] {
  let row: Row = []
  const rows = [row]
  for (const [at, data] of events) {
    // biome-ignore lint/suspicious/noControlCharactersInRegex: it is what terminals are sent
    for (const part of data.match(/\r?\n|\r|\x1b\[2K|(?:(?!\x1b\[2K)[^\r\n])+/g) ?? []) {
      if (part === '\r') continue
      if (part.endsWith('\n')) {
        row = []
        rows.push(row)
        continue
      }
      const before = row.at(-1)
      const isSame = before?.at === at
      if (isSame) row.pop()
      row.push({ at, text: part === '\x1b[2K' ? '' : (before?.text ?? '') + part })
    }
  }
  return rows
}

/** Words of the last state of each line; times, ids, digests and sizes left out, each line once. */
export function wordsOf(lines: readonly string[]): readonly string[] {
  const plain = lines.map((line) =>
    stripVTControlCharacters(line)
      .replace(/(?<![\w-])[\w-]{22}(?![\w-])|[0-9a-f]{11,64}/g, '#')
      .replace(/\d+/g, '0')
      .replace(/\s+/g, ' ')
      .trim(),
  )
  return [...new Set(plain)].filter((line) => line !== '').sort()
}

export const lastOf = (rows: readonly Row[]): readonly string[] =>
  rows.map((row) => row.at(-1)?.text ?? '')

const LINE = 17
const VIEW = 32
const WIDTH = 830

/**
 * An SVG that plays the recording once, at its speed, and then stands. Where nothing moves it is the end
 * of the recording: what moves only hides what is not there yet, and shows what is gone later.
 */
export function animated(rows: readonly Row[]): string {
  const lines = rows.flatMap((row, index) =>
    row.map((version, at) => text(row, version, index, at)),
  )
  const scrolls = rows.flatMap((row, index) => {
    const [first] = row
    return index < VIEW || first === undefined ? [] : [{ at: first.at, lines: index + 1 - VIEW }]
  })
  const end = Math.max(...rows.flat().map(({ at }) => at)) + 0.1
  const percent = (at: number): string => `${((at / end) * 100).toFixed(2)}%`
  // Lines that came at the same moment scroll as one.
  const places = new Map(scrolls.map(({ at, lines }) => [percent(at), -lines * LINE]))
  const steps = [...places].map(([when, y]) => `${when} { transform: translateY(${y}px) }`)
  const last = (scrolls.at(-1)?.lines ?? 0) * LINE
  const height = VIEW * LINE + 24
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" role="img" aria-labelledby="title">
<title id="title">A terminal: npm run demo shows notifications as they arrive, the result, and the audit records</title>
<style>
  text { font: 12px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; fill: #e6edf3; white-space: pre }
  .b { font-weight: 700; fill: #ffffff } .d { fill: #9198a1 } .g { fill: #3fb950 } .c { fill: #56b6c2 }
  .v { animation: hide var(--for) step-end }
  .w { visibility: hidden; animation: show var(--for) var(--at) }
  .all { transform: translateY(${-last}px); animation: scroll ${end.toFixed(2)}s step-end }
  @keyframes hide { from { visibility: hidden } }
  @keyframes show { from, to { visibility: visible } }
  @keyframes scroll { from { transform: none } ${steps.join(' ')} }
  @media (prefers-reduced-motion: reduce) { .all, .v, .w { animation: none } }
</style>
<clipPath id="view"><rect x="0" y="8" width="${WIDTH}" height="${VIEW * LINE + 8}"/></clipPath>
<rect width="${WIDTH}" height="${height}" rx="8" fill="#0d1117"/>
<g clip-path="url(#view)"><g class="all" xml:space="preserve">
${lines.join('\n')}
</g></g>
</svg>
`
}

function text(row: Row, { at, text: content }: Version, index: number, version: number): string {
  const next = row[version + 1]
  const seconds = (time: number): string => `${Math.max(time, 0.01).toFixed(2)}s`
  const times =
    next === undefined
      ? `--for:${seconds(at)}`
      : `--at:${seconds(at)};--for:${seconds(next.at - at)}`
  const kind = next === undefined ? 'v' : 'w'
  return `<text class="${kind}" style="${times}" x="14" y="${index * LINE + 24}">${spans(content)}</text>`
}

const CLASSES = new Map([
  ['1', 'b'],
  ['2', 'd'],
  ['32', 'g'],
  ['36', 'c'],
])

function spans(content: string): string {
  let open = ''
  return (
    content
      // biome-ignore lint/suspicious/noControlCharactersInRegex: it is what terminals are sent
      .split(/\x1b\[(\d+)m/)
      .map((part, index) => {
        if (index % 2 === 1) {
          open = CLASSES.get(part) ?? ''
          return ''
        }
        const safe = part.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
        return open === '' || part === '' ? safe : `<tspan class="${open}">${safe}</tspan>`
      })
      .join('')
  )
}
