import type { z } from 'zod'
import type { Message, Parsed } from '../context.ts'
import type { Catalog } from '../define.ts'
import type { Rule, Rules } from './rules.ts'

/** What a message wants to use: the rule that decides, and the input it decides on. */
export interface Target {
  readonly rule: Rule
  /** The arguments as received, for their digest. */
  readonly args: unknown
  readonly parsed: Parsed
}

/**
 * Finds what a message wants to use, by the name in its body.
 *
 * @returns `undefined` when the method uses nothing, or the name is not in the catalog: then there
 *   is nothing to decide and nothing that could run.
 */
export type FindTarget = (message: Message) => Target | undefined

/** URIs longer than this match nothing, characters. */
const URI_LENGTH = 2048

export function findTarget(catalog: Catalog, rules: Rules): FindTarget {
  const tools = new Map(catalog.tools.map((tool) => [tool.name, tool]))
  const prompts = new Map(catalog.prompts.map((prompt) => [prompt.name, prompt]))
  const resources = catalog.resources.map((resource) => ({
    ...resource,
    match: uriMatcher(resource.uriTemplate),
  }))

  return function findTarget({ method, params = {} }) {
    if (method === 'resources/read') {
      const uri = params['uri']
      if (typeof uri !== 'string' || uri.length > URI_LENGTH) return undefined
      for (const { uriTemplate, params: schema, match } of resources) {
        const variables = match(uri)
        const rule = rules.resources.get(uriTemplate)
        if (variables === undefined || rule === undefined) continue
        return { rule, args: variables, parsed: parse(schema, variables) }
      }
      return undefined
    }
    const name = params['name']
    if (typeof name !== 'string') return undefined
    const [entry, rule] =
      method === 'tools/call'
        ? [tools.get(name), rules.tools.get(name)]
        : method === 'prompts/get'
          ? [prompts.get(name), rules.prompts.get(name)]
          : []
    if (entry === undefined || rule === undefined) return undefined
    const args = params['arguments'] ?? {}
    return { rule, args, parsed: parse(entry.input, args) }
  }
}

function parse(schema: z.ZodObject, value: unknown): Parsed {
  const { success, data, error } = schema.safeParse(value)
  return success ? { value: deepFreeze(data) } : { issues: error.issues }
}

/** Freezes what zod made: a tree of its own, so nothing of the message is frozen along. */
function deepFreeze<Value>(value: Value): Value {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value)
    for (const member of Object.values(value)) deepFreeze(member)
  }
  return value
}

/**
 * Variables of a URI for a template of literals and `{name}` (RFC 6570 §1.2, level 1). A variable
 * ends with its path segment, and a segment has one at most (`compileRules`): linear time.
 */
function uriMatcher(template: string): (uri: string) => Record<string, string> | undefined {
  const names = [...template.matchAll(/\{(\w+)\}/g)].map(([, name = '']) => name)
  const source = template
    .split(/\{\w+\}/)
    .map(RegExp.escape)
    .join('([^/?#]+)')
  const pattern = new RegExp(`^${source}$`)

  return function match(uri) {
    const values = pattern.exec(uri)?.slice(1)
    return values && Object.fromEntries(names.map((name, index) => [name, values[index] ?? '']))
  }
}
