import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { z } from 'zod'
import { ROOT, textOf } from '../source-tree.ts'
import { markdownOf } from './markdown.ts'
import { evidenceOf, rowsOf, unshown } from './model.ts'
import { pageOf, type Run } from './page.ts'
import { readSections } from './requirements.ts'
import { type Report, readReport } from './results.ts'

/**
 * Runs all tests and writes `docs/controls.{md,json,html}`. Exit code 1 when a claim has no passing
 * test. `--from FILE` takes the JSON report of another run; `--check` writes nothing; `--no-tests`
 * writes the pages of rows that have changed, with no results and no verdict.
 */
const { values } = parseArgs({
  options: {
    from: { type: 'string' },
    check: { type: 'boolean', default: false },
    tests: { type: 'boolean', default: true },
  },
  allowNegative: true,
})

/** That a test fails is read in the report. */
function runTests(): Report {
  const folder = mkdtempSync(join(tmpdir(), 'evidence-'))
  try {
    const output = join(folder, 'report.json')
    const vitest = join(ROOT, 'node_modules/vitest/vitest.mjs')
    const args = [vitest, 'run', '--reporter=dot', '--reporter=json', `--outputFile.json=${output}`]
    spawnSync(process.execPath, args, { cwd: ROOT, stdio: 'inherit' })
    return readReport(output)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

function git(...args: readonly string[]): string {
  try {
    return execFileSync('git', args, { cwd: ROOT, encoding: 'utf8', stdio: 'pipe' }).trim()
  } catch {
    // No git, or no repository: the page says that the commit is not known.
    return ''
  }
}

function stateOfFiles(): Omit<Run, 'ranAt'> {
  const commit = git('rev-parse', 'HEAD')
  const changed = git('status', '--porcelain') === '' ? '' : ', changed'
  return {
    version: z.object({ version: z.string() }).parse(JSON.parse(textOf('package.json'))).version,
    commit: commit === '' ? '' : `${commit}${changed}`,
  }
}

function reportOfRun(): Report | undefined {
  if (values.from !== undefined) return readReport(values.from)
  return values.tests ? runTests() : undefined
}

const sections = readSections()
// Before the tests run: the pages are about the files as they were then, and are themselves files.
const state = stateOfFiles()
const report = reportOfRun()
const evidence = evidenceOf(sections, report)

if (!values.check) {
  const ranAt = report === undefined ? undefined : new Date(report.startTime).toISOString()
  const run: Run = { ...state, ranAt }
  writeFileSync(join(ROOT, 'docs/controls.md'), markdownOf(evidence))
  writeFileSync(join(ROOT, 'docs/controls.html'), pageOf(evidence, run))
  writeFileSync(
    join(ROOT, 'docs/controls.json'),
    `${JSON.stringify({ run, ...evidence }, null, 2)}\n`,
  )
}

const states = Map.groupBy(rowsOf(evidence), (row) => row.state)
const counts = [...states].map(([name, rows]) => `${rows.length} ${name}`).join(', ')
console.log(`evidence: ${counts}`)
if (report !== undefined) {
  const missing = unshown(evidence)
  for (const line of missing) console.error(line)
  console.log(`evidence: ${missing.length} claims without a passing test`)
  process.exitCode = missing.length === 0 ? 0 : 1
}
