import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { parse } from 'yaml'
import { z } from 'zod'
import { environment } from '../../src/config.ts'
import { ROOT, textOf } from '../source-tree.ts'

const text = z.string().trim().min(1)
const id = z.string().regex(/^[A-Z]{3}-\d\d$|^(?:CVE|GHSA)-[\w-]+$/)

const claim = z.strictObject({
  /** The file of the test, relative to the root of the repository. */
  file: text,
  /** What the full name of a test (titles of describe and of the test, joined by a space) contains. */
  name: text,
  /** The command that runs it, when that is not `npm test`. */
  command: z
    .string()
    .regex(/^npm run [\w:]+$/)
    .optional(),
})

const head = {
  id,
  /** Other identifiers of the same row: advisories with one cause. */
  also: z.array(id).default([]),
  level: z.enum(['must', 'should', 'policy']),
  requirement: text.regex(/\.$/, 'ends in a full stop'),
  sources: z.array(text).min(1),
}
const place = {
  /** A file of `src/controls` without `.ts`, or another part, such as `listen`. */
  control: z.string().regex(/^[a-z][a-z0-9-]*$/),
  files: z.array(text).min(1),
  /** Keys of policy files and settings, such as ``http.yaml `hosts`; MCP_SECRET``, or `none`. */
  policy: text,
}
const claimed = z.strictObject({ ...head, ...place, tests: z.array(claim).min(1) })
const notApplicable = z.strictObject({ ...head, notApplicable: text })
const open = z.strictObject({
  ...head,
  ...z.object(place).partial().shape,
  tests: z.array(claim).default([]),
  open: text,
})

const section = z.strictObject({
  section: text,
  requirements: z.array(z.union([open, notApplicable, claimed])).min(1),
})

/** One test, or one group of tests, that is said to show a requirement. */
export type Claim = z.infer<typeof claim>

export type Requirement = z.infer<typeof section>['requirements'][number]

/** One file of `requirements/`. */
export interface Section {
  readonly title: string
  readonly requirements: readonly Requirement[]
}

/** Every section, in order. @throws {Error} naming the file and the rows that have another shape */
export function readSections(): readonly Section[] {
  const folder = 'test/evidence/requirements'
  const names = readdirSync(join(ROOT, folder)).filter((name) => /^\d\d-[\w-]+\.yaml$/.test(name))
  return names.sort().map((name) => {
    const { data, error } = section.safeParse(parse(textOf(`${folder}/${name}`)))
    if (error !== undefined) throw new Error(`${name}: ${z.prettifyError(error)}`)
    return { title: data.section, requirements: data.requirements }
  })
}

export const claimsOf = (requirement: Requirement): readonly Claim[] =>
  'tests' in requirement ? requirement.tests : []

export const filesOf = (requirement: Requirement): readonly string[] =>
  'files' in requirement ? (requirement.files ?? []) : []

/**
 * What a requirement says of where it is set that is neither a setting nor a key of a policy file.
 *
 * @param policy such as ``http.yaml `hosts`, `origins`; MCP_PUBLIC_URL`` or `none`
 */
export function unknownSettings(policy: string): readonly string[] {
  if (policy === 'none') return []
  const unknown: string[] = []
  let file = ''
  for (const part of policy.split(/[;,]\s*/)) {
    const [, name, key, setting] =
      /^(?:(\w+)\.yaml ?)?(?:`([\w.[\]]+)`)?([A-Z][A-Z_]+)?$/.exec(part) ?? []
    if (name !== undefined) file = `policies/schemas/${name}.schema.json`
    const known =
      (setting !== undefined && isSetting(setting)) ||
      (key !== undefined && file !== '' && hasKey(file, key)) ||
      (setting === undefined &&
        key === undefined &&
        name !== undefined &&
        existsSync(join(ROOT, file)))
    if (!known) unknown.push(part)
  }
  return unknown
}

/** `NODE_OPTIONS` is read by Node itself and checked at the start. */
const isSetting = (name: string): boolean =>
  Object.hasOwn(environment.shape, name) || name === 'NODE_OPTIONS'

const schemaNode = z.object({
  properties: z.record(z.string(), z.unknown()).default({}),
  additionalProperties: z.unknown().optional(),
  items: z.unknown().optional(),
  anyOf: z.array(z.unknown()).default([]),
  oneOf: z.array(z.unknown()).default([]),
})

/** A key may begin at any depth: `scopes` is that of every tool. */
function hasKey(file: string, key: string): boolean {
  const path = key.replaceAll('[]', '').split('.')
  const paths = pathsOf(JSON.parse(textOf(file) || '{}'), [])
  return paths.some((known) => known.slice(-path.length).join('.') === path.join('.'))
}

function pathsOf(node: unknown, path: readonly string[]): readonly (readonly string[])[] {
  const { success, data } = schemaNode.safeParse(node)
  if (!success) return []
  const inner = [data.items, data.additionalProperties, ...data.anyOf, ...data.oneOf]
  const members = Object.entries(data.properties)
  return [
    ...inner.flatMap((part) => pathsOf(part, path)),
    ...members.flatMap(([key, part]) => [[...path, key], ...pathsOf(part, [...path, key])]),
  ]
}
