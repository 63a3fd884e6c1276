import { mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { catalog } from '../../src/catalog.ts'
import { policy } from '../../src/cli/policy.ts'
import { ROOT } from '../source-tree.ts'

const NOW = Date.parse('2026-06-01T00:00:00Z')
const SHIPPED = join(ROOT, 'policies')

interface Ended {
  readonly code: number
  readonly out: string
  readonly err: string
}

function run(...args: string[]): Ended {
  const [out, err]: [string[], string[]] = [[], []]
  const terminal = { out: (text: string) => out.push(text), err: (text: string) => err.push(text) }
  const code = policy(args, {
    terminal,
    catalog,
    policyDir: SHIPPED,
    keyFile: undefined,
    nowMs: NOW,
  })
  return { code, out: out.join(''), err: err.join('') }
}

/** The shipped policies with one text replaced. */
function edited(file: string, from: string, to: string): string {
  const dir = mkdtempSync(join(tmpdir(), 'gatehouse-policy-'))
  for (const name of readdirSync(SHIPPED).filter((entry) => entry.endsWith('.yaml'))) {
    const text = readFileSync(join(SHIPPED, name), 'utf8')
    if (name === file) expect(text).toContain(from)
    writeFileSync(join(dir, name), name === file ? text.replace(from, to) : text)
  }
  return dir
}

function temporaryFile(text: string): string {
  const file = join(mkdtempSync(join(tmpdir(), 'gatehouse-policy-')), 'file')
  writeFileSync(file, text)
  return file
}

const lineIn = (dir: string, file: string, part: string): number =>
  readFileSync(join(dir, file), 'utf8')
    .split('\n')
    .findIndex((line) => line.includes(part)) + 1

describe('contract: what is kept in the repository is what these policies and tools give', () => {
  it.each([
    ['the access matrix', ['matrix', '--check', join(ROOT, 'docs/access-matrix.md')]],
    ['the schemas of the policy files', ['schemas', '--check', join(SHIPPED, 'schemas')]],
    [
      'the cases of the shipped policy',
      ['test', ...readdirSync(join(SHIPPED, 'tests')).map((name) => join(SHIPPED, 'tests', name))],
    ],
  ])('%s', (_name, args) => {
    expect(run(...args)).toMatchObject({ code: 0, err: '' })
  })

  it.each(['access', 'audit', 'auth', 'egress', 'http', 'limits'])(
    '%s.yaml names its schema',
    (name) => {
      const [first] = readFileSync(join(SHIPPED, `${name}.yaml`), 'utf8').split('\n')
      expect(first).toBe(`# yaml-language-server: $schema=schemas/${name}.schema.json`)
    },
  )
})

describe('threat: the description of a tool changes behind the back of who approved it', () => {
  it('finds the tools as the manifest has them', () => {
    expect(run('manifest', '--check', join(ROOT, 'tools.manifest.json'))).toMatchObject({ code: 0 })
  })

  it.each([
    ['description', { description: 'Now it does something else.' }],
    ['title', { title: 'Other' }],
    ['annotations', { annotations: { readOnlyHint: false } }],
  ])('sees another %s', (_name, change) => {
    const [first, ...others] = catalog.tools
    if (first === undefined) throw new Error('no tool')
    const out = (tools: typeof catalog.tools): string => {
      const text: string[] = []
      policy(['manifest'], {
        terminal: { out: (part) => text.push(part), err: () => {} },
        catalog: { ...catalog, tools },
        policyDir: SHIPPED,
        keyFile: undefined,
        nowMs: NOW,
      })
      return text.join('')
    }
    const before = JSON.parse(out(catalog.tools))
    const after = JSON.parse(out([{ ...first, ...change }, ...others]))
    expect(after.toolsDigest).not.toBe(before.toolsDigest)
    expect(after.tools[first.name]).not.toBe(before.tools[first.name])
    expect({ ...after.tools, [first.name]: '' }).toEqual({ ...before.tools, [first.name]: '' })
  })
})

describe('contract: policy check', () => {
  it('says what it checked', () => {
    const { code, out } = run('check')
    expect(code).toBe(0)
    expect(out).toContain('ok  4 tools, 1 resources and 1 prompts')
  })

  it.each([
    ['a field that is not known', 'limits.yaml', 'depth: 64', 'depth: 64, more: 1', 'body.more'],
    [
      'a condition that does not type-check',
      'access.yaml',
      '<= 50',
      '<= 50 + true',
      'process_documents.when',
    ],
    ['an entry without its tool', 'access.yaml', '  echo: {', '  shell: {', 'tools.shell'],
    [
      'a destination of no tool',
      'egress.yaml',
      'tools: {}',
      'tools: { shell: [{ origin: "https://a.example", methods: [GET], paths: [/], why: "test" }] }',
      'tools.shell',
    ],
  ])('names %s with its line', (_name, file, from, to, part) => {
    const dir = edited(file, from, to)
    const { code, out, err } = run('check', '--dir', dir)
    expect({ code, out }).toEqual({ code: 78, out: '' })
    const line = lineIn(dir, file, to)
    expect(err.split('\n').find((text) => text.includes(part))).toMatch(
      new RegExp(`^${file} .*\\(line ${line}\\)$`),
    )
  })

  it('names a key that may live too long, with its line, and no digest', () => {
    const digest = '0123456789abcdef'.repeat(4)
    const key = {
      id: 'abcdefghijkl',
      name: 'ci',
      sha256: digest,
      subject: 'ci',
      tenant: null,
      roles: [],
      scopes: ['mcp:use'],
      createdAt: '2026-01-01T00:00:00Z',
      expiresAt: '2029-01-01T00:00:00Z',
      allowedCidrs: [],
      revokedAt: null,
    }
    const file = temporaryFile(JSON.stringify({ keys: [key] }, null, 2))
    const { code, err } = run('check', '--keys', file)
    expect(code).toBe(78)
    expect(err).toContain('keys.0.expiresAt: must be at most 365 days after createdAt (line 14)')
    expect(err).not.toContain(digest)
  })
})

describe('contract: policy explain', () => {
  const who = ['explain', '--subject', 'ann']
  const args = (count: number): string =>
    JSON.stringify({ documents: Array.from({ length: count }, () => ({ name: 'a', text: 'b' })) })

  it.each([
    ['allowed', 'mcp:use documents:process', 2, [], 0, 'allowed'],
    ['a missing scope', 'mcp:use', 2, [], 1, '403 authorize.missing-scope'],
    ['the condition', 'mcp:use documents:process', 51, [], 1, '403 authorize.condition'],
    ['the role', 'mcp:use documents:process', 51, ['--roles', 'bulk'], 0, 'allowed'],
    ['no arguments', 'mcp:use documents:process', 0, [], 1, 'nothing runs'],
  ])('%s', (_name, scopes, count, more, code, outcome) => {
    const tool = ['--tool', 'process_documents', '--args', args(count)]
    const ended = run(...who, '--scopes', scopes, ...tool, ...more)
    expect(ended.code).toBe(code)
    expect(ended.out.split('\n')[0]).toContain(outcome)
    expect(ended.out).toContain('access.yaml tools.process_documents')
  })

  it('says which scope is missing', () => {
    const { out } = run(...who, '--scopes', 'mcp:use', '--tool', 'delete_report')
    expect(out).toContain('mcp:use held, reports:delete MISSING')
  })

  it('knows resources, prompts and what is not there', () => {
    const scopes = ['--scopes', 'mcp:use reports:read']
    const id = 'AAAAAAAAAAAAAAAAAAAAAA'
    expect(run(...who, ...scopes, '--resource', `report://${id}`).code).toBe(0)
    expect(
      run(...who, ...scopes, '--prompt', 'summarize_report', '--args', `{"id":"${id}"}`).code,
    ).toBe(0)
    expect(run(...who, ...scopes, '--tool', 'shell').out).toContain('there is no such name')
  })

  it.each([
    ['no subject', ['explain', '--scopes', '', '--tool', 'echo']],
    ['two names', [...who, '--scopes', '', '--tool', 'echo', '--prompt', 'x']],
    ['arguments that are no JSON', [...who, '--scopes', '', '--tool', 'echo', '--args', '{canary']],
    ['an option of nobody', [...who, '--scopes', '', '--tool', 'echo', '--canary', 'x']],
    ['no command', []],
    ['an unknown command', ['canary']],
  ])('refuses %s as usage, without quoting it', (_name, wrong) => {
    const { code, out, err } = run(...wrong)
    expect({ code, out }).toEqual({ code: 2, out: '' })
    expect(err).toContain('Usage:')
    expect(err).not.toContain('canary')
  })
})

describe('contract: policy test', () => {
  const one = (expectation: string): string =>
    temporaryFile(
      `cases:\n  - name: first\n    principal: { scopes: [] }\n    tool: echo\n    args: { text: a }\n    ${expectation}\n`,
    )

  it.each([
    ['expect: denied', 0, '1 passed, 0 failed'],
    ['{ expect: denied, why: missing-scope }', 78, ''],
    ['expect: allowed', 1, 'first: denied (missing-scope)\n0 passed, 1 failed'],
  ])('%s', (expectation, code, end) => {
    const ended = run('test', one(expectation))
    expect(ended.code).toBe(code)
    expect(ended.out.trimEnd().endsWith(end)).toBe(true)
  })

  it('fails a case that is denied for another reason', () => {
    expect(run('test', one('expect: denied\n    why: condition')).code).toBe(1)
    expect(run('test', one('expect: denied\n    why: missing-scope')).code).toBe(0)
  })

  it.each([
    ['a misspelled field', 'expct: denied'],
    ['two names', 'expect: denied\n    prompt: x'],
    ['a reason for what is allowed', 'expect: allowed\n    why: condition'],
  ])('does not run a file with %s', (_name, expectation) => {
    const { code, err } = run('test', one(expectation))
    expect(code).toBe(78)
    expect(err).toMatch(/\(line \d+\)/)
  })

  it('is not content with nothing', () => {
    expect(run('test').code).toBe(2)
    expect(run('test', temporaryFile('cases: []\n')).code).toBe(78)
  })
})
