import { join } from 'node:path'
import { compileRules, type Rules } from '../../access/rules.ts'
import type { Catalog } from '../../define.ts'
import { unknownTools } from '../../egress-rules.ts'
import { loadPolicies, type Policies } from '../../policy.ts'
import { Problems } from '../../problems.ts'
import { keyFileProblems } from './key-file-problems.ts' // optional: api-key
import { withLine } from './problem-lines.ts'

export interface PolicySource {
  /** Folder of the policies. */
  readonly dir: string
  readonly catalog: Catalog
}

/** Policies and the rules that they make for a catalog. */
export interface LoadedPolicy {
  readonly policies: Policies
  readonly rules: Rules
}

/** @throws {Problems} with what would stop the start of a server in production, by file and line. */
export function loadPolicy({ dir, catalog }: PolicySource): LoadedPolicy {
  const policies = loadPolicies(dir, 'production')
  const strangers = unknownTools(policies.egress, catalog)
  try {
    if (strangers.length > 0) throw new Problems(strangers)
    return { policies, rules: compileRules(policies.access, policies.auth.baseScope, catalog) }
  } catch (error) {
    if (!(error instanceof Problems)) throw error
    throw new Problems(
      error.problems.map((problem) => {
        const [file = ''] = problem.field.split(' ')
        return file.endsWith('.yaml') ? withLine(join(dir, file), problem) : problem
      }),
    )
  }
}

/**
 * Does the same, and reads the key file.
 *
 * @returns what was checked, in words
 * @throws {Problems}
 */
export function check(source: PolicySource, keyFile: string | undefined): readonly string[] {
  const { policies, rules } = loadPolicy(source)
  const checked = [
    `${rules.tools.size} tools, ${rules.resources.size} resources and ${rules.prompts.size} prompts have their entries`,
    `digest ${policies.digest}`,
  ]
  if (keyFile === undefined) return checked
  const problems = keyFileProblems(keyFile, policies.auth.apiKeys.maxLifetimeDays) // optional: api-key
  if (problems.length > 0) throw new Problems(problems) // optional: api-key
  return [...checked, 'the key file can be read']
}
