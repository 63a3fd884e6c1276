import { type Evidence, type Row, rowsOf } from './model.ts'
import { filesOf } from './requirements.ts'

/** Which state of the product the tests were run on. */
export interface Run {
  readonly version: string
  /** Empty outside of a git repository; ends in `, changed` when files differ from the commit. */
  readonly commit: string
  /** UTC, ISO 8601; `undefined` when no test has been run. */
  readonly ranAt: string | undefined
}

const STYLE = `
:root { color-scheme: light dark; --line: #8886; --soft: #8881; --good: #1a7f37; --bad: #cf222e }
@media (prefers-color-scheme: dark) { :root { --good: #3fb950; --bad: #ff7b72 } }
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 82rem; padding: 0 1rem }
* { box-sizing: border-box }
table { border-collapse: collapse; width: 100%; margin: 1rem 0 }
th, td { border: 1px solid var(--line); padding: .35rem .5rem; text-align: left; vertical-align: top;
  overflow-wrap: anywhere }
th { background: var(--soft) }
code { font: .88em ui-monospace, monospace }
ul { margin: 0; padding-left: 1rem }
.rows { table-layout: fixed }
.rows th:nth-child(1) { width: 7% }
.rows th:nth-child(2) { width: 5% }
.rows th:nth-child(3) { width: 22% }
.rows th:nth-child(4) { width: 15% }
.rows th:nth-child(5) { width: 14% }
.rows th:nth-child(6) { width: 11% }
.rows td:nth-child(1) { font-weight: 600 }
.good { color: var(--good) }
.bad { color: var(--bad); font-weight: 700 }
@page { size: A4 landscape; margin: 12mm }
@media print {
  :root { color-scheme: light; --good: #116329; --bad: #a40e26 }
  body { font-size: 8.5pt; margin: 0; max-width: none; padding: 0 }
  section { break-before: page }
  thead { display: table-header-group }
  tr, h2, h3 { break-inside: avoid }
  h2, h3 { break-after: avoid }
  a { color: inherit; text-decoration: none }
}`

/** The page `docs/controls.html`: one file, no script, nothing loaded. */
export function pageOf(evidence: Evidence, run: Run): string {
  const rows = rowsOf(evidence)
  const sections = evidence.sections.map(
    (section) =>
      `<section><h2>${plain(section.title)}</h2>${table(
        ['Id', 'Level', 'Requirement', 'Sources', 'Control', 'Policy or setting', 'Tests'],
        section.rows.map(cellsOf),
        'rows',
      )}</section>`,
  )
  const documents = [...Map.groupBy(evidence.sources, ({ document }) => document)].map(
    ([document, parts]) =>
      `<h3>${plain(document)}</h3>${table(
        ['Part', 'Requirements'],
        parts.map(({ part, ids }) => [
          plain(part === '' ? 'as a whole' : part),
          ids.map((id) => `<a href="#${id}">${id}</a>`).join(', '),
        ]),
      )}`,
  )
  const facts = [
    ['Version', run.version],
    ['Commit', run.commit === '' ? 'not known' : run.commit],
    ['Tests run at', run.ranAt ?? 'not run'],
    ['Requirements', `${rows.length}`],
    ...(['proven', 'unproven', 'elsewhere', 'not applicable', 'open'] as const).map((state) => [
      STATES[state],
      `${rows.filter((row) => row.state === state).length}`,
    ]),
  ].map((cells) => cells.map(plain))
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Gatehouse: controls and their evidence</title>
<style>${STYLE}
</style>
</head>
<body>
<h1>Gatehouse: controls and their evidence</h1>
${table(['Of this run', ''], facts)}
<p>Level: <em>must</em> and <em>should</em> as the cited source has it; <em>policy</em> is a choice of
this template that no source forces.</p>
${sections.join('\n')}
<section><h2>From the sources back to the rows</h2>${documents.join('\n')}</section>
</body>
</html>
`
}

const STATES = {
  proven: 'Proven by tests that passed',
  unproven: 'Not proven in this run',
  elsewhere: 'Tested by another command only',
  'not applicable': 'Not applicable',
  open: 'Open',
} as const

function cellsOf({ requirement, tests }: Row): readonly string[] {
  const { id, also, level, sources } = requirement
  const shown = tests.map(({ file, name, command, result }) => {
    const good = result === 'passed' ? 'good' : 'bad'
    const end =
      command === undefined
        ? `<span class="${good}">${result}</span>`
        : `run by <code>${plain(command)}</code>`
    return `<li>${linkTo(file)} ${plain(name)}: ${end}</li>`
  })
  const open = 'open' in requirement ? `<p class="bad">Open: ${plain(requirement.open)}</p>` : ''
  const none =
    'notApplicable' in requirement ? `Does not apply: ${plain(requirement.notApplicable)}` : ''
  return [
    [id, ...also].map((one) => `<span id="${one}">${one}</span>`).join('<br>'),
    level,
    plain(requirement.requirement),
    sources.map(plain).join('<br>'),
    ['control' in requirement ? plain(requirement.control ?? '') : '']
      .concat(filesOf(requirement).map(linkTo))
      .filter(Boolean)
      .join('<br>'),
    'policy' in requirement ? plain(requirement.policy ?? '') : '',
    `${shown.length === 0 ? '' : `<ul>${shown.join('')}</ul>`}${open}${none}`,
  ]
}

function table(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  name = 'plain',
): string {
  const heads = head.map((text) => `<th>${text}</th>`).join('')
  const lines = rows.map((cells) => `<tr>${cells.map((text) => `<td>${text}</td>`).join('')}</tr>`)
  return `<table class="${name}"><thead><tr>${heads}</tr></thead>\n<tbody>\n${lines.join('\n')}\n</tbody></table>`
}

const ENTITIES: ReadonlyMap<string, string> = new Map([
  ['&', '&amp;'],
  ['<', '&lt;'],
  ['>', '&gt;'],
  ['"', '&quot;'],
])

/** Text with what stands between back quotes as code. */
const plain = (text: string): string =>
  text
    .replaceAll(/[&<>"]/g, (character) => ENTITIES.get(character) ?? '')
    .replaceAll(/`([^`]+)`/g, '<code>$1</code>')

const linkTo = (file: string): string =>
  `<a href="../${plain(file)}"><code>${plain(file)}</code></a>`
