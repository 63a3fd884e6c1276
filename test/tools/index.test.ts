import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { prompts } from '../../src/prompts/index.ts'
import { resources } from '../../src/resources/index.ts'
import { tools } from '../../src/tools/index.ts'

/** Every schema inside a JSON schema. */
function schemasOf(schema: unknown): Record<string, unknown>[] {
  if (Array.isArray(schema)) return schema.flatMap(schemasOf)
  if (typeof schema !== 'object' || schema === null) return []
  const inner = Object.values(schema).flatMap(schemasOf)
  return 'type' in schema && typeof schema.type === 'string' ? [{ ...schema }, ...inner] : inner
}

function isBounded(schema: Record<string, unknown>): boolean {
  switch (schema['type']) {
    case 'string':
      return 'maxLength' in schema || 'enum' in schema || schema['format'] === 'date-time'
    case 'array':
      return 'maxItems' in schema
    case 'integer':
    case 'number':
      return 'minimum' in schema && 'maximum' in schema
    case 'object':
      return schema['additionalProperties'] === false
    default:
      return true
  }
}

describe('threat: exhaustion and surprise, input that no schema bounds', () => {
  it.each([
    ...tools.map(({ name, input }) => [name, 'input', input] as const),
    ...tools.flatMap(({ name, output }) =>
      output === undefined ? [] : [[name, 'output', output] as const],
    ),
    ...resources.map(({ name, params }) => [name, 'params', params] as const),
    ...prompts.map(({ name, input }) => [name, 'input', input] as const),
  ])('bounds every field of the %s %s', (_name, _part, schema) => {
    const found = schemasOf(z.toJSONSchema(schema))
    expect(found.length).toBeGreaterThan(0)
    expect(found.filter((part) => !isBounded(part))).toEqual([])
  })

  it.each(
    tools.flatMap(({ name, input }) =>
      Object.entries(input.shape).map(([field, schema]) => [name, field, schema] as const),
    ),
  )('describes the field of %s that is called %s', (_name, _field, schema) => {
    expect(z.toJSONSchema(schema).description).toMatch(/\w/)
  })
})
