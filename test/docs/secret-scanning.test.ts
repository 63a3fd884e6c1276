// optional: api-key
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { generateKey, parseKey } from '../../src/auth/api-key.ts'
import { repositoryFiles, textOf } from '../source-tree.ts'

const PAGE = textOf('docs/secret-scanning.md')

/** The only block of the page in this language. */
function block(language: string): string {
  const found = [...PAGE.matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\`$`, 'gms'))]
  expect(found).toHaveLength(1)
  return found[0]?.[1] ?? ''
}

const pattern = block('text').trim()
const matches = (text: string): readonly string[] => text.match(new RegExp(pattern, 'g')) ?? []

const KEYS = Array.from({ length: 10_000 }, () => generateKey().key)
const [KEY = ''] = KEYS

function withChecksum(body: string): string {
  return `${body}_${createHash('sha256').update(body).digest('base64url').slice(0, 6)}`
}

/** The same key with one character changed. */
function mistyped(key: string, index: number): string {
  return key.slice(0, index) + (key[index] === 'a' ? 'b' : 'a') + key.slice(index + 1)
}

const SECRET = 'x'.repeat(43)
/** Texts that are no key, whoever looks. */
const NEAR_MISSES: readonly (readonly [string, string])[] = [
  ['the prefix', 'mcpk_'],
  ['what documentation shows', 'mcpk_<id>_<43 base64url characters>_<6 characters of checksum>'],
  ['an id', KEY.slice(0, 17)],
  ['a key without its last character', KEY.slice(0, -1)],
  ['a key without its prefix', KEY.slice(5)],
  ['a key in capitals', KEY.toUpperCase()],
  ['another prefix', withChecksum(`mcpx_abcdefghijkl_${SECRET}`)],
  ['an id of 11 characters', withChecksum(`mcpk_abcdefghijk_${SECRET}`)],
  ['an id of 13 characters', withChecksum(`mcpk_abcdefghijklm_${SECRET}`)],
  ['an id with a digit that base32 does not have', withChecksum(`mcpk_abcdefghijk1_${SECRET}`)],
  ['a short secret', withChecksum(`mcpk_abcdefghijkl_${SECRET.slice(1)}`)],
  ['a long secret', withChecksum(`mcpk_abcdefghijkl_${SECRET}x`)],
  ['a secret in base64', withChecksum(`mcpk_abcdefghijkl_${SECRET.slice(1)}+`)],
  ['a key over two lines', `${KEY.slice(0, 40)}\n${KEY.slice(40)}`],
  ['a key with a space', `${KEY.slice(0, 61)} ${KEY.slice(62)}`],
  ['a key with dashes between its parts', KEY.replace(/^mcpk_/, 'mcpk-')],
]

describe('contract: the published pattern finds every key, and nothing that is none', () => {
  it('finds 10,000 keys', () => {
    expect(KEYS.filter((key) => matches(key)[0] !== key)).toEqual([])
  })

  it('finds all of them in one text, whatever stands between them', () => {
    for (const between of ['\n', ' ', '","', '\\n', '&key=', 'x', '-', '']) {
      expect(matches(KEYS.join(between))).toEqual(KEYS)
    }
  })

  it.each(NEAR_MISSES)('does not find %s', (_name, text) => {
    expect(matches(text)).toEqual([])
    expect(parseKey(text)).toBe('shape')
  })

  it('means the same to grep', () => {
    const near = NEAR_MISSES.map(([, text]) => text)
    const { stdout } = spawnSync('grep', ['-oE', pattern], {
      input: [...KEYS.slice(0, 1000), ...near].join('\n'),
      encoding: 'utf8',
      env: { LC_ALL: 'C', PATH: process.env['PATH'] },
    })
    expect(stdout.trim().split('\n')).toEqual(KEYS.slice(0, 1000))
  })

  it('is what gitleaks is given, beside its own rules', () => {
    const rules = textOf('.gitleaks.toml')
    expect(rules).toContain(`\nregex = '''${pattern}'''\n`)
    expect(rules).toContain('\nuseDefault = true\n')
  })

  it('finds nothing in this repository', () => {
    const committed = repositoryFiles().filter((path) => !/^\.env$|\.dev\.jsonl$/.test(path))
    expect(committed.length).toBeGreaterThan(100)
    expect(committed.filter((path) => matches(textOf(path)).length > 0)).toEqual([])
  })
})

describe('contract: the published recipes tell a key from a text that looks like one', () => {
  const texts = [
    ...KEYS.slice(0, 20),
    ...KEYS.slice(0, 20).map((key, index) => mistyped(key, 18 + index * 2)),
    mistyped(KEY, 6),
    `${KEY.slice(0, -6)}aaaaaa`,
    `${KEY}a`,
    KEY.slice(0, -1),
    '',
  ]
  const expected = texts.map((text) => (typeof parseKey(text) === 'string' ? 'no key' : 'key'))

  it('are what the server does', () => {
    expect(expected.filter((answer) => answer === 'key')).toHaveLength(20)
    for (const text of texts.slice(20, 42)) expect(parseKey(text)).toBe('checksum')
    for (const key of KEYS) {
      const digest = createHash('sha256').update(key.slice(0, 61)).digest('base64url')
      expect([key.length, key.slice(62)]).toEqual([68, digest.slice(0, 6)])
    }
  })

  const tools: readonly (readonly [string, string])[] = [
    ['python', 'python3'],
    ['sh', 'openssl'],
  ]
  const missing = tools.filter(([, tool]) => spawnSync(tool, ['--version']).error !== undefined)
  for (const [language, tool] of missing) {
    process.stderr.write(`Not tried: the recipe in ${language}, for want of ${tool}.\n`)
  }

  it.each(tools.filter((tool) => !missing.includes(tool)))('agree in %s', (language) => {
    const program = language === 'python' ? 'python3' : 'sh'
    const { stdout, stderr } = spawnSync(program, ['-c', block(language)], {
      input: `${texts.join('\n')}\n`,
      encoding: 'utf8',
    })
    expect(stderr).toBe('')
    expect(stdout.trimEnd().split('\n')).toEqual(expected)
  })
})
