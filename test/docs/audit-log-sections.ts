import { z } from 'zod'
import { CAUSES } from '../audit/record-schema.ts'

/** The generated sections of `docs/audit-log.md`, made from the published schema. */

/** What is used of JSON Schema. */
interface Schema {
  readonly $ref?: string | undefined
  readonly description?: string | undefined
  readonly type?: string | undefined
  readonly const?: unknown
  readonly enum?: readonly unknown[] | undefined
  readonly pattern?: string | undefined
  readonly format?: string | undefined
  readonly anyOf?: readonly Schema[] | undefined
  readonly properties?: Readonly<Record<string, Schema>> | undefined
  readonly required?: readonly string[] | undefined
  readonly prefixItems?: readonly Schema[] | undefined
  readonly items?: Schema | boolean | undefined
}

const schema: z.ZodType<Schema> = z.lazy(() =>
  z.object({
    $ref: z.string().optional(),
    description: z.string().optional(),
    type: z.string().optional(),
    const: z.unknown().optional(),
    enum: z.array(z.unknown()).optional(),
    pattern: z.string().optional(),
    format: z.string().optional(),
    anyOf: z.array(schema).optional(),
    properties: z.record(z.string(), schema).optional(),
    required: z.array(z.string()).optional(),
    prefixItems: z.array(schema).optional(),
    items: z.union([schema, z.boolean()]).optional(),
  }),
)
const published = z.object({
  oneOf: z.array(z.object({ $ref: z.string() })),
  $defs: z.record(z.string(), schema),
})

/** One attribute of one event. */
interface Leaf {
  readonly path: string
  readonly meaning: string
  readonly types: readonly string[]
  /** Whether every record of the event has it. */
  readonly always: boolean
}

/** One attribute, as far as it is the same in all events that have it. */
interface Attribute {
  readonly path: string
  readonly meaning: string
  readonly types: Set<string>
  /** Whether it is always there, by event. */
  readonly events: Map<string, boolean>
}

/** More values than these are not listed. */
const LISTED = 12

export interface Sections {
  readonly events: string
  readonly attributes: string
  readonly causes: string
}

/** @param text the published schema */
export function sectionsOf(text: string): Sections {
  const { oneOf, $defs } = published.parse(JSON.parse(text))
  const codes = oneOf.map(({ $ref }) => nameIn($ref))

  function resolved(given: Schema): Schema {
    if (given.$ref === undefined) return given
    const name = nameIn(given.$ref)
    const target = $defs[name]
    if (target === undefined) throw new Error(`No ${name}`)
    return { ...target, description: given.description ?? target.description }
  }

  /** The attributes of a schema that have no members of their own. */
  function leavesOf(given: Schema, path: string): readonly Leaf[] {
    const one = resolved(given)
    const parts = one.anyOf?.map(resolved) ?? []
    if (parts.some(({ properties, anyOf }) => (properties ?? anyOf) !== undefined)) {
      const lists = parts.map((part) => leavesOf(part, path))
      return lists.flat().map((leaf) => ({
        ...leaf,
        always:
          leaf.always && lists.every((list) => list.some((other) => other.path === leaf.path)),
      }))
    }
    if (one.properties !== undefined) {
      return Object.entries(one.properties).flatMap(([name, member]) => {
        const isRequired = one.required?.includes(name) ?? false
        const leaves = leavesOf(member, path === '' ? name : `${path}.${name}`)
        return leaves.map((leaf) => ({ ...leaf, always: leaf.always && isRequired }))
      })
    }
    if (one.prefixItems?.some((item) => resolved(item).properties !== undefined)) {
      return one.prefixItems.flatMap((item) => leavesOf(item, `${path}[]`))
    }
    return [{ path, meaning: one.description ?? '', types: typesOf(one, given.$ref), always: true }]
  }

  const attributes = new Map<string, Attribute>()
  for (const code of codes) {
    for (const { path, meaning, types, always } of leavesOf({ $ref: `#/$defs/${code}` }, '')) {
      const id = `${path} ${meaning}`
      const attribute = attributes.get(id) ?? { path, meaning, types: new Set(), events: new Map() }
      attributes.set(id, attribute)
      for (const type of types) attribute.types.add(type)
      attribute.events.set(code, always)
    }
  }

  return {
    events: table(
      ['Event', 'When', 'Class', 'Severity'],
      codes.map((code) => {
        const { description = '', properties = {} } = resolved({ $ref: `#/$defs/${code}` })
        const { class_uid, severity_id } = properties
        return [`\`${code}\``, description, classOf(class_uid?.const), list(valuesOf(severity_id))]
      }),
    ),
    attributes: table(
      ['Attribute', 'Type', 'Meaning', 'In'],
      [...attributes.values()]
        .toSorted((a, b) => rankOf(a.path) - rankOf(b.path))
        .map(({ path, types, meaning, events }) => [
          `\`${path}\``,
          types.size > LISTED ? 'word' : [...types].join(', '),
          meaning,
          eventsText(events, codes),
        ]),
    ),
    causes: table(
      ['Cause', 'Meaning'],
      Object.entries(CAUSES).map(([cause, meaning]) => [`\`${cause}\``, meaning]),
    ),
  }
}

function nameIn(ref: string): string {
  return ref.slice(ref.lastIndexOf('/') + 1)
}

const CLASSES = new Map<unknown, string>([
  [0, '0 Base Event'],
  [3002, '3002 Authentication'],
  [6002, '6002 Application Lifecycle'],
  [6003, '6003 API Activity'],
])

function classOf(uid: unknown): string {
  const name = CLASSES.get(uid)
  if (name === undefined) throw new Error('A class without a name')
  return name
}

function valuesOf(given: Schema | undefined): readonly unknown[] {
  return given?.enum ?? (given?.const === undefined ? [] : [given.const])
}

function list(values: readonly unknown[]): string {
  return values.map((value) => `\`${value}\``).join(', ')
}

function typesOf(one: Schema, ref: string | undefined): readonly string[] {
  const values = valuesOf(one)
  const [, digits] = /^\^\[0-9a-f\]\{(\d+)\}\$$/.exec(one.pattern ?? '') ?? []
  if (ref?.endsWith('/text')) return ['text']
  if (values.length > LISTED) return ['word']
  if (values.length > 0) return values.map((value) => `\`${value}\``)
  if (digits !== undefined) return [`${digits} digits`]
  if (one.format === 'uuid') return ['UUID']
  if (one.anyOf !== undefined) {
    return one.anyOf.map(
      (part) => part.format ?? (part.$ref === undefined ? part.type : 'text') ?? '',
    )
  }
  if (one.type === 'array') return ['list']
  return [one.type ?? '']
}

/** The envelope first, what OCSF does not know last, and in that the chain at the end. */
function rankOf(path: string): number {
  if (path.startsWith('unmapped.chain')) return 3
  if (path.startsWith('unmapped')) return 2
  return path.startsWith('metadata') ? 0 : 1
}

function eventsText(events: ReadonlyMap<string, boolean>, all: readonly string[]): string {
  const always = [...events.values()]
  if (events.size === all.length && always.every(Boolean)) return 'all'
  if (events.size === all.length && !always.some(Boolean)) return 'all?'
  return [...events].map(([code, isAlways]) => `${code}${isAlways ? '' : '?'}`).join(', ')
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n')
}
