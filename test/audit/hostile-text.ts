import { expect } from 'vitest'
import { linesOfBytes } from './log.ts'

/** What takes over a terminal, hides or reorders text, ends a line early, or forges a record. */
export const HOSTILE = [
  '\u001b[2J\u001b]0;title\u0007\u009b31m',
  '\u202e\u2066\u200f\u200b\u2060\ufeff\u{e0041}',
  '\u2028\u2029\u0085\r\n\t\u0000\u007f',
  '"}}}\n{"metadata":{"uid":"forged"}}\n',
].join('a')

const INVISIBLE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\p{Cs}]/u
const MAX_LENGTH = 256

/** Each line is one record, and no text of a record does more than to be read. */
export function expectNeutral(bytes: Buffer): void {
  const text = bytes.toString()
  expect(Buffer.from(text).equals(bytes), 'well-formed UTF-8').toBe(true)
  expect(text.replaceAll('\n', '')).not.toMatch(INVISIBLE)
  for (const line of linesOfBytes(bytes)) {
    expect(line.toString()).toMatch(/^\{"metadata":\{"uid":"[0-9a-f]{16}-\d+",.*\}\}\}\n$/)
    for (const value of textsIn(JSON.parse(line.toString()))) {
      expect(value).not.toMatch(INVISIBLE)
      expect(value.length).toBeLessThanOrEqual(MAX_LENGTH)
    }
  }
}

/** Every text in a JSON value, names of members among them. */
function textsIn(value: unknown): readonly string[] {
  if (typeof value === 'string') return [value]
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([name, member]) => [name, ...textsIn(member)])
}
