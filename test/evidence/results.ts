import { readFileSync } from 'node:fs'
import { z } from 'zod'
import type { Claim } from './requirements.ts'

const report = z.object({
  startTime: z.number(),
  testResults: z.array(
    z.object({
      name: z.string(),
      assertionResults: z.array(z.object({ fullName: z.string(), status: z.string() })),
    }),
  ),
})

/** What the JSON reporter of vitest wrote about one run. */
export type Report = z.infer<typeof report>

/** What became of a claim. `elsewhere`: another command runs its tests. */
export type Result = 'passed' | 'failed' | 'not run' | 'elsewhere'

/** @throws {Error} when the file is no report of vitest */
export function readReport(path: string): Report {
  return report.parse(JSON.parse(readFileSync(path, 'utf8')))
}

/**
 * A claim has passed when at least one of its tests passed and none failed; tests that were skipped
 * because this machine lacks a program show nothing.
 */
export function resultOf({ file, name, command }: Claim, run: Report | undefined): Result {
  if (command !== undefined) return 'elsewhere'
  const statuses = (run?.testResults ?? [])
    .filter((tested) => tested.name.endsWith(`/${file}`))
    .flatMap(({ assertionResults }) => assertionResults)
    .filter(({ fullName }) => fullName.includes(name))
    .map(({ status }) => status)
  if (statuses.includes('failed')) return 'failed'
  return statuses.includes('passed') ? 'passed' : 'not run'
}
