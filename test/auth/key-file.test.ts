// optional: api-key
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { loadKeys, parseKeys } from '../../src/auth/key-file.ts'
import { Problems } from '../../src/problems.ts'

const folder = mkdtempSync(join(tmpdir(), 'gatehouse-keys-'))
afterAll(() => rmSync(folder, { recursive: true }))

const RECORD = {
  id: 'abcdefghijkl',
  name: 'ci',
  sha256: 'ab'.repeat(32),
  subject: 'build',
  tenant: null,
  roles: [],
  scopes: ['mcp:use'],
  createdAt: '2026-01-01T00:00:00Z',
  expiresAt: '2027-01-01T00:00:00Z',
  allowedCidrs: ['10.0.0.0/8', '2001:db8::/32'],
  revokedAt: null,
}

/** The problems of a key file. */
function problemsOf(text: string): string[] {
  try {
    parseKeys(text, 365)
  } catch (error) {
    if (error instanceof Problems)
      return error.problems.map((one) => `${one.field}: ${one.message}`)
    throw error
  }
  return []
}

const file = (...keys: unknown[]): string => JSON.stringify({ keys })

describe('contract: the key file', () => {
  it.each<[string, unknown[]]>([
    ['no keys', []],
    ['one key', [RECORD]],
    ['a key that is revoked', [{ ...RECORD, revokedAt: '2026-02-01T00:00:00.123Z' }]],
    ['two keys of one subject', [RECORD, { ...RECORD, id: 'abcdefghijkm' }]],
    ['a key with roles and a tenant', [{ ...RECORD, roles: ['bulk'], tenant: 'tenant-1' }]],
  ])('lets %s through', (_name, keys) => {
    expect(parseKeys(file(...keys), 365)).toEqual(keys)
  })

  it('is read from disk', () => {
    const path = join(folder, 'keys.json')
    writeFileSync(path, file(RECORD))
    expect(loadKeys(path, 365)).toEqual([RECORD])
  })

  it('does not say where it looked when there is no file', () => {
    expect(() => loadKeys(join(folder, 'none.json'), 365)).toThrow(
      /^MCP_API_KEYS_FILE: cannot be read$/,
    )
  })

  it('names what named the file, when that was not the setting', () => {
    expect(() => parseKeys('{', 365, '--file')).toThrow(/^--file: is not JSON$/)
    expect(() => parseKeys('{"keys":1}', 365, '--file')).toThrow(/^--file keys: must be a list$/)
  })

  it('names every problem at once', () => {
    const bad = { ...RECORD, id: 'X', scopes: ['a', 'b c'] }
    expect(problemsOf(file(RECORD, bad))).toEqual([
      'MCP_API_KEYS_FILE keys.1.id: must be the 12 characters after mcpk_',
      'MCP_API_KEYS_FILE keys.1.scopes.1: must be one scope token',
    ])
  })
})

describe('threat: a key file with a mistake in it, somebody is let in who should not be', () => {
  it.each<[string, string, Record<string, unknown>]>([
    ['an id in capitals', 'id', { id: 'ABCDEFGHIJKL' }],
    ['id __proto__', 'id', { id: '__proto__' }],
    ['a short id', 'id', { id: 'abcdefghijk' }],
    ['no name', 'name', { name: '' }],
    ['a line break in the name', 'name', { name: 'ci\n' }],
    ['a short digest', 'sha256', { sha256: 'ab'.repeat(31) }],
    ['a digest of zeros', 'sha256', { sha256: '0'.repeat(64) }],
    [
      'the digest of nothing',
      'sha256',
      { sha256: 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855' },
    ],
    ['a digest in capitals', 'sha256', { sha256: 'AB'.repeat(32) }],
    [
      'a key in place of its digest',
      'sha256',
      { sha256: `mcpk_abcdefghijkl_${'x'.repeat(43)}_xxxxxx` },
    ],
    ['no subject', 'subject', { subject: undefined }],
    ['a subject of 256 characters', 'subject', { subject: 'x'.repeat(256) }],
    ['an escape sequence in the subject', 'subject', { subject: '\u001b[2J' }],
    ['no tenant', 'tenant', { tenant: undefined }],
    ['roles that are a string', 'roles', { roles: 'bulk' }],
    ['scopes that are a string', 'scopes', { scopes: 'mcp:use' }],
    ['no scopes', 'scopes', { scopes: undefined }],
    ['a scope with a space', 'scopes.0', { scopes: ['a b'] }],
    ['a scope with a quote', 'scopes.0', { scopes: ['a"'] }],
    ['a scope that looks like all scopes', 'scopes.0', { scopes: ['*'] }],
    ['an empty scope', 'scopes.0', { scopes: [''] }],
    ['no end', 'expiresAt', { expiresAt: undefined }],
    ['an end of null', 'expiresAt', { expiresAt: null }],
    ['an end that is a number', 'expiresAt', { expiresAt: 1_800_000_000 }],
    ['an end without a time', 'expiresAt', { expiresAt: '2026-12-31' }],
    ['an end in another zone', 'expiresAt', { expiresAt: '2026-12-31T00:00:00+02:00' }],
    ['an end that is no date', 'expiresAt', { expiresAt: '2026-02-30T00:00:00Z' }],
    ['an end at the beginning', 'expiresAt', { expiresAt: RECORD.createdAt }],
    ['a life one second too long', 'expiresAt', { expiresAt: '2027-01-01T00:00:01Z' }],
    ['a network without a prefix', 'allowedCidrs.0', { allowedCidrs: ['10.0.0.1'] }],
    ['a prefix that is too long', 'allowedCidrs.0', { allowedCidrs: ['10.0.0.0/33'] }],
    ['a name for a network', 'allowedCidrs.0', { allowedCidrs: ['localhost/8'] }],
    ['no networks', 'allowedCidrs', { allowedCidrs: undefined }],
    ['a revocation that is a flag', 'revokedAt', { revokedAt: true }],
    ['a revocation that is empty', 'revokedAt', { revokedAt: '' }],
    ['no revocation', 'revokedAt', { revokedAt: undefined }],
  ])('refuses %s', (_name, field, change) => {
    const found = problemsOf(file(RECORD, { ...RECORD, id: 'abcdefghijkm', ...change }))
    expect(found).toHaveLength(1)
    expect(found[0]).toMatch(
      new RegExp(`^MCP_API_KEYS_FILE keys\\.1\\.${field.replace('.', '\\.')}: `),
    )
    const [value] = Object.values(change).flat()
    if (typeof value === 'string' && value.length > 3) expect(found.join()).not.toContain(value)
  })

  it.each([
    ['the empty text', ''],
    ['what is not JSON', '{"keys":[}'],
    ['a list', '[]'],
    ['null', 'null'],
    ['no list of keys', '{}'],
    ['another member', '{"keys":[],"key":[]}'],
    ['a member that a key does not have', file({ ...RECORD, disabled: true })],
    ['the same id twice', file(RECORD, { ...RECORD, name: 'other' })],
    [
      'a revocation that a second one takes back',
      file(RECORD).replace('"name"', '"revokedAt":"2026-02-01T00:00:00Z","name"'),
    ],
    ['__proto__', '{"keys":[],"__proto__":{}}'],
    ['deep nesting', `{"keys":${'['.repeat(50)}${']'.repeat(50)}}`],
  ])('refuses %s', (_name, text) => {
    expect(problemsOf(text)).toHaveLength(1)
  })

  it('never quotes the file', () => {
    const secret = 'mcpk_abcdefghijkl_secret'
    for (const text of [
      `{"keys": ${secret}}`,
      `${secret}`,
      file(secret),
      file({ ...RECORD, id: secret }),
    ]) {
      expect(problemsOf(text).join()).not.toContain(secret)
    }
  })
})
