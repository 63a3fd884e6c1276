import type { z } from 'zod'
import type { Catalog } from '../define.ts'
import type { AccessEntry, AccessPolicy } from '../policy.ts'
import { type Problem, Problems } from '../problems.ts'
import { type Condition, type ConditionFacts, compileCondition } from './condition.ts'
import { inputFaults } from './schema-rules.ts'

/** Who may use one tool, resource or prompt, and how much. */
export interface Rule {
  readonly kind: 'tool' | 'resource' | 'prompt'
  /** Name of the tool or prompt; template of the resource. */
  readonly name: string
  /** All of them are needed: the base scope first, then those of the entry. */
  readonly scopes: readonly string[]
  /** Also listed to callers who lack a scope of the entry. */
  readonly listed: boolean
  readonly condition: Condition | undefined
  readonly timeoutSeconds: number
  /** `undefined` means no limit besides that of the principal, here and below. */
  readonly concurrentCallsPerPrincipal: number | undefined
  readonly callsPerMinutePerPrincipal: number | undefined
}

/** One rule for everything in the catalog, by name. What is not here cannot be used. */
export interface Rules {
  readonly tools: ReadonlyMap<string, Rule>
  /** By template. */
  readonly resources: ReadonlyMap<string, Rule>
  readonly prompts: ReadonlyMap<string, Rule>
}

export type Verdict =
  | { readonly allowed: true }
  | {
      readonly allowed: false
      readonly reason: 'authorize.missing-scope' | 'authorize.condition'
    }

/** What the rules need to know of a tool, resource or prompt. */
interface Item {
  readonly name: string
  readonly description: string
  readonly input: z.ZodObject
}

const NAME = /^[a-z][a-z0-9_]{0,63}$/
/** RFC 6570 level 1. A path segment has one variable at most, so that matching is linear. */
const URI_TEMPLATE =
  /^[a-z][a-z0-9+.-]{0,31}:\/\/(?=.)(?:[A-Za-z0-9._~-]*(?:\{\w{1,64}\}[A-Za-z0-9._~-]*)?(?:\/|$))*$/

/**
 * Joins policy and catalog: every entry has its tool, resource or prompt, and each of those its entry.
 *
 * @throws {Problems} with everything that does not fit, named by entry.
 */
export function compileRules(access: AccessPolicy, baseScope: string, catalog: Catalog): Rules {
  const problems: Problem[] = []
  const resources = catalog.resources.map(({ uriTemplate, description, params }) => ({
    name: uriTemplate,
    description,
    input: params,
  }))
  const rules = Object.freeze({
    tools: compile('tool', access.tools, catalog.tools),
    resources: compile('resource', access.resources, resources),
    prompts: compile('prompt', access.prompts, catalog.prompts),
  })
  if (problems.length > 0) throw new Problems(problems)
  return rules

  function compile(
    kind: Rule['kind'],
    entries: Readonly<Record<string, AccessEntry>>,
    items: readonly Item[],
  ): ReadonlyMap<string, Rule> {
    const entryOf = new Map(Object.entries(entries))
    const rules = new Map<string, Rule>()
    for (const item of items) {
      const field = `access.yaml ${kind}s.${item.name}`
      problems.push(...itemProblems(kind, item))
      if (rules.has(item.name)) problems.push({ field, message: `two ${kind}s have this name` })
      const entry = entryOf.get(item.name)
      if (entry === undefined)
        problems.push({ field, message: `has no entry: say who may use this ${kind}` })
      else rules.set(item.name, ruleOf(kind, item, entry))
    }
    const known = new Set(items.map(({ name }) => name))
    for (const name of entryOf.keys()) {
      if (known.has(name)) continue
      problems.push({
        field: `access.yaml ${kind}s.${name}`,
        message: `there is no such ${kind} in src/${kind}s/index.ts`,
      })
    }
    return rules
  }

  function ruleOf(kind: Rule['kind'], { name, input }: Item, entry: AccessEntry): Rule {
    return Object.freeze({
      kind,
      name,
      scopes: Object.freeze([...new Set([baseScope, ...entry.scopes])]),
      listed: entry.listed,
      condition: conditionOf(`access.yaml ${kind}s.${name}.when`, entry.when, input),
      timeoutSeconds: entry.timeoutSeconds,
      concurrentCallsPerPrincipal: entry.concurrentCallsPerPrincipal,
      callsPerMinutePerPrincipal: entry.callsPerMinutePerPrincipal,
    })
  }

  function conditionOf(
    field: string,
    when: string | undefined,
    input: z.ZodObject,
  ): Condition | undefined {
    if (when === undefined) return undefined
    try {
      return compileCondition(when, input)
    } catch (error) {
      problems.push({ field, message: error instanceof Error ? error.message : 'is not CEL' })
      return undefined
    }
  }
}

function itemProblems(kind: Rule['kind'], { name, description, input }: Item): Problem[] {
  const field = `${kind} ${name}`
  const problems = inputFaults(input).map(({ path, message }) => ({
    field: `${field} input${path}`,
    message,
  }))
  if (description.trim() === '') problems.push({ field, message: 'needs a description' })
  if (kind !== 'resource') {
    if (!NAME.test(name)) problems.push({ field, message: `must be named like ${NAME.source}` })
    return problems
  }
  if (!URI_TEMPLATE.test(name)) {
    problems.push({
      field,
      message: 'must be a template like scheme://path/{variable}, one variable per segment',
    })
  }
  const variables = new Set([...name.matchAll(/\{(\w+)\}/g)].map(([, variable]) => variable))
  if (variables.symmetricDifference(new Set(Object.keys(input.shape))).size > 0) {
    problems.push({ field, message: 'must have one parameter for each variable' })
  }
  return problems
}

/**
 * The decision, and nothing else: scopes as whole tokens, then the condition.
 *
 * `args` is `undefined` in lists, and for arguments that do not parse, which never run. A condition
 * that mentions `args` then counts as true. So never run what was decided without its `args`.
 */
export function decide(rule: Rule, facts: ConditionFacts): Verdict {
  if (!holdsScopes(rule.scopes, facts)) {
    return { allowed: false, reason: 'authorize.missing-scope' }
  }
  return meetsCondition(rule, facts)
    ? { allowed: true }
    : { allowed: false, reason: 'authorize.condition' }
}

/** Whether lists show it: by the same decision, only that `listed` forgives missing scopes. */
export function mayList(rule: Rule, facts: Omit<ConditionFacts, 'args'>): boolean {
  const withoutArgs = { ...facts, args: undefined }
  return (rule.listed || holdsScopes(rule.scopes, withoutArgs)) && meetsCondition(rule, withoutArgs)
}

function holdsScopes(scopes: readonly string[], { identity }: ConditionFacts): boolean {
  return scopes.every((scope) => identity.principal.scopes.includes(scope))
}

function meetsCondition({ condition }: Rule, facts: ConditionFacts): boolean {
  if (condition === undefined) return true
  if (condition.mentionsArgs && facts.args === undefined) return true
  return condition.holds(facts)
}
