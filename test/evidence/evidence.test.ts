import { existsSync, readdirSync, statSync } from 'node:fs'
import { basename, join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { z } from 'zod'
import { ROOT, sourcesOf, textOf } from '../source-tree.ts'
import { markdownOf, withoutResults } from './markdown.ts'
import { evidenceOf, unshown } from './model.ts'
import { pageOf } from './page.ts'
import { claimsOf, filesOf, readSections, type Section, unknownSettings } from './requirements.ts'
import { type Report, resultOf } from './results.ts'
import { sourceRows } from './sources.ts'
import { canContain, readTitles, titlesOf } from './titles.ts'

const sections = readSections()
const rows = sections.flatMap(({ requirements }) => requirements)
const claims = rows.flatMap((row) => claimsOf(row).map((claim) => ({ id: row.id, ...claim })))
const { scripts } = z
  .object({ scripts: z.record(z.string(), z.string()) })
  .parse(JSON.parse(textOf('package.json')))

describe('contract: every requirement is answered, and what the answer names exists', () => {
  it('each identifier stands once', () => {
    const listed = z
      .record(z.string(), z.array(z.string()))
      .parse(parse(textOf('test/evidence/ids.yaml')))
    const answered = rows.flatMap(({ id, also }) => [id, ...also])
    expect(answered.toSorted()).toEqual(Object.values(listed).flat().sort())
  })

  it('every file is one', () => {
    const named = rows.flatMap((row) => filesOf(row).map((file) => `${row.id} ${file}`))
    const missing = named.filter((line) => {
      const path = join(ROOT, line.slice(line.indexOf(' ') + 1))
      return !existsSync(path) || !statSync(path).isFile()
    })
    expect(named.length).toBeGreaterThan(100)
    expect(missing).toEqual([])
  })

  it('every control is the name of one of its files, or not that of a control', () => {
    const controls = new Set(readdirSync(join(ROOT, 'src/controls')).map((f) => basename(f, '.ts')))
    const wrong = rows.filter((row) => {
      if (!('control' in row) || row.control === undefined || !controls.has(row.control))
        return false
      return !filesOf(row).includes(`src/controls/${row.control}.ts`)
    })
    expect(wrong.map(({ id }) => id)).toEqual([])
  })

  it('every policy key and setting is one', () => {
    const wrong = rows.flatMap((row) =>
      'policy' in row && row.policy !== undefined
        ? unknownSettings(row.policy).map((part) => `${row.id} ${part}`)
        : [],
    )
    expect(wrong).toEqual([])
  })

  it('knows a policy key and a setting from none', () => {
    expect(
      unknownSettings('http.yaml `hosts`; limits.yaml `body.bytes`, `body.depth`; MCP_SECRET'),
    ).toEqual([])
    expect(unknownSettings('http.yaml `constructor`')).toEqual(['http.yaml `constructor`'])
    expect(unknownSettings('limits.yaml `body.bites`, MCP_SECRETS')).toEqual([
      'limits.yaml `body.bites`',
      'MCP_SECRETS',
    ])
  })

  it.each(readdirSync(join(ROOT, 'src/controls')))(
    'src/controls/%s is claimed by a row',
    (file) => {
      const own = rows.filter((row) => filesOf(row).includes(`src/controls/${file}`))
      expect(own.filter((row) => claimsOf(row).length > 0)).not.toEqual([])
    },
  )

  it('every command is a script', () => {
    const commands = claims.flatMap(({ command }) => (command === undefined ? [] : [command]))
    const names = commands.map((command) => command.replace('npm run ', ''))
    expect(names.filter((name) => !Object.hasOwn(scripts, name))).toEqual([])
  })
})

describe('contract: every claim names tests that exist', () => {
  let titles: ReadonlyMap<string, readonly string[]> = new Map()
  beforeAll(() => {
    titles = readTitles()
  }, 120_000)

  it('each in its file', () => {
    const wrong = claims.filter(({ file, name, command }) => {
      const own = titles.get(file)
      if (own === undefined) return command === undefined || !textOf(file).includes(name)
      return !own.some((title) => canContain(title, name))
    })
    expect(wrong.map(({ id, file, name }) => `${id} ${file} ${name}`)).toEqual([])
  })

  it.each([
    ['a whole title', 'threat: a flood refuses it', 'threat: a flood refuses it', true],
    ['a part', 'threat: a flood refuses it', 'flood refuses', true],
    ['a filled part', 'threat: a flood refuses \u0000 of \u0000', 'refuses one of ten', true],
    ['a filled part of two words', 'lets \u0000 through', 'lets 5 calls through', true],
    ['another title', 'threat: a flood refuses it', 'threat: a flood lets it through', false],
    ['what only a table could say', 'contract: \u0000', 'refuses a foreign origin', false],
    ['one character more', 'contract: it', 'contract: its', false],
  ])('knows %s', (_name, title, text, expected) => {
    expect(canContain(title, text)).toBe(expected)
  })

  it('reads titles in every way that they are written', () => {
    const [source] = sourcesOf({
      'a.test.ts': `
        describe.skipIf(true)('one', () => {
          it('refuses %s', () => {})
          it.each([['x']])('refuses %s of $kind', () => {})
          it(\`takes \${1} \` + 'more', () => {})
          it(name, () => {})
          other('no test', () => {})
        })
        function cases() { it('is in a function', () => {}) }
      `,
    })
    expect(source === undefined ? [] : titlesOf(source)).toEqual([
      'one refuses %s',
      'one refuses \u0000 of \u0000',
      'one takes \u0000 more',
      'one \u0000',
      '\u0000 is in a function',
    ])
  })
})

describe('contract: a claim is shown by a run, or it is named', () => {
  const claim = { file: 'test/a.test.ts', name: 'threat: one' }
  const runOf = (...statuses: readonly string[]): Report => ({
    startTime: 0,
    testResults: [
      {
        name: '/tree/test/a.test.ts',
        assertionResults: statuses.map((status) => ({ fullName: 'threat: one refuses', status })),
      },
    ],
  })

  it.each([
    ['a test that passed', runOf('passed'), 'passed'],
    ['one that passed and one that was skipped', runOf('passed', 'skipped'), 'passed'],
    ['one that failed beside others', runOf('passed', 'failed'), 'failed'],
    ['one that was skipped', runOf('skipped'), 'not run'],
    ['none', runOf(), 'not run'],
  ] as const)('%s', (_name, run, expected) => {
    expect(resultOf(claim, run)).toBe(expected)
  })

  it('takes no test of another file, and no other test', () => {
    expect(resultOf({ ...claim, file: 'test/b.test.ts' }, runOf('passed'))).toBe('not run')
    expect(resultOf({ ...claim, name: 'threat: two' }, runOf('passed'))).toBe('not run')
  })

  it('names the claims without a passing test, with the row', () => {
    const one: Section = {
      title: 'One',
      requirements: [
        {
          id: 'ONE-01',
          also: [],
          level: 'must',
          requirement: 'It holds.',
          sources: ['own policy'],
          control: 'listen',
          files: ['src/listen.ts'],
          policy: 'none',
          tests: [claim],
        },
      ],
    }
    expect(unshown(evidenceOf([one], runOf('failed')))).toEqual([
      'ONE-01 failed: test/a.test.ts threat: one',
    ])
    expect(unshown(evidenceOf([one], runOf('passed')))).toEqual([])
  })
})

describe('contract: the pages say what the rows say', () => {
  const evidence = evidenceOf(sections, undefined)

  it('docs/controls.md is what `npm run evidence` makes, results aside', () => {
    expect(withoutResults(textOf('docs/controls.md'))).toBe(markdownOf(evidence))
  })

  it('results are all that a run changes', () => {
    const files = Map.groupBy(claims, ({ file }) => file)
    const testResults = [...files].map(([file, own], index) => ({
      name: `/tree/${file}`,
      assertionResults: own.map(({ name }) => ({
        fullName: name,
        status: index % 2 === 0 ? 'passed' : 'failed',
      })),
    }))
    const page = markdownOf(evidenceOf(sections, { startTime: 0, testResults }))
    expect(page).toContain(' · passed')
    expect(page).toContain(' · failed')
    expect(withoutResults(page)).toBe(markdownOf(evidence))
  })

  it('every link of docs/controls.md leads to a file or a row', () => {
    const page = textOf('docs/controls.md')
    const targets = [...page.matchAll(/\]\(\.\.\/([^)]+)\)/g)].map(([, path = '']) => path)
    expect(targets.length).toBeGreaterThan(100)
    expect(targets.filter((path) => !existsSync(join(ROOT, path)))).toEqual([])
    const anchors = [...page.matchAll(/\]\(#([^)]+)\)/g)].map(([, anchor = '']) => anchor)
    const headings = [...page.matchAll(/^## (.+)$/gm)].map(([, heading = '']) =>
      heading
        .toLowerCase()
        .replaceAll(/[^\w\- ]/g, '')
        .replaceAll(' ', '-'),
    )
    const known = new Set([...page.matchAll(/<a id="([^"]+)">/g)].map(([, anchor]) => anchor))
    expect(anchors.filter((a) => !known.has(a) && !headings.includes(a))).toEqual([])
  })

  it('the page for printing loads nothing, and shows text as text', () => {
    const page = pageOf(evidence, { version: '1', commit: '<b>"', ranAt: undefined })
    expect(page).toContain('&lt;b&gt;&quot;')
    expect(page).not.toMatch(/<script|<link|<img|https?:|@import|url\(/)
  })

  it('every document leads back to its rows', () => {
    const documents = new Set(sourceRows(sections).map(({ document }) => document))
    expect([...documents]).toEqual([
      'OWASP ASVS 5.0',
      'OWASP MCP Top 10',
      'OWASP API Security Top 10 2023',
      'MCP security best practices',
      'MCP 2026-07-28',
    ])
  })
})
