/** @import { Schema } from '../types.ts' */

/**
 * Arguments that travel as headers too, `x-mcp-header` in the schema (MCP 2026-07-28, Streamable HTTP,
 * Custom Headers from Tool Parameters).
 *
 * @param {Schema} schema
 * @param {unknown} value
 * @returns {Record<string, string>}
 */
export function parameterHeaders(schema, value) {
  /** @type {Record<string, string>} */
  const headers = {}
  if (typeof value !== 'object' || value === null) return headers
  const members = new Map(Object.entries(value))
  for (const [name, property] of Object.entries(schema.properties ?? {})) {
    const member = members.get(name)
    const header = property['x-mcp-header']
    if (header !== undefined && member !== undefined && member !== null) {
      headers[`mcp-param-${header}`] = headerValue(`${member}`)
    }
    Object.assign(headers, parameterHeaders(property, member))
  }
  return headers
}

/**
 * What a header cannot hold travels in Base64.
 *
 * @param {string} text
 */
export function headerValue(text) {
  if (/^[!-~]([ -~]*[!-~])?$/.test(text) && !/^=\?base64\?.*\?=$/.test(text)) return text
  const bytes = new TextEncoder().encode(text)
  return `=?base64?${btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(''))}?=`
}
