import { isIP } from 'node:net'
import schema from './ocsf-1.8.0.json' with { type: 'json' }

interface Attribute {
  /** Of OCSF; an array of them ends in `[]`. */
  readonly type: string
  readonly required: boolean
  readonly profile: string | undefined
  readonly values: ReadonlySet<string> | undefined
}

interface Shape {
  readonly attributes: ReadonlyMap<string, Attribute>
  readonly required: readonly string[]
  readonly atLeastOne: readonly string[] | undefined
}

/** As the vendored file has it: `type`, then `required`, `profile:NAME`, `enum:VALUE,VALUE`. */
interface VendoredShape {
  readonly at_least_one?: readonly string[]
  readonly attributes: Readonly<Record<string, string>>
}

function attributeOf(facts: string): Attribute {
  const [type = '', ...rest] = facts.split(' ')
  const fact = (name: string): string | undefined =>
    rest.find((one) => one.startsWith(name))?.slice(name.length)
  const values = fact('enum:')?.split(',')
  return {
    type,
    required: rest.includes('required'),
    profile: fact('profile:'),
    values: values && new Set(values),
  }
}

function shapesOf(shapes: Readonly<Record<string, VendoredShape>>): ReadonlyMap<string, Shape> {
  return new Map(
    Object.entries(shapes).map(([name, shape]) => {
      const attributes = new Map(
        Object.entries(shape.attributes).map(([attribute, facts]) => [
          attribute,
          attributeOf(facts),
        ]),
      )
      const required = [...attributes].filter(([, { required }]) => required).map(([one]) => one)
      return [name, { attributes, required, atLeastOne: shape.at_least_one }]
    }),
  )
}

const CLASSES = shapesOf(schema.classes)
const OBJECTS = shapesOf(schema.objects)
const CATEGORIES = new Map(
  Object.entries(schema.classes).map(([uid, { category_uid }]) => [Number(uid), category_uid]),
)
const { max_len: IP_LENGTH, regex } = schema.types.ip_t
const IP = new RegExp(regex)

/** What is wrong with a record, by the facts of OCSF 1.8.0. */
export function ocsfProblems(record: Record<string, unknown>): readonly string[] {
  const { class_uid, category_uid, activity_id, type_uid, metadata } = record
  const shape = CLASSES.get(String(class_uid))
  if (shape === undefined) return ['class_uid: unknown']
  const profiles =
    typeof metadata === 'object' && metadata !== null && 'profiles' in metadata
      ? metadata.profiles
      : []
  return [
    ...(CATEGORIES.get(Number(class_uid)) === category_uid
      ? []
      : [`category_uid: ${category_uid}`]),
    ...(Number(class_uid) * 100 + Number(activity_id) === type_uid
      ? []
      : [`type_uid: ${type_uid}`]),
    ...shapeProblems(record, shape, '', Array.isArray(profiles) ? profiles : []),
  ]
}

function shapeProblems(
  value: object,
  { attributes, required, atLeastOne }: Shape,
  path: string,
  profiles: readonly unknown[],
): readonly string[] {
  const missing = required
    .filter((name) => !Object.hasOwn(value, name))
    .map((name) => `${path}${name}: missing`)
  const few =
    atLeastOne !== undefined && !atLeastOne.some((name) => Object.hasOwn(value, name))
      ? [`${path.slice(0, -1)}: at least one`]
      : []
  const wrong = Object.entries(value).flatMap(([name, member]) => {
    const attribute = attributes.get(name)
    return attribute === undefined
      ? [`${path}${name}: unknown`]
      : attributeProblems(member, attribute, `${path}${name}`, profiles)
  })
  return [...missing, ...few, ...wrong]
}

function attributeProblems(
  value: unknown,
  { type, profile, values }: Attribute,
  path: string,
  profiles: readonly unknown[],
): readonly string[] {
  if (profile !== undefined && !profiles.includes(profile)) return [`${path}: profile`]
  if (values !== undefined && !values.has(String(value))) return [`${path}: ${value}`]
  return typeProblems(value, type, path, profiles)
}

function typeProblems(
  value: unknown,
  type: string,
  path: string,
  profiles: readonly unknown[],
): readonly string[] {
  if (type.endsWith('[]')) {
    if (!Array.isArray(value)) return [`${path}: not ${type}`]
    return value.flatMap((item) => typeProblems(item, type.slice(0, -2), path, profiles))
  }
  const shape = OBJECTS.get(type)
  if (shape !== undefined && typeof value === 'object' && value !== null) {
    return shapeProblems(value, shape, `${path}.`, profiles)
  }
  return isOfType(value, type) ? [] : [`${path}: not ${type}`]
}

function isOfType(value: unknown, type: string): boolean {
  switch (type) {
    case 'string_t':
      return typeof value === 'string'
    case 'integer_t':
    case 'long_t':
    case 'timestamp_t':
      return Number.isSafeInteger(value)
    case 'boolean_t':
      return typeof value === 'boolean'
    case 'ip_t':
      return (
        typeof value === 'string' &&
        isIP(value) !== 0 &&
        value.length <= IP_LENGTH &&
        IP.test(value)
      )
    case 'object':
      return typeof value === 'object' && value !== null
    default:
      return false
  }
}
