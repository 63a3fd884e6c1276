// optional: api-key
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { apiKey, parseKey } from '../../src/auth/api-key.ts'
import { loadKeys } from '../../src/auth/key-file.ts'
import { keys } from '../../src/cli/keys.ts'

const NOW = Date.parse('2026-01-01T00:00:00Z')
const GOOD = ['--name', 'ci', '--scopes', 'mcp:use documents:process', '--days', '90']

let folder: string
let file: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'gatehouse-cli-'))
  file = join(folder, 'keys.json')
})
afterEach(() => rmSync(folder, { recursive: true }))

function run(...args: string[]): { code: number; out: string; err: string } {
  let out = ''
  let err = ''
  const terminal = {
    out: (text: string) => {
      out += text
    },
    err: (text: string) => {
      err += text
    },
  }
  return { code: keys(args, terminal, NOW), out, err }
}

describe('contract: keys create', () => {
  it('makes the file and prints a key that works, and nothing else, on standard output', async () => {
    const { code, out } = run('create', '--file', file, ...GOOD)
    expect(code).toBe(0)
    const token = out.trimEnd()
    expect(out).toBe(`${token}\n`)
    expect(parseKey(token)).toHaveProperty('id')

    const digest = createHash('sha256').update(token).digest('hex')
    const ways = apiKey({ records: loadKeys(file, 90) })
    const identity = await ways.verify(
      {
        scheme: 'bearer',
        token,
        digest,
        address: '192.0.2.1',
        certificate: undefined,
        method: 'POST',
        proofs: [],
      },
      NOW,
    )
    expect(identity?.principal).toMatchObject({
      subject: 'ci',
      scopes: ['mcp:use', 'documents:process'],
    })
    expect(identity?.expiresAt).toBe(NOW / 1000 + 90 * 86_400)
  })

  it('adds to what is there and keeps the subject for rotation', () => {
    run('create', '--file', file, ...GOOD, '--subject', 'build')
    run('create', '--file', file, ...GOOD, '--subject', 'build', '--name', 'ci 2')
    const found = loadKeys(file, 90).map(({ name, subject }) => [name, subject])
    expect(found).toEqual([
      ['ci', 'build'],
      ['ci 2', 'build'],
    ])
  })

  it('runs as a command, on the key file that the environment names', () => {
    const cli = join(import.meta.dirname, '../../src/cli/keys.ts')
    const out = execFileSync(process.execPath, [cli, 'create', ...GOOD], {
      encoding: 'utf8',
      stdio: 'pipe',
      env: { MCP_API_KEYS_FILE: file },
    })
    expect(parseKey(out.trimEnd())).toHaveProperty('id')
    expect(run('list', '--file', file).out).toContain('live')
  })

  it('says what to do when nobody names a key file', () => {
    const { code, out, err } = run('list')
    expect([code, out]).toEqual([2, ''])
    expect(err).toContain('MCP_API_KEYS_FILE')
  })
})

describe('threat: a key at rest, who reads the file or the terminal becomes its owner', () => {
  it('keeps the digest alone, in a file that only its owner reads', () => {
    const { out, err } = run('create', '--file', file, ...GOOD)
    const secret = out.slice(18, 61)
    expect(statSync(file).mode & 0o777).toBe(0o600)
    expect(readFileSync(file, 'utf8')).not.toContain(secret)
    expect(err).not.toContain(secret)
    expect(readdirSync(folder)).toEqual(['keys.json'])
  })

  it('keeps the mode of a file that is there', () => {
    run('create', '--file', file, ...GOOD)
    chmodSync(file, 0o640)
    run('create', '--file', file, ...GOOD)
    expect(statSync(file).mode & 0o777).toBe(0o640)
  })

  it.each([
    ['the days are too many', ['--days', '366']],
    ['a scope is not one', ['--scopes', 'mcp:use  two']],
  ])('prints no key and changes nothing when %s', (_name, bad) => {
    const { code, out } = run('create', '--file', file, ...GOOD, ...bad)
    expect([code, out, existsSync(file)]).toEqual([2, '', false])
  })

  it('prints no key when the file cannot be used, and leaves it as it is', () => {
    writeFileSync(file, '{"keys":[{"id":"x"}]}')
    const { code, out, err } = run('create', '--file', file, ...GOOD)
    expect([code, out]).toEqual([1, ''])
    expect(err).toContain('key file keys.0.id: ')
    expect(readFileSync(file, 'utf8')).toBe('{"keys":[{"id":"x"}]}')
    expect(readdirSync(folder)).toEqual(['keys.json'])
  })

  it('loses no key when two are made at once', () => {
    writeFileSync(`${file}.new`, '')
    const { code, out, err } = run('create', '--file', file, ...GOOD)
    expect([code, out]).toEqual([1, ''])
    expect(err).toContain('FILE.new')
    expect(existsSync(`${file}.new`)).toBe(true)
  })
})

describe('contract: usage errors exit 2 and say what to do', () => {
  it.each([
    ['no command', []],
    ['another command', ['delete', '--file', 'f']],
    ['constructor', ['constructor']],
    ['no file', ['create', ...GOOD]],
    ['no name', ['create', '--file', 'f', '--scopes', 'a', '--days', '1']],
    ['no scopes', ['create', '--file', 'f', '--name', 'ci', '--days', '1']],
    ['no days', ['create', '--file', 'f', '--name', 'ci', '--scopes', 'a']],
    ['days of 0', ['create', '--file', 'f', ...GOOD, '--days', '0']],
    ['days of 366', ['create', '--file', 'f', ...GOOD, '--days', '366']],
    ['days that are not a number', ['create', '--file', 'f', ...GOOD, '--days', 'ninety']],
    ['days with a fraction', ['create', '--file', 'f', ...GOOD, '--days', '1.5']],
    ['commas between scopes', ['create', '--file', 'f', ...GOOD, '--scopes', 'mcp:use,b']],
    ['a quote in a scope', ['create', '--file', 'f', ...GOOD, '--scopes', 'a"b']],
    ['a line break in the name', ['create', '--file', 'f', ...GOOD, '--name', 'a\nb']],
    ['an empty subject', ['create', '--file', 'f', ...GOOD, '--subject', '']],
    ['an unknown option', ['create', '--file', 'f', ...GOOD, '--forever', 'yes']],
    ['an option without a value', ['create', '--file']],
    ['an argument too many', ['list', '--file', 'f', 'mcpk_secret']],
    ['list with an option of create', ['list', '--file', 'f', '--days', '1']],
  ])('refuses %s', (_name, args) => {
    const { code, out, err } = run(...args)
    expect([code, out]).toEqual([2, ''])
    expect(err).toContain('Usage:')
    expect(err).not.toContain('mcpk_secret')
  })

  it.each(['1', '365'])('lets %s days through', (days) => {
    expect(run('create', '--file', file, ...GOOD, '--days', days).code).toBe(0)
  })
})

describe('contract: keys list', () => {
  it('shows what is needed to decide, without digests', () => {
    run('create', '--file', file, ...GOOD)
    const text = readFileSync(file, 'utf8')
    const [record] = loadKeys(file, 365)
    const ended = { ...record, id: 'abcdefghijkl', expiresAt: '2025-12-31T00:00:00Z' }
    const old = { ...ended, createdAt: '2025-12-01T00:00:00Z' }
    const revoked = { ...record, id: 'abcdefghijkm', revokedAt: '2026-01-01T00:00:00Z' }
    writeFileSync(file, JSON.stringify({ keys: [record, old, revoked] }))

    const { code, out } = run('list', '--file', file)
    expect(code).toBe(0)
    expect(out.split('\n')).toEqual([
      'ID            STATE    EXPIRES     NAME  SUBJECT  SCOPES',
      `${record?.id}  live     2026-04-01  ci    ci       mcp:use documents:process`,
      'abcdefghijkl  expired  2025-12-31  ci    ci       mcp:use documents:process',
      'abcdefghijkm  revoked  2026-04-01  ci    ci       mcp:use documents:process',
      '',
    ])
    expect(text).toContain(record?.sha256)
    expect(out).not.toContain(record?.sha256)
  })

  it('exits 1 when there is no file', () => {
    expect(run('list', '--file', file)).toMatchObject({ code: 1, out: '' })
  })
})
