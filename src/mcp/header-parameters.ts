import type { HeaderParameter } from '../controls/protocol-guard.ts'

const MARK = 'x-mcp-header'
/** RFC 9110 §5.6.2. */
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/
const TYPES: readonly unknown[] = ['string', 'integer', 'boolean']

/**
 * The parameters that a tool's JSON Schema marks with `x-mcp-header`.
 *
 * @throws {TypeError} for a mark that MCP does not allow. The SDK would compare none of the headers of
 *   such a tool then, without a word.
 *
 * Source: MCP 2026-07-28 Streamable HTTP, Custom Headers, Schema Extension.
 */
export function headerParameters(tool: string, inputSchema: object): readonly HeaderParameter[] {
  const seen = new Set<string>()
  return [...marksIn(inputSchema, [], true)].map(({ schema, path, reachable }) => {
    const name = Reflect.get(schema, MARK)
    const at = `Tool ${tool}, ${MARK} at ${path.join('.')}`
    if (!reachable || path.length === 0) {
      throw new TypeError(`${at}: belongs on properties of objects only`)
    }
    if (typeof name !== 'string' || !TOKEN.test(name)) {
      throw new TypeError(`${at}: must be a header name`)
    }
    if (!TYPES.includes(Reflect.get(schema, 'type'))) {
      throw new TypeError(`${at}: belongs on strings, integers and booleans only`)
    }
    if (seen.has(name.toLowerCase())) throw new TypeError(`${at}: is there twice`)
    seen.add(name.toLowerCase())
    return { header: `Mcp-Param-${name}`, path }
  })
}

interface Mark {
  readonly schema: object
  readonly path: readonly string[]
  /** Whether only `properties` lead to it, so that every value has it in one place. */
  readonly reachable: boolean
}

function* marksIn(schema: unknown, path: readonly string[], reachable: boolean): Generator<Mark> {
  if (typeof schema !== 'object' || schema === null) return
  if (MARK in schema) yield { schema, path, reachable }
  for (const [keyword, value] of Object.entries(schema)) {
    if (keyword !== 'properties') yield* marksIn(value, path, false)
    else
      for (const [name, property] of Object.entries(value)) {
        yield* marksIn(property, [...path, name], reachable)
      }
  }
}
