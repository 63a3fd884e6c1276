import { readFileSync } from 'node:fs'
import { z } from 'zod'
import type { Catalog } from '../../define.ts'
import { inWords, Problems } from '../../problems.ts'
import { parseStrictYaml } from '../../strict-yaml.ts'
import { decisionOn, type Question } from './decision.ts'
import type { LoadedPolicy } from './load.ts'

const why = z.enum(['unknown', 'missing-scope', 'condition', 'invalid-arguments'])

const principal = z.strictObject({
  kind: z.enum(['oauth', 'api-key', 'anonymous', 'local']).default('oauth'),
  issuer: z.string().default('https://auth.example.com'),
  client: z.string().default(''),
  subject: z.string().default('somebody'),
  scopes: z.array(z.string()),
  roles: z.array(z.string()).default([]),
  tenant: z.string().nullable().default(null),
})

/** One expectation: who, what, and whether it is allowed. */
const policyCase = z
  .strictObject({
    name: z.string().min(1),
    principal,
    claims: z.record(z.string(), z.unknown()).default({}),
    ip: z.string().default('192.0.2.1'),
    era: z.enum(['modern', 'legacy']).default('modern'),
    now: z.iso.datetime().optional(),
    tool: z.string().optional(),
    prompt: z.string().optional(),
    resource: z.string().optional(),
    args: z.unknown().optional(),
    expect: z.enum(['allowed', 'denied']),
    /** Why it is denied. Any reason will do when it is left out. */
    why: why.optional(),
  })
  .refine(
    ({ tool, prompt, resource }) => [tool, prompt, resource].filter(Boolean).length === 1,
    'must name one tool, prompt or resource',
  )
  .refine((one) => one.expect === 'denied' || one.why === undefined, {
    error: 'says why something is denied',
    path: ['why'],
  })

const caseFile = z.strictObject({ cases: z.array(policyCase).min(1) })

type PolicyCase = z.output<typeof policyCase>

/** How one case went. */
export interface CaseResult {
  readonly name: string
  readonly line: number
  readonly passed: boolean
  /** What was decided, in a word or two. */
  readonly decided: string
}

/**
 * Runs the cases of a file against a policy.
 *
 * @throws {Problems} when the file is not one of cases, by line
 */
export function runCases(
  loaded: LoadedPolicy,
  catalog: Catalog,
  file: string,
  nowMs: number,
): readonly CaseResult[] {
  const yaml = parseStrictYaml(sourceOf(file))
  if ('problems' in yaml) throw new Problems(yaml.problems.map(problemIn(file)))
  const { success, data, error } = caseFile.safeParse(yaml.value, { error: inWords })
  if (!success) {
    throw new Problems(
      error.issues.map(({ path, message }) => ({
        field: [file, path.join('.')].join(' ').trim(),
        message: `${message} (line ${yaml.lineOf(path)})`,
      })),
    )
  }
  return data.cases.map((one, index) => {
    const decision = decisionOn(loaded, catalog, questionOf(one, nowMs))
    const agrees = decision.allowed === (one.expect === 'allowed')
    return {
      name: one.name,
      line: yaml.lineOf(['cases', index]),
      passed: agrees && (one.why === undefined || one.why === decision.why),
      decided: decision.allowed ? 'allowed' : `denied (${decision.why})`,
    }
  })
}

function questionOf(one: PolicyCase, nowMs: number): Question {
  const { principal, claims, ip, era, now, tool, prompt, resource, args = {} } = one
  const use: Question['use'] =
    tool !== undefined
      ? { kind: 'tool', name: tool, args }
      : prompt !== undefined
        ? { kind: 'prompt', name: prompt, args }
        : { kind: 'resource', name: resource ?? '' }
  return { principal, claims, ip, era, nowMs: now === undefined ? nowMs : Date.parse(now), use }
}

function sourceOf(file: string): Buffer {
  try {
    return readFileSync(file)
  } catch {
    throw new Problems([problemIn(file)('cannot be read')])
  }
}

function problemIn(field: string): (message: string) => { field: string; message: string } {
  return (message) => ({ field, message })
}
