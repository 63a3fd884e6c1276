import { type Claim, claimsOf, type Requirement, type Section } from './requirements.ts'
import { type Report, type Result, resultOf } from './results.ts'
import { type SourceRow, sourceRows } from './sources.ts'

/**
 * `proven`: each claim has a passing test. `elsewhere`: another command runs all of its tests.
 * `unproven`: a claim has none in this run.
 */
export type State = 'proven' | 'elsewhere' | 'unproven' | 'not applicable' | 'open'

export interface Row {
  readonly requirement: Requirement
  readonly state: State
  readonly tests: readonly (Claim & { readonly result: Result })[]
}

/** All that the pages show. */
export interface Evidence {
  readonly sections: readonly { readonly title: string; readonly rows: readonly Row[] }[]
  readonly sources: readonly SourceRow[]
}

/** @param run `undefined`: no test has been run yet */
export function evidenceOf(sections: readonly Section[], run: Report | undefined): Evidence {
  return {
    sections: sections.map(({ title, requirements }) => ({
      title,
      rows: requirements.map((requirement) => rowOf(requirement, run)),
    })),
    sources: sourceRows(sections),
  }
}

function rowOf(requirement: Requirement, run: Report | undefined): Row {
  const tests = claimsOf(requirement).map((claim) => ({ ...claim, result: resultOf(claim, run) }))
  if ('open' in requirement) return { requirement, state: 'open', tests }
  if ('notApplicable' in requirement) return { requirement, state: 'not applicable', tests }
  const here = tests.filter(({ result }) => result !== 'elsewhere')
  if (here.some(({ result }) => result !== 'passed'))
    return { requirement, state: 'unproven', tests }
  return { requirement, state: here.length === 0 ? 'elsewhere' : 'proven', tests }
}

export const rowsOf = ({ sections }: Evidence): readonly Row[] =>
  sections.flatMap(({ rows }) => rows)

/** Claims that `npm test` should have shown and did not, one line each; also those of open rows. */
export function unshown(evidence: Evidence): readonly string[] {
  return rowsOf(evidence).flatMap(({ requirement, tests }) =>
    tests
      .filter(({ result }) => result === 'failed' || result === 'not run')
      .map(({ file, name, result }) => `${requirement.id} ${result}: ${file} ${name}`),
  )
}
