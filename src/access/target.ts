import type { z } from 'zod'
import type { Message, Parsed } from '../context.ts'
import type { Catalog, Resource } from '../define.ts'
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
  const templates = new Map(catalog.resources.map((resource) => [resource.uriTemplate, resource]))
  const find = findResource(catalog.resources)

  return function findTarget({ method, params = {} }) {
    if (OF_RESOURCES.has(method)) {
      const found = find(params['uri'])
      const rule = rules.resources.get(found?.resource.uriTemplate ?? '')
      if (found === undefined || rule === undefined) return undefined
      return { rule, args: found.variables, parsed: parse(found.resource.params, found.variables) }
    }
    if (method === 'completion/complete') {
      const { type, name, uri } = recordOf(params['ref'])
      const [shape, rule] =
        type === 'ref/prompt' && typeof name === 'string'
          ? [prompts.get(name)?.input.shape, rules.prompts.get(name)]
          : type === 'ref/resource' && typeof uri === 'string'
            ? [templates.get(uri)?.params.shape, rules.resources.get(uri)]
            : []
      if (shape === undefined || rule === undefined) return undefined
      const { argument = {} } = params
      return { rule, args: argument, parsed: parseTyped(shape, argument) }
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

/** Methods that are about the resource behind a `uri`. */
const OF_RESOURCES: ReadonlySet<string> = new Set([
  'resources/read',
  'resources/subscribe',
  'resources/unsubscribe',
])

/** The resource that a URI is of, and the variables of its template in it. */
export type FindResource = (
  uri: unknown,
) => { readonly resource: Resource; readonly variables: Record<string, string> } | undefined

export function findResource(resources: readonly Resource[]): FindResource {
  const matchers = resources.map((resource) => ({
    resource,
    match: uriMatcher(resource.uriTemplate),
  }))

  return function findResource(uri) {
    if (typeof uri !== 'string' || uri.length > URI_LENGTH) return undefined
    for (const { resource, match } of matchers) {
      const variables = match(uri)
      if (variables !== undefined) return { resource, variables }
    }
    return undefined
  }
}

/** Resources that one stream may follow: as many as a caller's own space can hold (`store.ts`). */
export const MAX_FOLLOWED = 100

/** What a `subscriptions/listen` names to be followed; nothing for what is no filter, which the SDK refuses. */
export function followedResources({ method, params }: Message): readonly unknown[] {
  if (method !== 'subscriptions/listen') return []
  const named = recordOf(params?.['notifications'])['resourceSubscriptions']
  return Array.isArray(named) ? named : []
}

/** The one argument that a caller is typing. Half a value cannot be parsed by the schema of a whole one. */
function parseTyped(shape: object, argument: unknown): Parsed {
  const { name, value } = recordOf(argument)
  const isKnown = typeof name === 'string' && Object.hasOwn(shape, name)
  if (isKnown && typeof value === 'string' && value.length <= URI_LENGTH) {
    return { value: Object.freeze({ [name]: value }) }
  }
  return { issues: [{ code: 'custom', path: ['argument'], message: 'Invalid argument' }] }
}

function recordOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? { ...value } : {}
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
