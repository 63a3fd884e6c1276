import { describe, expect, it } from 'vitest'
import { cleanText } from '../../src/audit/clean-text.ts'

describe('threat: log injection, a caller forges or hides entries through text that is recorded', () => {
  it.each([
    ['a line break', 'a\nb', 'ab'],
    ['CR LF', 'a\r\nb', 'ab'],
    ['a tab', 'a\tb', 'ab'],
    ['NUL', 'a\0b', 'ab'],
    ['DEL', 'a\x7fb', 'ab'],
    ['a C1 control (NEL)', 'a\x85b', 'ab'],
    ['a line separator', 'a\u2028b', 'ab'],
    ['a paragraph separator', 'a\u2029b', 'ab'],
    ['an ANSI colour', 'a\x1b[31mred\x1b[0m', 'ared'],
    ['an ANSI cursor move', 'a\x1b[2Ab', 'ab'],
    ['a C1 control sequence', 'a\x9b31mb', 'ab'],
    ['a terminal title', 'a\x1b]0;title\x07b', 'ab'],
    ['a terminal sequence that does not end, which must not swallow the rest', 'a\x1b]b', 'a]b'],
    ['an escape inside an escape', '\x1b\x1b[31m[31mb', '[31mb'],
    ['a right-to-left override', 'a\u202eb', 'ab'],
    ['a right-to-left isolate', 'a\u2067b\u2069', 'ab'],
    ['a right-to-left mark', 'a\u200fb', 'ab'],
    ['an Arabic letter mark', 'a\u061cb', 'ab'],
    ['a zero-width space', 'a\u200bb', 'ab'],
    ['a zero-width joiner', 'a\u200db', 'ab'],
    ['a word joiner', 'a\u2060b', 'ab'],
    ['a byte order mark', '\ufeffab', 'ab'],
    ['a soft hyphen', 'a\u00adb', 'ab'],
    ['a Hangul filler', 'a\u3164b', 'ab'],
    ['a variation selector', 'a\ufe0fb', 'ab'],
    ['text in tag characters', 'a\u{e0041}\u{e0042}b', 'ab'],
    ['a lone high surrogate', 'a\ud800b', 'a\ufffdb'],
    ['a lone low surrogate', 'a\udc00b', 'a\ufffdb'],
    ['nothing but invisible characters', '\u200b\u2060\u202e', ''],
  ])('removes %s', (_name, text, clean) => {
    expect(cleanText(text)).toBe(clean)
  })

  it('caps the length, whatever the characters', () => {
    expect(cleanText('a'.repeat(257))).toBe('a'.repeat(256))
    expect(cleanText('ü'.repeat(257))).toBe('ü'.repeat(256))
    expect(cleanText(`${'a'.repeat(255)}😀`)).toBe(`${'a'.repeat(255)}\ufffd`)
    expect(cleanText('\u202e'.repeat(100_000)).length).toBe(0)
    expect(cleanText('\x1b]'.repeat(100_000)).length).toBeLessThanOrEqual(256)
  })

  it('leaves nothing to clean', () => {
    for (let code = 0; code <= 0xffff; code += 1) {
      const clean = cleanText(`\x1b[1m${String.fromCharCode(code)}m`)
      expect(clean.isWellFormed()).toBe(true)
      expect(cleanText(clean)).toBe(clean)
    }
  })
})

describe('threat: a credential in the wrong place, whoever reads the trail can use it', () => {
  const key = `mcpk_abcdefghijkl_${'A-_z'.repeat(11)}_ABCDEF`
  const jwt = 'eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJ1c2VyIn0.c2lnbmF0dXJl'

  it.each([
    ['a key', key, '[credential]'],
    ['a key in a path', `/mcp/${key}/x`, '/mcp/[credential]/x'],
    ['a key that is cut off', `/${key.slice(0, 40)}`, '/[credential]'],
    ['a key across the cap', `${'a'.repeat(240)}${key}`, `${'a'.repeat(240)}[credential]`],
    ['a key with something invisible inside', key.replace('A', '\u200bA'), '[credential]'],
    ['two keys', `${key} ${key}`, '[credential] [credential]'],
    ['a token', `/mcp;token=${jwt}`, '/mcp;token=[credential]'],
    ['the header of a token', 'eyJhbGciOiJFUzI1NiJ9', '[credential]'],
    ['a token without signature', jwt.slice(0, -12), '[credential]'],
  ])('masks %s', (_name, text, clean) => {
    expect(cleanText(text)).toBe(clean)
  })
})

describe('contract: visible text stays as it is', () => {
  it.each([
    ['nothing', ''],
    ['ASCII', 'GET /mcp?x="y"\\z'],
    ['as much as fits', 'a'.repeat(256)],
    ['the prefix of keys', 'mcpk and mcpk_'],
    ['the beginning of a token', 'eyJhbGc'],
    ['accents', 'Zoë Ångström'],
    ['other scripts', 'שלום 你好 Привет'],
    ['a character outside the basic plane', 'a😀b'],
    ['a replacement character', 'a\ufffdb'],
  ])('keeps %s', (_name, text) => {
    expect(cleanText(text)).toBe(text)
  })
})
