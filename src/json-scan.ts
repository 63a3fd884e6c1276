/** What is wrong with a JSON text before it is parsed. */
export type JsonFault =
  | 'not-json'
  | 'too-deep'
  | 'duplicate-name'
  | 'forbidden-name'
  | 'lone-surrogate'

const QUOTE = 0x22
const BACKSLASH = 0x5c
const COLON = 0x3a
const OPEN_BRACE = 0x7b
const CLOSE_BRACE = 0x7d
const OPEN_BRACKET = 0x5b
const CLOSE_BRACKET = 0x5d

/**
 * One pass over a JSON text for what `JSON.parse` lets through: nesting deeper than `maxDepth`,
 * duplicate member names (parsers disagree on which one counts), the name `__proto__`, and escapes
 * that make a lone surrogate (a string that has no UTF-8 form and breaks digests and logs).
 *
 * It does not check the grammar: `JSON.parse` does, right after. On text that is not JSON it finds a
 * fault or nothing, and always ends.
 *
 * Source: RFC 8259 §4 and §8.2; RFC 7493 §2.1 and §2.3.
 */
export function scanJson(text: string, maxDepth: number): JsonFault | undefined {
  /** Names seen so far in each open object; `undefined` for an array. */
  const open: (Set<string> | undefined)[] = []
  let index = 0

  while (index < text.length) {
    const code = text.charCodeAt(index)
    if (code === QUOTE) {
      const end = endOfString(text, index)
      if (end === -1) return 'not-json'
      const names = open.at(-1)
      const raw = text.slice(index + 1, end)
      const value = raw.includes('\\') ? unescaped(raw) : raw
      if (value === undefined) return 'not-json'
      if (!value.isWellFormed()) return 'lone-surrogate'
      index = end + 1
      if (names === undefined || nextSignificant(text, index) !== COLON) continue
      if (value === '__proto__') return 'forbidden-name'
      if (names.has(value)) return 'duplicate-name'
      names.add(value)
      continue
    }
    if (code === OPEN_BRACE || code === OPEN_BRACKET) {
      open.push(code === OPEN_BRACE ? new Set() : undefined)
      if (open.length > maxDepth) return 'too-deep'
    } else if (code === CLOSE_BRACE || code === CLOSE_BRACKET) {
      open.pop()
    }
    index += 1
  }
  return undefined
}

/** Index of the closing quote, or -1. */
function endOfString(text: string, start: number): number {
  let from = start + 1
  for (;;) {
    const end = text.indexOf('"', from)
    if (end === -1) return -1
    let backslashes = 0
    while (text.charCodeAt(end - 1 - backslashes) === BACKSLASH) backslashes += 1
    if (backslashes % 2 === 0) return end
    from = end + 1
  }
}

/** The string value of the inside of a JSON string; `undefined` when its escapes are not JSON. */
function unescaped(raw: string): string | undefined {
  try {
    return String(JSON.parse(`"${raw}"`))
  } catch {
    // Not JSON: the caller refuses, or `JSON.parse` of the whole text does.
    return undefined
  }
}

/** The next character that is not JSON white space. */
function nextSignificant(text: string, from: number): number {
  let index = from
  let code = text.charCodeAt(index)
  while (code === 0x20 || code === 0x0a || code === 0x0d || code === 0x09) {
    index += 1
    code = text.charCodeAt(index)
  }
  return code
}
