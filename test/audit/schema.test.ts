import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { CfWorkerJsonSchemaValidator } from '@modelcontextprotocol/server/validators/cf-worker'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { type AuditRecord, createChain } from '../../src/audit/chain.ts'
import { cleanText } from '../../src/audit/clean-text.ts'
import { toOcsf } from '../../src/audit/ocsf.ts'
import type { AuditEvent } from '../../src/audit/trail.ts'
import { ROOT } from '../source-tree.ts'
import { context, EVENTS, FORGERIES } from './events.ts'
import { KEY, SIGNER, WRITER } from './log.ts'
import { recordProblems } from './record-check.ts'
import { RECORDS } from './record-schema.ts'

const PUBLISHED = 'docs/audit-event.schema.json'

/** The schema as it is published, in the format of the repository. */
function generated(): string {
  const { $schema, $defs } = z.toJSONSchema(z.union(Object.values(RECORDS)))
  const schema = {
    $schema,
    title: 'Audit record',
    description: 'One line of the audit trail. docs/audit-log.md explains it.',
    oneOf: Object.keys(RECORDS).map((code) => ({ $ref: `#/$defs/${code}` })),
    $defs,
  }
  const biome = join(ROOT, 'node_modules/.bin/biome')
  const { stdout, stderr } = spawnSync(biome, ['format', `--stdin-file-path=${PUBLISHED}`], {
    cwd: ROOT,
    input: JSON.stringify(schema),
    encoding: 'utf8',
  })
  if (stdout === '') throw new Error(stderr)
  return stdout
}

/** The line of a record, as the first of a chain that continues another. */
function lineOf(event: AuditEvent): string {
  const chain = createChain({
    key: KEY,
    writer: WRITER,
    predecessor: { head: { writer: WRITER, sequence: 7, mac: 'a'.repeat(64) }, tornBytes: 9 },
  })
  const build = (): AuditRecord => toOcsf(event, { ...context, dropped: 3, nameOf: cleanText })
  if (event.event !== 'audit.checkpoint') return chain.append(build())
  return chain.checkpoint(build, event.signer === undefined ? undefined : SIGNER.seal)
}

const SCHEMA = JSON.parse(generated())
/** By another implementation, from what is published alone. */
const isPublished = new CfWorkerJsonSchemaValidator().getValidator(SCHEMA)

type Path = readonly (string | number)[]

/** The paths of all objects in a value. */
function objectsIn(value: unknown, path: Path = []): readonly Path[] {
  if (typeof value !== 'object' || value === null) return []
  const inner = Object.entries(value).flatMap(([name, member]) =>
    objectsIn(member, [...path, Array.isArray(value) ? Number(name) : name]),
  )
  return Array.isArray(value) ? inner : [path, ...inner]
}

/** The names of all members in a value. */
function membersIn(value: unknown): readonly string[] {
  if (typeof value !== 'object' || value === null) return []
  const inner = Object.values(value).flatMap(membersIn)
  return Array.isArray(value) ? inner : [...Object.keys(value), ...inner]
}

/** The names of all attributes that a schema defines. */
function propertiesIn(schema: unknown): readonly string[] {
  if (typeof schema !== 'object' || schema === null) return []
  const inner = Object.values(schema).flatMap(propertiesIn)
  return 'properties' in schema ? [...Object.keys(Object(schema.properties)), ...inner] : inner
}

/** A copy of a record in which the object at a path is changed. */
function changed(line: string, path: Path, change: (object: Record<string, unknown>) => void) {
  const record = JSON.parse(line)
  change(path.reduce((value, name) => value[name], record))
  return JSON.stringify(record)
}

describe('contract: the published schema is what every record follows', () => {
  it(`${PUBLISHED} is up to date`, async () => {
    await expect(generated()).toMatchFileSnapshot(join(ROOT, PUBLISHED))
  })

  it.each(EVENTS)('%s', (_name, event) => {
    const line = lineOf(event)
    expect(recordProblems(line)).toEqual([])
    expect(isPublished(JSON.parse(line))).toMatchObject({ valid: true })
  })

  it('has an example of every event and of every attribute', () => {
    const lines = EVENTS.map(([, event]) => lineOf(event))
    const used = new Set(lines.flatMap((line) => membersIn(JSON.parse(line))))
    const defined = propertiesIn(SCHEMA.$defs)
    expect(defined.filter((name) => !used.has(name))).toEqual([])
    expect(new Set(EVENTS.map(([, { event }]) => event))).toEqual(new Set(Object.keys(RECORDS)))
  })

  it('fits into 16 KiB, whatever callers send; only an issuer with many long key ids does not', () => {
    const sizes = FORGERIES.map((event) => [event.event, Buffer.byteLength(lineOf(event))] as const)
    for (const [event, bytes] of sizes) {
      if (event !== 'jwks.change') expect(bytes, event).toBeLessThan(16_384)
    }
  })
})

describe('threat: leaks and forged entries, a record says more than the schema knows', () => {
  const places = EVENTS.flatMap(([name, event]) => {
    const line = lineOf(event)
    return objectsIn(JSON.parse(line)).map((path) => [name, path.join('.'), line, path] as const)
  })

  it.each(places)('in %s, an attribute more in {%s} is refused', (_name, _at, line, path) => {
    const more = changed(line, path, (object) => {
      object['x'] = 'y'
    })
    expect(recordProblems(more)).not.toEqual([])
    expect(isPublished(JSON.parse(more))).toMatchObject({ valid: false })
  })

  it.each(EVENTS)('in %s, a missing or wrong attribute is refused', (_name, event) => {
    const line = lineOf(event)
    for (const name of ['metadata', 'time', 'class_uid', 'severity_id', 'status_id', 'unmapped']) {
      for (const value of [undefined, null, '', -1, {}]) {
        const wrong = changed(line, [], (record) => {
          record[name] = value
        })
        expect(recordProblems(wrong), `${name}: ${value}`).not.toEqual([])
        expect(isPublished(JSON.parse(wrong))).toMatchObject({ valid: false })
      }
    }
  })

  // The causes of `authn.fail` are a closed list of the product: nobody else chooses one.
  it.each(FORGERIES.filter(({ event }) => event !== 'authn.fail'))(
    'what is forged in $event is text like any other',
    (event) => {
      expect(recordProblems(lineOf(event))).toEqual([])
    },
  )

  it.each([
    ['an escape sequence', '\u001b[2J'],
    ['a line end', 'a\nb'],
    ['an override of the direction', '\u202ea'],
    ['too much', 'a'.repeat(257)],
  ])('%s in a text is refused', (_name, text) => {
    const [, event] = EVENTS[0] ?? []
    if (event === undefined) throw new Error('No event')
    const wrong = changed(lineOf(event), ['api'], (api) => {
      api['operation'] = text
    })
    expect(recordProblems(wrong)).toEqual([
      `request api.operation: ${text.length > 256 ? 'too_big' : 'invalid_format'}`,
    ])
    expect(isPublished(JSON.parse(wrong))).toMatchObject({ valid: false })
  })
})
