import { Environment } from '@marcbachmann/cel-js'
import { z } from 'zod'
import type { Era, Identity } from '../context.ts'
import { costOf, isArgs, renameHas, walk } from './condition-syntax.ts'

/** What a decision is made on. */
export interface ConditionFacts {
  readonly identity: Identity
  /** The parsed input; `undefined` when there is none, or none yet. */
  readonly args: Readonly<Record<string, unknown>> | undefined
  readonly request: {
    /** Client address. */
    readonly ip: string
    readonly era: Era
  }
  readonly nowMs: number
}

/** A condition of `policies/access.yaml`, checked and ready to run. */
export interface Condition {
  readonly mentionsArgs: boolean
  /** Never throws: what cannot be evaluated, such as an absent field, does not hold. */
  holds(facts: ConditionFacts): boolean
}

/** Types of the variables besides `args`. Claims are whatever the issuer sends. */
const PRINCIPAL = {
  kind: 'string',
  issuer: 'string',
  client: 'string',
  subject: 'string',
  scopes: 'list<string>',
  roles: 'list<string>',
  tenant: 'dyn',
  claims: 'map<string, dyn>',
}
const REQUEST = { ip: 'string', era: 'string' }

/** Bounds of one expression. Its author is trusted; these catch accidents. */
const LIMITS = { maxAstNodes: 300, maxDepth: 32, maxListElements: 100, maxMapEntries: 100 }

const FIELD_EXISTS = 'field_exists'

/** Runs conditions. Values are taken as they are: the types have done their work by then. */
const evaluation = environment().registerVariable('args', 'dyn')

/**
 * Type-checks a condition and prepares it. Refused besides type errors: what could block the event
 * loop on hostile input (`costOf`), and fields that the schema does not have, which `has()` would
 * quietly answer with false.
 *
 * @param input schema of `args`
 * @throws {Error} with a message for the author of the policy.
 */
export function compileCondition(source: string, input: z.ZodObject): Condition {
  const { valid, error } = evaluation.check(source)
  if (!valid) throw new Error(error?.summary ?? 'is not CEL')
  const run = evaluation.parse(source)
  const visits = [...walk(run.ast)]
  const cost = visits.map(costOf).find((reason) => reason !== undefined)
  if (cost !== undefined) throw new Error(cost)

  // The macro `has` does not look at its last field; a function of it gets its argument checked.
  const checked = typed(input).check(renameHas(source, visits, FIELD_EXISTS))
  if (!checked.valid) throw new Error(checked.error?.summary ?? 'does not type-check')
  if (checked.type !== 'bool') throw new Error(`must be of type bool, not ${checked.type}`)

  return Object.freeze({
    mentionsArgs: visits.some(isArgs),
    holds({ identity, args, request, nowMs }: ConditionFacts): boolean {
      const principal = { ...identity.principal, claims: identity.claims }
      try {
        return run({ principal, args, request, now: new Date(nowMs) }) === true
      } catch {
        // Fail closed: what cannot be evaluated does not hold.
        return false
      }
    },
  })
}

function environment(): Environment {
  return new Environment({ limits: LIMITS })
    .registerVariable('principal', { schema: PRINCIPAL })
    .registerVariable('request', { schema: REQUEST })
    .registerVariable('now', 'google.protobuf.Timestamp')
}

function typed(input: z.ZodObject): Environment {
  const strict = environment().registerFunction(`${FIELD_EXISTS}(dyn): bool`, () => true)
  const schema = z.toJSONSchema(input, { unrepresentable: 'any' })
  return strict.registerVariable('args', declare(schema, 'Args', strict))
}

/**
 * Declares the type of a schema and gives its name. Unions, records, references and whatever else
 * CEL cannot say are `dyn`. Numbers are `double`, because that is what a JSON number is.
 */
function declare(
  schema: z.core.JSONSchema._JSONSchema | undefined,
  name: string,
  strict: Environment,
): string {
  if (typeof schema !== 'object') return 'dyn'
  switch (schema.type) {
    case 'string':
      return 'string'
    case 'boolean':
      return 'bool'
    case 'number':
    case 'integer':
      return 'double'
    case 'array':
      if (Array.isArray(schema.items)) return 'list<dyn>'
      return `list<${declare(schema.items, `${name}.item`, strict)}>`
    case 'object': {
      if (schema.additionalProperties !== false) return 'dyn'
      const fields = Object.entries(schema.properties ?? {}).map(
        ([field, value], index) => [field, declare(value, `${name}.f${index}`, strict)] as const,
      )
      strict.registerType(name, { fields: Object.fromEntries(fields) })
      return name
    }
    default:
      return 'dyn'
  }
}
