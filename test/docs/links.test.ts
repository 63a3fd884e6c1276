import { existsSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { describe, expect, it } from 'vitest'
import { ROOT, repositoryFiles, textOf } from '../source-tree.ts'

const pages = repositoryFiles().filter((path) => path.endsWith('.md'))
const LINK = /\]\(([^()\s]+)\)|\b(?:src|srcset|href)="([^"]+)"/g

/** Code shows links of other pages. */
const proseOf = (path: string): string =>
  textOf(path)
    .replace(/^ *```.*?^ *```$/gms, '')
    .replace(/`[^`\n]*`/g, (code) => code.replace(/[[\]()"]/g, ''))

/** Names by which a link finds its place in a page, as GitHub makes them from headings. */
function anchorsOf(path: string): ReadonlySet<string> {
  const seen = new Map<string, number>()
  const headings = [...proseOf(path).matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) => {
    const name = heading
      .replace(/\[([^\]]*)\]\([^)]*\)/g, '$1')
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\-_ ]/gu, '')
      .replaceAll(' ', '-')
    const count = seen.get(name) ?? 0
    seen.set(name, count + 1)
    return count === 0 ? name : `${name}-${count}`
  })
  const ids = [...textOf(path).matchAll(/<a id="([^"]+)">/g)].map(([, id = '']) => id)
  return new Set([...headings, ...ids])
}

/** @returns the links of a page that lead nowhere */
function brokenLinks(path: string, text = proseOf(path)): readonly string[] {
  return [...text.matchAll(LINK)]
    .map(([, inline, attribute]) => inline ?? attribute ?? '')
    .filter((link) => !/^[a-z]+:/.test(link))
    .filter((link) => {
      const [file = '', anchor] = link.split('#')
      const target = file === '' ? path : normalize(join(dirname(path), decodeURI(file)))
      if (!existsSync(join(ROOT, target))) return true
      return anchor !== undefined && target.endsWith('.md') && !anchorsOf(target).has(anchor)
    })
}

describe('contract: links of the documents lead to files, headings and pictures that exist', () => {
  it.each(pages)('%s', (page) => expect(brokenLinks(page)).toEqual([]))

  it.each([
    ['a file', '[a](src/none.ts)'],
    ['a heading', '[a](README.md#none)'],
    ['a heading of its own', '[a](#none)'],
    ['a picture', '<img alt="" src="docs/images/none.svg">'],
    ['a picture of the dark', '<source srcset="docs/images/none.svg">'],
  ])('%s that is not there is found', (_name, link) => {
    const there = '[a](README.md#try-it) [b](#deploy) <img src="docs/images/demo.svg">'
    expect(brokenLinks('README.md', `${there} ${link}`)).toHaveLength(1)
  })

  it('no page of docs is an orphan: README.md leads to each', () => {
    const docs = pages.filter((path) => /^docs\/[^/]+\.md$/.test(path))
    expect(docs.filter((path) => !textOf('README.md').includes(`](${path}`))).toEqual([])
  })
})
