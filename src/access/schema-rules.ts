import { z } from 'zod'

/** Something about a schema that an input may not have. */
export interface SchemaFault {
  /** Where in the input, such as `.documents[].name`; empty for the whole. */
  readonly path: string
  readonly message: string
}

/** `constructor` and its like are in every object, so an absent one would read as present. */
const INHERITED: ReadonlySet<string> = new Set(Object.getOwnPropertyNames(Object.prototype))

/**
 * What keeps a schema from being the input of a tool, resource or prompt: anything that changes the
 * value (transforms, defaults, coercion), because what a condition saw must be what runs; objects that
 * let unknown fields through; strings, arrays and numbers without bounds.
 *
 * Not seen: functions inside `refine` that change the value, and regular expressions that backtrack.
 *
 * Source: OWASP ASVS 5.0 2.2.1, 15.3.3.
 */
export function inputFaults(input: z.ZodObject): readonly SchemaFault[] {
  return [...faultsOf(input, '', [])]
}

function* faultsOf(
  schema: z.core.$ZodType,
  path: string,
  ancestors: readonly z.core.$ZodType[],
): Generator<SchemaFault> {
  if (ancestors.includes(schema)) {
    yield { path, message: 'must not contain itself' }
    return
  }
  const { def } = schema._zod
  if (def.checks?.some((check) => check._zod.def.check === 'overwrite')) {
    yield { path, message: 'must not change the value' }
  }
  if ('coerce' in def && def.coerce === true) yield { path, message: 'must not coerce' }

  const inside = [...ancestors, schema]
  if (schema instanceof z.core.$ZodObject) {
    const { catchall, shape } = schema._zod.def
    if (catchall?._zod.def.type !== 'never') yield { path, message: 'must be z.strictObject' }
    for (const [name, field] of Object.entries(shape)) {
      const fieldPath = `${path}.${name}`
      if (INHERITED.has(name))
        yield { path: fieldPath, message: 'is in every object by inheritance' }
      yield* faultsOf(field, fieldPath, inside)
    }
  } else if (schema instanceof z.core.$ZodArray) {
    if (boundsOf(schema).maxItems === undefined) yield { path, message: 'needs a max' }
    yield* faultsOf(schema._zod.def.element, `${path}[]`, inside)
  } else if (schema instanceof z.core.$ZodUnion) {
    for (const option of schema._zod.def.options) yield* faultsOf(option, path, inside)
  } else if (
    schema instanceof z.core.$ZodOptional ||
    schema instanceof z.core.$ZodNullable ||
    schema instanceof z.core.$ZodReadonly
  ) {
    yield* faultsOf(schema._zod.def.innerType, path, inside)
  } else if (schema instanceof z.core.$ZodString) {
    if (boundsOf(schema).maxLength === undefined) yield { path, message: 'needs a max' }
  } else if (schema instanceof z.core.$ZodNumber) {
    const { minimum, exclusiveMinimum, maximum, exclusiveMaximum } = boundsOf(schema)
    if (
      (minimum ?? exclusiveMinimum) === undefined ||
      (maximum ?? exclusiveMaximum) === undefined
    ) {
      yield { path, message: 'needs a min and a max' }
    }
  } else if (!CLOSED.has(def.type)) {
    yield { path, message: `must not use ${def.type}` }
  }
}

/** Kinds of schema that need no bounds. */
const CLOSED: ReadonlySet<string> = new Set(['boolean', 'enum', 'literal', 'null'])

/** The bounds as JSON Schema says them, whichever checks they come from. */
function boundsOf(schema: z.core.$ZodType): z.core.JSONSchema.BaseSchema {
  return z.toJSONSchema(schema, { unrepresentable: 'any' })
}
