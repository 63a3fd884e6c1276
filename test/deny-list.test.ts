import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import type { Identity, Principal } from '../src/context.ts'
import { denyList } from '../src/deny-list.ts'
import { Problems } from '../src/problems.ts'

const folder = mkdtempSync(join(tmpdir(), 'deny-list-'))
afterAll(() => rmSync(folder, { recursive: true }))

const ISSUER = 'https://auth.example.com'
const OTHER = 'https://other.example.com'

function listOf(content: unknown): ReturnType<typeof denyList> {
  const file = join(folder, 'deny.json')
  writeFileSync(file, typeof content === 'string' ? content : JSON.stringify(content))
  return denyList(file)
}

interface Who {
  readonly kind?: Principal['kind']
  readonly issuer?: string
  readonly subject?: string
  readonly id?: string | null
}

function who({ kind = 'oauth', issuer = ISSUER, subject = 'ann', id = 'token' }: Who): Identity {
  const principal = { kind, issuer, client: 'c', subject, scopes: [], roles: [], tenant: null }
  return { principal, credentialDigest: '', credentialId: id, expiresAt: null, claims: {} }
}

const KEY = { kind: 'api-key', issuer: 'gatehouse', subject: 'ci', id: 'aaaaaaaaaaaa' } as const

/** The list, who it means, and who looks alike and is not meant. */
const ENTRIES: readonly [string, object, Who, readonly Who[]][] = [
  ['a token', { jti: ['t'] }, { id: 't' }, [{ id: 'T' }, { id: 't2' }, { id: null, subject: 't' }]],
  ['a token of any issuer', { jti: ['t'] }, { id: 't', issuer: OTHER }, [{ id: 'tt' }]],
  [
    'a token of one issuer',
    { jti: [{ issuer: ISSUER, jti: 't' }] },
    { id: 't' },
    [{ id: 't', issuer: OTHER }, { id: 't', issuer: `${ISSUER}/` }, { subject: 't' }],
  ],
  [
    'a subject',
    { subjects: ['bob'] },
    { subject: 'bob', id: null },
    [{ subject: 'Bob' }, { id: 'bob' }],
  ],
  [
    'a subject of one issuer',
    { subjects: [{ issuer: ISSUER, subject: 'bob' }] },
    { subject: 'bob' },
    [
      { subject: 'bob', issuer: OTHER },
      { subject: 'bob', issuer: 'gatehouse' },
    ],
  ],
  ['an API key by its id', { jti: [KEY.id] }, KEY, [{ ...KEY, id: 'bbbbbbbbbbbb' }]],
  [
    'an API key by its id, and no token',
    { jti: [{ issuer: 'gatehouse', jti: KEY.id }] },
    KEY,
    [{ id: KEY.id }],
  ],
  [
    'all API keys of a subject',
    { subjects: [{ issuer: 'gatehouse', subject: 'ci' }] },
    { ...KEY, id: 'cccccccccccc' },
    [{ subject: 'ci' }, { ...KEY, subject: 'cd' }],
  ],
  ['constructor', { jti: ['constructor'] }, { id: 'constructor' }, [{ id: 'toString' }]],
  ['toString', { subjects: ['toString'] }, { subject: 'toString' }, [{ subject: 'valueOf' }]],
  ['what looks like two entries', { jti: ['["a",null]'] }, { id: '["a",null]' }, [{ id: 'a' }]],
]

describe('threat: a credential that was taken away goes on working', () => {
  it.each(ENTRIES)('denies %s, and nobody else', (_name, content, meant, others) => {
    const list = listOf(content)
    expect(list.denies(who(meant))).toBe(true)
    for (const other of others) expect(list.denies(who(other)), JSON.stringify(other)).toBe(false)
  })

  it.each([
    ['no file', undefined],
    ['an empty list', {}],
    ['empty lists', { jti: [], subjects: [] }],
  ])('denies nobody with %s', (_name, content) => {
    const list = content === undefined ? denyList(undefined) : listOf(content)
    for (const name of ['ann', '', 'constructor', '__proto__', 'null', 'undefined']) {
      expect(list.denies(who({ subject: name, id: name })), name).toBe(false)
    }
    expect(list.denies(who({ id: null }))).toBe(false)
  })

  it('takes 100,000 entries of each kind', () => {
    const names = Array.from({ length: 100_000 }, (_, index) => `name ${index}`)
    const list = listOf({ jti: names, subjects: names })
    expect(list.denies(who({ id: 'name 99999' }))).toBe(true)
    expect(list.denies(who({ subject: 'name 0' }))).toBe(true)
  })
})

describe('threat: a part of a broken file is in force, or its mistakes are told to the log', () => {
  it.each([
    ['nothing', ''],
    ['no JSON', '{"jti": ["canary"]'],
    ['a text', '"canary"'],
    ['a list', ['canary']],
    ['null', 'null'],
    ['an unknown field', { jti: ['a'], canary: ['b'] }],
    ['a misspelled field', { subject: ['canary'] }],
    ['lists that are none', { jti: 'canary' }],
    ['a number', { jti: ['a', 7] }],
    ['null as an entry', { subjects: [null] }],
    ['an empty entry', { subjects: ['a', ''] }],
    ['an entry that is too long', { jti: ['canary'.repeat(50)] }],
    ['an entry with an unknown field', { jti: [{ issuer: ISSUER, jti: 'a', canary: true }] }],
    ['an entry without a name', { jti: [{ issuer: ISSUER }] }],
    ['an entry of the other kind', { jti: [{ issuer: ISSUER, subject: 'canary' }] }],
    ['a field twice', '{"jti": ["canary"], "jti": []}'],
    ['__proto__', '{"__proto__": {"jti": ["canary"]}}'],
    ['nesting', '{"jti": [[[[["canary"]]]]]}'],
    ['a lone surrogate', '{"jti": ["canary\\ud800"]}'],
    ['one entry too many', { jti: Array.from({ length: 100_001 }, (_, index) => `${index}`) }],
  ])('refuses %s, whole', (_name, content) => {
    let problems: Problems | undefined
    try {
      listOf(content)
    } catch (error) {
      if (error instanceof Problems) problems = error
      else throw error
    }
    expect(problems?.message).toMatch(/^MCP_DENY_LIST_FILE\b/)
    expect(problems?.message).not.toContain('canary')
  })

  it.each([
    ['a missing file', join(folder, 'canary.json')],
    ['a folder', folder],
  ])('refuses %s', (_name, file) => {
    expect(() => denyList(file)).toThrow(/^MCP_DENY_LIST_FILE: cannot be read$/)
  })
})

describe('threat: another process has heard of a revocation, and this one has not', () => {
  const revoked = (jti: string[], subjects: string[]) => ({
    revoked: () => ({ jti: new Set(jti), subjects: new Set(subjects) }),
  })

  it.each<[string, string[], string[], Who, readonly Who[]]>([
    ['a token', ['t'], [], { id: 't' }, [{ id: 'T' }, { id: null, subject: 't' }]],
    [
      'a token of one issuer',
      [`${ISSUER} t`],
      [],
      { id: 't' },
      [{ id: 't', issuer: OTHER }, { subject: 't' }, { id: 'x' }],
    ],
    ['a subject', [], ['bob'], { subject: 'bob', id: null }, [{ id: 'bob' }, { subject: 'Bob' }]],
    [
      'a subject of one issuer',
      [],
      [`${ISSUER} bob`],
      { subject: 'bob' },
      [{ subject: 'bob', issuer: OTHER }, { subject: 'ann' }],
    ],
    ['an API key by its id', [`gatehouse ${KEY.id}`], [], KEY, [{ id: KEY.id }]],
    ['all API keys of a subject', [], ['gatehouse ci'], KEY, [{ subject: 'ci' }]],
    ['constructor', ['constructor'], [], { id: 'constructor' }, [{ id: '__proto__' }]],
  ])('denies %s, and nobody else', (_name, jti, subjects, meant, others) => {
    const list = denyList(undefined, revoked(jti, subjects))
    expect(list.denies(who(meant))).toBe(true)
    for (const other of others) expect(list.denies(who(other)), JSON.stringify(other)).toBe(false)
  })

  it('adds to the file, and takes nothing away from it', () => {
    const file = join(folder, 'both.json')
    writeFileSync(file, JSON.stringify({ jti: ['in-file'] }))
    const list = denyList(file, revoked(['in-store'], []))
    expect(list.denies(who({ id: 'in-file' }))).toBe(true)
    expect(list.denies(who({ id: 'in-store' }))).toBe(true)
    expect(list.denies(who({ id: 'in-neither' }))).toBe(false)
  })

  it('asks for what is known now, on every request', () => {
    let known = new Set<string>()
    const list = denyList(undefined, { revoked: () => ({ jti: known, subjects: new Set() }) })
    expect(list.denies(who({ id: 't' }))).toBe(false)
    known = new Set(['t'])
    expect(list.denies(who({ id: 't' }))).toBe(true)
  })
})
