import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { parse } from 'yaml'
import { z } from 'zod'

/** What the conformance suite found, scenario by scenario. */
export interface Outcome {
  readonly scenario: string
  readonly passed: number
  readonly failed: number
  /** Whether the revision requires the scenario; the others are extensions, or newer than it. */
  readonly required: boolean
}

export const REVISIONS = ['2025-11-25', '2026-07-28'] as const
export type Revision = (typeof REVISIONS)[number]

const ROOT = join(import.meta.dirname, '../..')
const require = createRequire(import.meta.url)
const PACKAGE = dirname(require.resolve('@modelcontextprotocol/conformance/package.json'))
const COMMAND = 'node test/conformance/client.ts'

const requirementsSchema = z.object({ client: z.array(z.string()), server: z.array(z.string()) })

/** The scenarios that the revision requires of a client or server. */
export function requiredOf(
  revision: Revision,
  side: 'client' | 'server' = 'client',
): readonly string[] {
  const text = readFileSync(join(PACKAGE, `requirements/${revision}.yaml`), 'utf8')
  return requirementsSchema.parse(parse(text))[side]
}

/** Runs all client scenarios of the revision, several at a time. */
export function runSuite(revision: Revision): Promise<Outcome[]> {
  const line = ['client', '--command', COMMAND, '--requirements', revision]
  return outcomesOf(line, requiredOf(revision))
}

/** @param line of the program of the suite */
export async function outcomesOf(
  line: readonly string[],
  requiredScenarios: readonly string[],
): Promise<Outcome[]> {
  const child = spawn(process.execPath, [join(PACKAGE, 'dist/index.js'), ...line], {
    cwd: ROOT,
    env: { PATH: process.env['PATH'] },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text
    })
  }
  await once(child, 'close')
  const required = new Set(requiredScenarios)
  return [...output.matchAll(/^[✓✗] (\S+): (\d+) passed, (\d+) failed/gm)].map(
    ([, scenario = '', passed, failed]) => ({
      scenario,
      passed: Number(passed),
      failed: Number(failed),
      required: required.has(scenario),
    }),
  )
}

/** @returns whether every required scenario passed. */
async function report(revision: Revision): Promise<boolean> {
  const outcomes = await runSuite(revision)
  const missing = requiredOf(revision).filter(
    (name) => !outcomes.some(({ scenario }) => scenario === name),
  )
  console.log(`\nTerminal client, MCP ${revision}`)
  for (const { scenario, passed, failed, required } of outcomes) {
    const verdict = failed === 0 ? 'ok  ' : required ? 'FAIL' : 'no  '
    console.log(`  ${verdict} ${scenario} (${passed} of ${passed + failed} checks)`)
  }
  for (const scenario of missing) console.log(`  FAIL ${scenario} (did not run)`)
  const failures = outcomes.filter(({ failed, required }) => required && failed > 0)
  const count = requiredOf(revision).length
  console.log(`  ${count - failures.length - missing.length} of ${count} required scenarios pass`)
  return failures.length + missing.length === 0
}

if (import.meta.main) {
  for (const revision of REVISIONS) if (!(await report(revision))) process.exitCode = 1
}
