import { spawnSync } from 'node:child_process'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, relative } from 'node:path'
import { z } from 'zod'
import { ROOT, repositoryFiles } from '../source-tree.ts'
import { MUTANTS, type Mutant } from './controls.ts'

/**
 * Takes protections away one at a time, in a copy of the tree, and runs the tests that have to notice.
 * `npm run mutants [-- PART OF A NAME]`. Exit code 1 when one goes unnoticed, 2
 * when there is none of that name.
 */

const report = z.object({
  testResults: z.array(
    z.object({
      name: z.string(),
      status: z.string(),
      assertionResults: z.array(z.object({ status: z.string() })),
    }),
  ),
})

/** Tests that do not end have noticed as well, ms. */
const TIMEOUT_MS = 120_000

/** What a run of a mutant showed. */
export interface Verdict {
  readonly mutant: Mutant
  /** Failed tests by file; a file that cannot even be loaded counts as one. */
  readonly failed: ReadonlyMap<string, number>
  /** Files that should have noticed and did not. */
  readonly silent: readonly string[]
}

/** A copy of the repository to break. Its packages are those of this one. */
export function copyOfTree(): string {
  const folder = mkdtempSync(join(tmpdir(), 'gatehouse-mutants-'))
  for (const path of repositoryFiles()) {
    mkdirSync(join(folder, dirname(path)), { recursive: true })
    cpSync(join(ROOT, path), join(folder, path))
  }
  symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
  return folder
}

/** @returns the text without the protection @throws {Error} when the list does not fit the source */
export function mutated({ file, from, to, name }: Mutant, text: string): string {
  const parts = text.split(from)
  if (parts.length !== 2) throw new Error(`${name}: ${file} has its text ${parts.length - 1} times`)
  return parts.join(to)
}

/** Breaks the copy, runs the tests that have to notice, and puts it right again. */
export function runMutant(folder: string, mutant: Mutant): Verdict {
  const path = join(folder, mutant.file)
  const text = readFileSync(path, 'utf8')
  const output = join(folder, 'mutant.json')
  writeFileSync(path, mutated(mutant, text))
  rmSync(output, { force: true })
  try {
    const vitest = join(ROOT, 'node_modules/vitest/vitest.mjs')
    const options = ['--reporter=json', `--outputFile=${output}`, '--bail=0']
    spawnSync(process.execPath, [vitest, 'run', ...options, ...mutant.noticedBy], {
      cwd: folder,
      stdio: 'ignore',
      timeout: TIMEOUT_MS,
      killSignal: 'SIGKILL',
    })
    if (!existsSync(output)) return { mutant, failed: new Map(), silent: [] } // It never ended.
    const { testResults } = report.parse(JSON.parse(readFileSync(output, 'utf8')))
    const failed = new Map(
      testResults.map(({ name, status, assertionResults }) => {
        const count = assertionResults.filter((one) => one.status === 'failed').length
        return [relative(folder, name), status === 'failed' ? Math.max(1, count) : 0]
      }),
    )
    return { mutant, failed, silent: mutant.noticedBy.filter((file) => !failed.get(file)) }
  } finally {
    writeFileSync(path, text)
  }
}

if (import.meta.main) {
  const [part = ''] = process.argv.slice(2)
  const chosen = MUTANTS.filter(({ name }) => name.includes(part))
  if (chosen.length === 0) {
    process.stderr.write(`No name has "${part}" in it:\n`)
    for (const { name } of MUTANTS) process.stderr.write(`  ${name}\n`)
    process.exit(2)
  }
  const folder = copyOfTree()
  let silent = 0
  try {
    for (const mutant of chosen) {
      const verdict = runMutant(folder, mutant)
      const counts = mutant.noticedBy.map((file) => `${file} ${verdict.failed.get(file) ?? 0}`)
      process.stdout.write(
        `${verdict.silent.length === 0 ? 'noticed' : 'SILENT '}  ${mutant.name}\n`,
      )
      for (const count of counts) process.stdout.write(`           ${count} failed\n`)
      silent += verdict.silent.length === 0 ? 0 : 1
    }
  } finally {
    rmSync(folder, { recursive: true })
  }
  process.stdout.write(`${chosen.length - silent} of ${chosen.length} are noticed\n`)
  process.exitCode = silent === 0 ? 0 : 1
}
