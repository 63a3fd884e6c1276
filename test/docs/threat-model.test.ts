import { existsSync, readdirSync } from 'node:fs'
import { basename, join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { environment } from '../../src/config.ts'
import { ROOT, textOf } from '../source-tree.ts'

const PAGE = textOf('docs/threat-model.md')
const STRIDE = sectionOf('STRIDE')
const words = [...PAGE.matchAll(/`([^`\n]+)`/g)].map(([, word = '']) => word)
const links = [...PAGE.matchAll(/\[([^\]]+)\]\(([^)#]+)\)/g)].map(([, text = '', target = '']) => ({
  text,
  path: join('docs', target),
}))

/** The rows of the STRIDE tables, heads and rulers aside. */
const rows = [...STRIDE.matchAll(/^\| ([STRIDE](?:, [STRIDE])*) \|(.+)\|$/gm)].map(
  ([, letters = '', cells = '']) => {
    const [threat = '', control = '', test = '', residual = ''] = cells
      .split('|')
      .map((cell) => cell.trim())
    return { letters: letters.split(', '), threat, control, test, residual }
  },
)

describe('contract: what docs/threat-model.md names exists', () => {
  it('every link leads to a file', () => {
    expect(links.length).toBeGreaterThan(100)
    expect(links.filter(({ path }) => !existsSync(join(ROOT, path)))).toEqual([])
  })

  it('every link to source or test says the name of its file', () => {
    const named = links.filter(({ path }) => /^(?:src|test)\//.test(path))
    const wrong = named.filter(({ text, path }) => {
      const name = basename(path).replace(/(?:\.test)?\.ts$/, '')
      return ![name, `\`${path}\``, 'confirmation'].includes(text)
    })
    expect(wrong).toEqual([])
  })

  it('every setting is one', () => {
    const named = words.filter((word) => /^[A-Z]+_[A-Z_]+$/.test(word))
    expect(named.length).toBeGreaterThan(5)
    expect(named.filter((name) => !Object.hasOwn(environment.shape, name))).toEqual([])
  })

  it('every policy key is in the schema of its file', () => {
    const named = words.filter((word) => word.includes('.yaml'))
    expect(named.length).toBeGreaterThan(10)
    expect(named.filter((word) => !isPolicyKey(word))).toEqual([])
  })

  it('knows a policy key from none', () => {
    expect(isPolicyKey('auth.yaml: issuers.senderConstraint')).toBe(true)
    expect(isPolicyKey('auth.yaml: issuers.constructor')).toBe(false)
    expect(isPolicyKey('limits.yaml: adress')).toBe(false)
    expect(isPolicyKey('limits.yaml')).toBe(false)
  })
})

describe('contract: docs/threat-model.md leaves no control and no boundary out', () => {
  it.each(readdirSync(join(ROOT, 'src/controls')))('%s has a row with its own test', (file) => {
    const name = basename(file, '.ts')
    const own = rows.filter(({ control }) => control.includes(`(../src/controls/${file})`))
    expect(own.map(({ test }) => test).join()).toContain(`(../test/controls/${name}.test.ts)`)
  })

  it('every row has a control, a test and a residual risk', () => {
    expect(rows.length).toBe(STRIDE.match(/^\| [A-Z]/gm)?.length)
    for (const row of rows) {
      expect(row.threat, row.threat).not.toBe('')
      expect(row.control, row.threat).not.toBe('')
      expect(row.test, row.threat).toContain('.test.ts)')
      expect(row.residual, row.threat).not.toBe('')
    }
  })

  it('all of STRIDE is there', () => {
    expect([...new Set(rows.flatMap(({ letters }) => letters))].sort()).toEqual([...'DEIRST'])
  })

  it('the picture, the table and the threats have the same boundaries', () => {
    const table = [...sectionOf('Trust boundaries').matchAll(/^\| (B\d+) /gm)].map(([, id]) => id)
    const picture = new Set([...sectionOf('Data flow').matchAll(/"(B\d+): /g)].map(([, id]) => id))
    expect([...picture].sort()).toEqual(table.toSorted())

    const threats = new Set(STRIDE.match(/(?<=^### |\| )B\d+(?=: )/gm))
    expect([...threats].sort()).toEqual(table.toSorted())
  })
})

/** @returns the text under a heading of the second level. */
function sectionOf(heading: string): string {
  const [, text = ''] = PAGE.split(`\n## ${heading}\n`)
  return text.split('\n## ')[0] ?? ''
}

/** @param word such as `limits.yaml: address.connections` */
function isPolicyKey(word: string): boolean {
  const [, name, path] = /^(\w+)\.yaml: ([\w.]+)$/.exec(word) ?? []
  const file = `policies/schemas/${name}.schema.json`
  if (path === undefined || !existsSync(join(ROOT, file))) return false
  let nodes: readonly unknown[] = [JSON.parse(textOf(file))]
  for (const key of path.split('.')) nodes = nodes.flatMap((node) => membersOf(node, key))
  return nodes.length > 0
}

const schemaNode = z.object({
  properties: z.record(z.string(), z.unknown()).default({}),
  items: z.unknown().optional(),
  anyOf: z.array(z.unknown()).default([]),
})

/** The schemas of a member, which in a list is that of its entries. */
function membersOf(node: unknown, key: string): readonly unknown[] {
  const { success, data } = schemaNode.safeParse(node)
  if (!success) return []
  const inner = [data.items, ...data.anyOf].flatMap((part) => membersOf(part, key))
  return Object.hasOwn(data.properties, key) ? [data.properties[key], ...inner] : inner
}
