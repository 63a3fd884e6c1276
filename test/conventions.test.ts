import { describe, expect, it } from 'vitest'
import { DENIALS, PROTOCOL_ERRORS } from '../src/errors.ts'
import { importCycles, RULES, targetOf } from './source-rules.ts'
import { readSources, repositoryFiles, sourcesOf, textOf } from './source-tree.ts'

const files = repositoryFiles()
const sources = readSources().filter(({ path }) => path.startsWith('src/'))
const controls = sources.flatMap(({ path }) => {
  const name = /^src\/controls\/([a-z0-9-]+)\.ts$/.exec(path)?.[1]
  return name === undefined ? [] : [name]
})

/** Format, default-ignorable and control characters and separators, but for line feed and tab. */
const INVISIBLE = /(?![\n\t])[\p{Cf}\p{Cc}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/u
/** `origin-guard` -> `originGuard` */
const camelCase = (name: string): string =>
  name.replaceAll(/-([a-z0-9])/g, (_, letter: string) => letter.toUpperCase())

describe('contract: the source tree keeps its rules', () => {
  it('finds every file of src', () => {
    const onDisk = files.filter((path) => path.startsWith('src/') && path.endsWith('.ts'))
    expect(sources.map(({ path }) => path).sort()).toEqual(onDisk.sort())
    expect(controls.length).toBeGreaterThan(0)
  })

  it.each(RULES.map((rule) => [rule.name, rule] as const))('%s', (_name, rule) => {
    const found = sources.flatMap((source) =>
      rule.check(source).map(({ line, what }) => `${source.path}:${line} ${what}`),
    )
    expect(found).toEqual([])
  })

  it('has no cycle of imports', () => {
    expect(importCycles(sources)).toEqual([])
  })
})

describe('contract: a control is found in one place, in order, with its threat and its test', () => {
  const app = sources.find(({ path }) => path === 'src/app.ts')
  const cells = textOf('README.md')
    .split('\n')
    .filter((line) => line.startsWith('|'))
    .flatMap((line) => line.split('|'))
    .map((cell) => cell.trim().replace(/^\[?`([a-z0-9-]+)`(\]\([^)]*\))?$/, '$1'))

  describe.each(controls)('%s', (name) => {
    const text = textOf(`src/controls/${name}.ts`)

    it.each([
      ['Threat', /^ \* Threat: {2}\S/m],
      ['Rule', /^ \* Rule: {4}\S/m],
      ['Policy or Config', /^ \* (Policy|Config): {2}\S/m],
      ['Refuses', /^ \* Refuses: \S/m],
      ['Source', /^ \* Source: {2}\S/m],
    ])('says %s in its header', (_label, pattern) => {
      expect(text).toMatch(pattern)
    })

    it('names its refusals in its header, and no others', () => {
      const header = /^ \* Refuses: ([\s\S]*?)(?=^ \* [A-Z][a-z]+: |^ \*\/)/m.exec(text)?.[1] ?? ''
      const named = [...header.matchAll(/`([a-z0-9-]+\.[a-z0-9-]+)`/g)].map((match) => match[1])
      const listed = Object.keys(DENIALS).filter((reason) => reason.startsWith(`${name}.`))
      expect(named.sort()).toEqual(listed.sort())
    })

    it('exports a factory of its name', () => {
      expect(text).toMatch(
        new RegExp(`^export (async )?(function|const) ${camelCase(name)}\\b`, 'm'),
      )
    })

    it('has a threat test', () => {
      expect(textOf(`test/controls/${name}.test.ts`)).toMatch(
        /describe(\.each[^\n]*)?\(\s*'threat: /,
      )
    })

    it('has a line in src/app.ts', () => {
      const imported = app?.imports.find(
        ({ specifier, values }) =>
          targetOf(specifier, 'src/app.ts') === `controls/${name}.ts` &&
          values.includes(camelCase(name)),
      )
      expect(imported, `src/app.ts does not import ${camelCase(name)}`).toBeDefined()
      expect(app?.text).toMatch(new RegExp(`\\b${camelCase(name)}\\(`))
    })

    it('has a row in the control table of README.md', () => {
      expect(cells.includes(name), `README.md has no table cell with \`${name}\``).toBe(true)
    })
  })
})

describe('contract: a refusal is found by its name', () => {
  const thrown = sources
    .filter(({ path }) => path !== 'src/errors.ts')
    .flatMap(({ text }) =>
      [...text.matchAll(/'([a-z0-9-]+\.[a-z0-9-]+)'/g)].map((match) => match[1]),
    )

  it.each(Object.keys({ ...DENIALS, ...PROTOCOL_ERRORS }))(
    '%s starts with a source file, and something throws or names it',
    (reason) => {
      const owner = reason.slice(0, reason.indexOf('.'))
      const places = ['', 'controls/', 'mcp/', 'stores/'].map(
        (folder) => `src/${folder}${owner}.ts`,
      )
      const exists = sources.some(({ path }) => places.some((place) => path.startsWith(place)))
      expect(exists, `none of ${places.join(', ')} exists`).toBe(true)

      // Either the whole name as a literal, or `owner.${cause}` over a closed list of causes.
      const uses = (text: string): boolean => sources.some((source) => source.text.includes(text))
      const cause = reason.slice(owner.length + 1)
      const composed = uses(`new Denied(\`${owner}.\${`) && uses(`'${cause}'`)
      expect(composed || thrown.includes(reason), 'nothing in src throws or names it').toBe(true)
    },
  )
})

describe('threat: Trojan Source, a reviewer reads other code than the one that runs', () => {
  // CVE-2021-42574 (bidirectional controls), and hidden text in files that models read.
  it('finds no invisible or bidirectional character in any file', () => {
    const texts = files.filter((path) => !path.endsWith('.png'))
    const found = texts.flatMap((path) =>
      textOf(path)
        .split('\n')
        .flatMap((line, index) => (INVISIBLE.test(line) ? [`${path}:${index + 1}`] : [])),
    )
    expect(found).toEqual([])
  })

  it.each([
    ['right-to-left override', '\u202e'],
    ['left-to-right isolate', '\u2066'],
    ['zero-width space', '\u200b'],
    ['soft hyphen', '\u00ad'],
    ['byte order mark', '\ufeff'],
    ['tag character', '\u{e0041}'],
    ['variation selector', '\ufe0f'],
    ['Hangul filler', '\u3164'],
    ['line separator', '\u2028'],
    ['escape', '\u001b'],
    ['carriage return', '\r'],
  ])('would see a %s', (_name, character) => {
    expect(INVISIBLE.test(`let x = 1 ${character}// note`)).toBe(true)
  })

  it('lets ordinary text through', () => {
    expect(INVISIBLE.test('RFC 9110 §11.2, “é”, 1 µs, 日本語')).toBe(false)
  })
})

describe('contract: the rules see what they forbid', () => {
  it.each([
    ['a cast', 'src/x.ts', 'export const x = JSON.parse("1") as number'],
    ['a cast in angle brackets', 'src/x.ts', 'export const x = <number>JSON.parse("1")'],
    ['a double cast', 'src/x.ts', 'export const x = (1 as const) as unknown'],
    ['any', 'src/x.ts', 'export const x = (y: any): void => y'],
    ['a non-null assertion', 'src/x.ts', 'export const x = [1][0]!'],
    ['an enum', 'src/x.ts', 'export enum X { A }'],
    ['a namespace', 'src/x.ts', 'export namespace X { export const a = 1 }'],
    ['a decorator', 'src/x.ts', 'const d = (): void => {}\n@d\nexport class X {}'],
    ['251 lines', 'src/x.ts', 'export const x = 1\n'.repeat(251)],
    ['a Cyrillic letter in a name', 'src/x.ts', 'export const \u0430llowed = true'],
    ['process.env', 'src/x.ts', 'export const x = process.env.HOME'],
    ['process.env behind globalThis', 'src/x.ts', 'export const x = globalThis.process.env'],
    ['process["env"]', 'src/x.ts', 'export const x = process["env"]'],
    ['env taken out of process', 'src/x.ts', 'const { env } = process\nexport const x = env'],
    ['env imported', 'src/x.ts', "export { env } from 'node:process'"],
    ['the SDK outside src/mcp', 'src/controls/x.ts', "import '@modelcontextprotocol/server'"],
    [
      'a type of the SDK in a tool',
      'src/app.ts',
      "import type { A } from '@modelcontextprotocol/x'",
    ],
    ['fetch', 'src/tools/x.ts', "export const x = fetch('https://example.com')"],
    ['fetch behind globalThis', 'src/x.ts', 'export const x = globalThis.fetch'],
    ['a WebSocket', 'src/x.ts', "export const x = new WebSocket('wss://example.com')"],
    ['request of node:https', 'src/x.ts', "import { request } from 'node:https'"],
    ['the whole of node:net', 'src/x.ts', "import net from 'node:net'"],
    ['node:tls at run time', 'src/x.ts', "export const x = import('node:tls')"],
    ['a computed import', 'src/x.ts', 'export const x = (y: string): unknown => import(y)'],
    ['hono/jwt', 'src/x.ts', "import { verify } from 'hono/jwt'"],
    ['a shell', 'src/x.ts', "import { exec } from 'node:child_process'"],
    ['a fetching key set', 'src/x.ts', "import { createRemoteJWKSet as f } from 'jose'"],
    ['eval', 'src/x.ts', "export const x = eval('1')"],
    ['new Function', 'src/x.ts', "export const x = new Function('return 1')"],
    ['a mounted app', 'src/x.ts', 'export const x = (y: Y): void => y.mount("/", 1)'],
    ['a control in a control', 'src/controls/x.ts', "import { y } from './y.ts'"],
    ['app.ts in a control', 'src/controls/x.ts', "import { createApp } from '../app.ts'"],
    ['a control in a tool', 'src/tools/x.ts', "import { y } from '../controls/y.ts'"],
    ['an entry point', 'src/app.ts', "import './main.ts'"],
    ['a part of a command', 'src/app.ts', "import './cli/keys/arguments.ts'"],
    ['a command in its part', 'src/cli/keys/x.ts', "import '../keys.ts'"],
  ])('refuses %s', (_name, path, text) => {
    const [source] = sourcesOf({ [path]: text })
    expect(source?.text).toBe(text)
    const found = source === undefined ? [] : RULES.flatMap((rule) => rule.check(source))
    expect(found.length).toBeGreaterThan(0)
  })

  it.each([
    ['as const', 'src/x.ts', 'export const x = { a: 1 } as const'],
    ['satisfies', 'src/x.ts', 'export const x = 1 satisfies number'],
    ['a renamed import', 'src/x.ts', "export { a as b } from './y.ts'"],
    ['the words in text', 'src/x.ts', "/** any cast as process.env */ export const x = 'any as b'"],
    ['250 lines', 'src/x.ts', 'export const x = 1\n'.repeat(250)],
    ['the environment in its place', 'src/config.ts', 'export const x = process.env'],
    ['the exit code', 'src/main.ts', 'process.exitCode = 1'],
    ['the bindings of Hono', 'src/x.ts', 'export const x = (c: C): unknown => c.env.incoming'],
    ['the SDK in its place', 'src/mcp/x.ts', "import '@modelcontextprotocol/server'"],
    ['fetch in its place', 'src/outbound.ts', "export const x = fetch('https://example.com')"],
    ['a method called fetch', 'src/x.ts', 'export const x = (y: Y): unknown => y.fetch(1)'],
    ['a server', 'src/listen.ts', "import { createServer } from 'node:http'"],
    ['a type of node:http', 'src/x.ts', "import type { IncomingMessage } from 'node:http'"],
    ['a type of a control', 'src/controls/x.ts', "import type { Y } from './y.ts'"],
    ['an inline type of a control', 'src/controls/x.ts', "import { type Y } from './y.ts'"],
    ['the way down', 'src/app.ts', "import { x } from './controls/x.ts'"],
    ['a part of a command in it', 'src/cli/keys.ts', "import './keys/arguments.ts'"],
    ['a tool in the list', 'src/tools/index.ts', "import { echo } from './echo.ts'"],
  ])('lets %s through', (_name, path, text) => {
    const [source] = sourcesOf({ [path]: text })
    expect(source?.text).toBe(text)
    expect(source === undefined ? [] : RULES.flatMap((rule) => rule.check(source))).toEqual([])
  })

  it('refuses a cycle, and lets a cycle of types through', () => {
    const tree = (b: string): Record<string, string> => ({
      'src/a.ts': "import { b } from './b.ts'\nexport const a = b",
      'src/b.ts': b,
    })
    const cycle = sourcesOf(tree("import { a } from './a.ts'\nexport const b = a"))
    expect(importCycles(cycle)).toEqual([expect.stringContaining('a.ts -> b.ts')])
    const types = sourcesOf(tree("import type { a } from './a.ts'\nexport const b = 1"))
    expect(importCycles(types)).toEqual([])
  })
})
