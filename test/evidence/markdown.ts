import { type Evidence, type Row, rowsOf } from './model.ts'
import { filesOf } from './requirements.ts'

const INTRODUCTION = `# Controls and their evidence

<!-- Written by \`npm run evidence\` from test/evidence/requirements; changes made here are lost. -->

What this server has to guarantee, who asks for it, where it is done, and which tests show it. Each
test runs in \`npm test\`, but for those marked with a command of their own. \`npm run evidence\` runs
the tests and writes this page, and as outputs that the repository does not keep \`controls.json\`
and \`controls.html\` (made to be printed), both with version, commit and time of the run. It fails,
as CI does, when a test that is named here did not pass.

Level: *must* and *should* as the cited source has it; *policy* is a choice of this template that no
source forces.`

/**
 * The page `docs/controls.md`.
 *
 * @param evidence results stand behind a middle dot, so that {@link withoutResults} can take them out
 */
export function markdownOf(evidence: Evidence): string {
  const sections = evidence.sections.map(({ title, rows }) =>
    [`## ${title}`, table(ROW_HEAD, rows.map(cellsOf)), notesOf(rows)].filter(Boolean).join('\n\n'),
  )
  return `${[INTRODUCTION, summaryOf(evidence), ...sections, sourcesOf(evidence)].join('\n\n')}\n`
}

/** The page as it is before any run. */
export function withoutResults(page: string): string {
  return page.replaceAll(/ · (?:passed|failed|not run)(?=<br>| \|)/g, ' · not run')
}

const ROW_HEAD = ['Id', 'Level', 'Requirement', 'Sources', 'Control', 'Policy or setting', 'Tests']

/** Counts of what is claimed; whether it was shown is in the rows. */
function summaryOf(evidence: Evidence): string {
  const counts = evidence.sections.map(({ title, rows }) => [
    `[${title}](#${slugOf(title)})`,
    ...countsOf(rows),
  ])
  return `## Summary\n\n${table(
    ['Section', 'Rows', 'With tests', 'By another command only', 'Not applicable', 'Open'],
    [...counts, ['**All**', ...countsOf(rowsOf(evidence))]],
  )}`
}

function countsOf(rows: readonly Row[]): readonly string[] {
  const count = (...states: readonly string[]): string =>
    `${rows.filter(({ state }) => states.includes(state)).length}`
  return [
    `${rows.length}`,
    count('proven', 'unproven'),
    count('elsewhere'),
    count('not applicable'),
    count('open'),
  ]
}

function cellsOf({ requirement, state, tests }: Row): readonly string[] {
  const { id, also, level, sources } = requirement
  const files = filesOf(requirement).map((file) => linkTo(file))
  const shown = tests.map(({ file, name, command, result }) =>
    command === undefined
      ? `${linkTo(file)} ${cell(name)} · ${result}`
      : `${linkTo(file)} ${cell(name)} (run by \`${command}\`)`,
  )
  const instead = state === 'open' ? ['**open**'] : ['not applicable']
  return [
    [id, ...also].map((one) => `<a id="${one.toLowerCase()}"></a>${one}`).join('<br>'),
    level,
    cell(requirement.requirement),
    sources.map(cell).join('<br>'),
    ['control' in requirement ? cell(requirement.control ?? '') : '', ...files]
      .filter(Boolean)
      .join('<br>'),
    'policy' in requirement ? cell(requirement.policy ?? '') : '',
    [...shown, ...(state === 'open' || state === 'not applicable' ? instead : [])].join('<br>'),
  ]
}

/** Rows that are open or do not apply, each with its reason. */
function notesOf(rows: readonly Row[]): string {
  const notes = rows.flatMap(({ requirement }) => {
    if ('open' in requirement) return [`- **${requirement.id} is open**: ${requirement.open}`]
    if (!('notApplicable' in requirement)) return []
    return [`- ${requirement.id} does not apply: ${requirement.notApplicable}`]
  })
  return notes.join('\n')
}

function sourcesOf({ sources }: Evidence): string {
  const documents = Map.groupBy(sources, ({ document }) => document)
  const tables = [...documents].map(([document, rows]) => {
    const cells = rows.map(({ part, ids }) => [
      part === '' ? 'as a whole' : cell(part),
      ids.map((id) => `[${id}](#${id.toLowerCase()})`).join(', '),
    ])
    return `### ${document}\n\n${table(['Part', 'Requirements'], cells)}`
  })
  return ['## From the sources back to the rows', ...tables].join('\n\n')
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const lines = [head, head.map(() => '---'), ...rows]
  return lines.map((cells) => `| ${cells.join(' | ')} |`).join('\n')
}

const cell = (text: string): string =>
  text.replaceAll('|', '\\|').replaceAll('<', '&lt;').replaceAll('\n', ' ')

const linkTo = (file: string): string => `[\`${file}\`](../${file})`

/** As GitHub makes the anchor of a heading. */
const slugOf = (title: string): string =>
  title
    .toLowerCase()
    .replaceAll(/[^\w\- ]/g, '')
    .replaceAll(' ', '-')
