import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { EXIT } from '../examples/failures.ts'
import packageJson from '../package.json' with { type: 'json' }
import { environment } from '../src/config.ts'
import { ROOT, textOf } from './source-tree.ts'

const README = textOf('README.md')

describe('contract: what README.md names exists', () => {
  const named = (pattern: RegExp): readonly string[] => [
    ...new Set([...README.matchAll(pattern)].map(([, name = '']) => name)),
  ]

  it('every path leads to a file or folder', () => {
    const paths = named(/`((?:src|test|policies|docs|deploy|examples|bench|tools)\/[^`\s]*)`/g)
    expect(paths.length).toBeGreaterThan(0)
    expect(paths.filter((path) => !existsSync(join(ROOT, path)))).toEqual([])
  })

  it('every npm command is a script', () => {
    const scripts = named(/\bnpm (?:run (?:--silent )?)?([a-z:]+)/g).filter((name) => name !== 'ci')
    expect(scripts.sort()).toEqual(Object.keys(packageJson.scripts).sort())
  })

  it('every setting is one', () => {
    const settings = named(/\b(MCP_[A-Z_]+)\b/g).map((name) =>
      name.replace(/^MCP_SECRET_FILE$/, 'MCP_SECRET'),
    )
    expect(settings.filter((name) => !Object.hasOwn(environment.shape, name))).toEqual([])
  })

  it('every policy has its line', () => {
    const files = named(/^\| \[(policies\/\w+\.yaml)\]/gm)
    expect(files.toSorted()).toEqual(
      readdirSync(join(ROOT, 'policies'))
        .filter((f) => f.endsWith('.yaml'))
        .map((f) => `policies/${f}`),
    )
  })

  it('the exit codes of docs/clients.md are those of the client', () => {
    const [sentence = ''] = /It exits with [^.]*/.exec(textOf('docs/clients.md')) ?? []
    expect(sentence.match(/\d+/g)?.map(Number)).toEqual(Object.values(EXIT))
  })
})

describe('contract: what README.md says of others is what docs/comparison.md says', () => {
  const [section = ''] = /^## Beside others\n.*?^## /ms.exec(README) ?? []
  const [, asked = ''] = textOf('docs/comparison.md').split('## As asked\n')
  /** Name, then the answers to a foreign origin, to a foreign host, and to 6 MB. */
  const ours = /^\| ([^|]+) \| (\d{3}[^|]*) \| (\d{3}) \| (\d{3}) \| [^|]+ \| [^|]+ \|$/gm
  const theirs = /^\| ([^|]+) \| (\d{3}[^|]*) \| (\d{3}) \| \d{3} \| (\d{3}) \|$/gm
  const measured = [...asked.matchAll(theirs)].map((found) => found.slice(1))
  const rows = [...section.matchAll(ours)].map((found) => found.slice(1))

  it('as of the same day', () => {
    const [day = ''] = /\d{4}-\d\d-\d\d/.exec(section) ?? []
    expect(textOf('docs/comparison.md')).toContain(`as of ${day},`)
    expect(rows.map(([name]) => name)).toHaveLength(7)
  })

  it.each(rows)('%s', (name, ...answers) => {
    const same = measured.filter(([server]) => server?.startsWith(name ?? ''))
    expect(same).not.toEqual([])
    for (const [, ...found] of same) expect(found).toEqual(answers)
  })
})

describe('contract: the control table of README.md is the way of a request', () => {
  const rows = [...README.matchAll(/^\| `([a-z-]+)` \| .+ \| (.+) \| (.+) \| (.+) \|$/gm)].map(
    ([, name = '', file = '', policy = '', test = '']) => ({ name, file, policy, test }),
  )

  it('has a row for each control, in the order of src/app.ts', () => {
    const factories = [...textOf('src/app.ts').matchAll(/^ {2}app\.use\((\w+)\(/gm)]
    const names = factories.map(([, factory = '']) =>
      factory.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`),
    )
    expect(names.length).toBeGreaterThan(0)
    expect(rows.map(({ name }) => name)).toEqual(['listen', ...names])
  })

  it.each(rows)('$name links its own source and test', ({ name, file, test }) => {
    const folder = name === 'listen' ? '' : 'controls/'
    expect(file).toContain(`(src/${folder}${name}.ts)`)
    expect(test).toContain(`(test/${folder}${name}.test.ts)`)
  })

  it.each(rows)('$name names policies and settings that exist', ({ policy }) => {
    let source: unknown
    for (const [, file, name = ''] of policy.matchAll(/(\w+\.yaml)|`([^`]+)`/g)) {
      if (file !== undefined) source = parse(textOf(`policies/${file}`))
      const isSetting = Object.hasOwn(environment.shape, name)
      expect(isSetting || valueAt(source, name), `${file ?? name} of ${policy}`).toBeTruthy()
    }
  })
})

/** @returns the value at a path such as `headers.count`; the whole for an empty path. */
function valueAt(value: unknown, path: string): unknown {
  if (path === '') return value
  return path
    .split('.')
    .reduce<unknown>((inner, name) => new Map(Object.entries(inner ?? {})).get(name), value)
}
