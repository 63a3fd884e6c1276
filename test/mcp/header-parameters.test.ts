import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { headerParameters } from '../../src/mcp/header-parameters.ts'

const marked = (name: unknown): { 'x-mcp-header': unknown } => ({ 'x-mcp-header': name })
const found = (shape: z.ZodRawShape): unknown =>
  headerParameters('query', z.toJSONSchema(z.strictObject(shape), { io: 'input' }))

describe('contract: the parameters that callers repeat in headers', () => {
  it('finds them at any depth of properties, and nothing else', () => {
    expect(
      found({
        region: z.string().meta(marked('Region')),
        page: z.strictObject({ size: z.int().meta(marked('Size')), from: z.int() }),
        properties: z.strictObject({ properties: z.boolean().meta(marked('Deep')) }),
        'x-mcp-header': z.string(),
      }),
    ).toEqual([
      { header: 'Mcp-Param-Region', path: ['region'] },
      { header: 'Mcp-Param-Size', path: ['page', 'size'] },
      { header: 'Mcp-Param-Deep', path: ['properties', 'properties'] },
    ])
    expect(found({ text: z.string() })).toEqual([])
  })
})

describe('threat: a mark that means nothing, headers of a tool are never compared with its input', () => {
  const shared = z.string().meta({ ...marked('Region'), id: 'shared' })

  it.each<[string, z.ZodRawShape]>([
    ['in an array', { list: z.array(z.string().meta(marked('A'))) }],
    ['on an array', { list: z.array(z.string()).meta(marked('A')) }],
    ['on an object', { page: z.strictObject({ size: z.int() }).meta(marked('A')) }],
    ['on a number', { ratio: z.number().meta(marked('A')) }],
    ['on a union', { either: z.union([z.string(), z.int()]).meta(marked('A')) }],
    ['inside a union', { either: z.union([z.string().meta(marked('A')), z.int()]) }],
    ['behind a reference', { one: shared, other: shared }],
    ['twice', { a: z.string().meta(marked('a')), b: z.string().meta(marked('A')) }],
    ['without a name', { a: z.string().meta(marked('')) }],
    ['with a name that is no text', { a: z.string().meta(marked(true)) }],
    ['with a name that no header can have', { a: z.string().meta(marked('A b')) }],
    ['with a name over two lines', { a: z.string().meta(marked('A\r\nB')) }],
  ])('refuses to start with one %s', (_name, shape) => {
    expect(() => found(shape)).toThrow(/^Tool query, x-mcp-header at /)
  })
})
