import { describe, expect, it } from 'vitest'
import { type JsonFault, scanJson } from '../src/json-scan.ts'

const nested = (depth: number): string => '['.repeat(depth) + ']'.repeat(depth)

describe('threat: JSON that parsers disagree on, the check sees another value than the code', () => {
  it.each<[string, JsonFault, string]>([
    ['one level too many', 'too-deep', nested(5)],
    ['one object too many', 'too-deep', '{"a":{"a":{"a":{"a":{}}}}}'],
    ['a level too many that never closes', 'too-deep', '[[[[['],
    ['two equal names', 'duplicate-name', '{"a":1,"a":1}'],
    ['two equal names, one escaped', 'duplicate-name', '{"a":1,"\\u0061":2}'],
    ['two equal names, both escaped', 'duplicate-name', '{"\\u0061":1,"\\u0061":2}'],
    ['an escaped quotation mark', 'duplicate-name', '{"\\"":1,"\\u0022":2}'],
    ['an escaped solidus', 'duplicate-name', '{"/":1,"\\/":2}'],
    ['two empty names', 'duplicate-name', '{"":1,"":2}'],
    ['equal names around another object', 'duplicate-name', '{"a":{"b":1},"a":2}'],
    ['equal names inside', 'duplicate-name', '[{"b":{"a":1,"a":2}}]'],
    ['equal names before white space', 'duplicate-name', '{"a" \t\r\n:1,"a"\n:2}'],
    ['names of inherited properties', 'duplicate-name', '{"toString":1,"toString":2}'],
    ['__proto__', 'forbidden-name', '{"__proto__":1}'],
    ['__proto__, escaped', 'forbidden-name', '{"__pr\\u006fto__":1}'],
    ['a high surrogate alone', 'lone-surrogate', '"\\ud800"'],
    ['a low surrogate alone', 'lone-surrogate', '"\\udfff"'],
    ['a high surrogate and a letter', 'lone-surrogate', '"\\ud800a"'],
    ['two high surrogates', 'lone-surrogate', '"\\ud800\\ud800"'],
    ['a surrogate in a name', 'lone-surrogate', '{"\\udc00":1}'],
    ['a raw surrogate', 'lone-surrogate', '"\ud800"'],
    ['a string without an end', 'not-json', '"a'],
    ['a string that ends in a backslash', 'not-json', '"a\\'],
    ['a string whose end is escaped', 'not-json', '"a\\"'],
    ['an unknown escape', 'not-json', '"\\x41"'],
    ['a short escape', 'not-json', '"\\u12"'],
  ])('finds %s', (_name, fault, text) => {
    expect(scanJson(text, 4)).toBe(fault)
  })

  it.each([
    ['as many levels as are allowed', nested(4)],
    ['levels side by side', '[[[[]]],[[[]]]]'],
    ['brackets in a string', '"[[[[[["'],
    ['equal names in two objects', '[{"a":1},{"a":1}]'],
    ['a name as its own value', '{"a":"a"}'],
    ['equal strings in a list', '["a","a"]'],
    ['__proto__ as a value', '["__proto__"]'],
    ['names in another case', '{"a":1,"A":2}'],
    ['names that only look alike', '{"\u00e9":1,"e\\u0301":2}'],
    ['a pair of surrogates', '"\\ud83d\\ude00"'],
    ['an escaped backslash before a quotation mark', '["\\\\","\\\\"]'],
    ['an escape that is escaped', '"\\\\ud800"'],
    ['nothing', ''],
  ])('lets %s through', (_name, text) => {
    expect(scanJson(text, 4)).toBeUndefined()
  })

  it('is linear in its input', () => {
    const texts = ['"\\"'.repeat(300_000), '\\'.repeat(1_000_000), `{"a"${' '.repeat(1_000_000)}`]
    const startedAt = performance.now()
    for (const text of texts) scanJson(text, 4)
    expect(performance.now() - startedAt).toBeLessThan(2000)
  })
})

/** Small seeded generator (mulberry32): the same cases in every run. */
function generator(seed: number): (below: number) => number {
  let state = seed
  return function next(below) {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below
  }
}

const PIECES = ['a', 'b', '\\u0061', '\\"', '\\\\', '{', ']', ':', ' ', '\u00e9', '\\ud83d\\ude00']
const ODD_STRINGS = ['"__proto__"', '"\\u005f_proto__"', '"\\ud800"', '"\\ude00\\ud83d"']
const SPACES = ['', '', '', ' ', '\n\t']

/** A random JSON text with every kind of fault in it now and then. */
function randomJson(next: (below: number) => number, depth: number): string {
  const pick = (list: readonly string[]): string => list[next(list.length)] ?? ''
  const string = (): string => {
    if (next(60) === 0) return pick(ODD_STRINGS)
    return `"${Array.from({ length: next(4) }, () => pick(PIECES)).join('')}"`
  }
  const spaced = (text: string): string => pick(SPACES) + text + pick(SPACES)
  const several = (make: () => string): string =>
    Array.from({ length: next(4) }, () => spaced(make())).join(',')

  const kind = next(depth > 6 ? 3 : 6)
  if (kind === 0) return string()
  if (kind === 1) return pick(['0', '-1.5e3', '12'])
  if (kind === 2) return pick(['true', 'false', 'null'])
  if (kind === 3) return `[${several(() => randomJson(next, depth + 1))}]`
  return `{${several(() => `${string()}${pick(SPACES)}:${spaced(randomJson(next, depth + 1))}`)}}`
}

const TOKEN = /"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/g

/** The same rules for text that is JSON, token by token and without a thought for speed. */
function reference(text: string, maxDepth: number): JsonFault | undefined {
  const tokens = text.match(TOKEN) ?? []
  const open: string[][] = []
  for (const [index, token] of tokens.entries()) {
    if (token === '{' || token === '[') {
      open.push([])
      if (open.length > maxDepth) return 'too-deep'
    }
    if (token === '}' || token === ']') open.pop()
    if (!token.startsWith('"')) continue
    const value: unknown = JSON.parse(token)
    if (typeof value !== 'string') throw new Error('A string token is not a string')
    if (Array.from(value).some((character) => /^[\ud800-\udfff]$/.test(character))) {
      return 'lone-surrogate'
    }
    if (tokens[index + 1] !== ':') continue
    if (value === '__proto__') return 'forbidden-name'
    if (open.at(-1)?.includes(value)) return 'duplicate-name'
    open.at(-1)?.push(value)
  }
  return undefined
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

describe('contract: it agrees with a slow scanner', () => {
  const next = generator(20_260_728)
  const texts = Array.from({ length: 2000 }, () => randomJson(next, 0))
  /** The same with one character gone: most of them are no JSON any more. */
  const broken = texts.map((text) => {
    const at = next(text.length)
    return text.slice(0, at) + text.slice(at + 1)
  })

  it('on 2,000 random texts', () => {
    const found = new Map<JsonFault | undefined, number>()
    for (const text of texts) {
      const expected = reference(text, 6)
      expect(isJson(text), text).toBe(true)
      expect(scanJson(text, 6), text).toBe(expected)
      found.set(expected, (found.get(expected) ?? 0) + 1)
    }
    for (const fault of [
      'too-deep',
      'duplicate-name',
      'forbidden-name',
      'lone-surrogate',
    ] as const) {
      expect(found.get(fault), fault).toBeGreaterThan(5)
    }
    expect(found.get(undefined)).toBeGreaterThan(500)
  })

  it('on what is still JSON with one character gone, and ends on the rest', () => {
    const still = broken.filter(isJson)
    for (const text of still) expect(scanJson(text, 6), text).toBe(reference(text, 6))
    expect(still.length).toBeGreaterThan(50)
    for (const text of broken) expect(() => scanJson(text, 6)).not.toThrow()
  })
})
