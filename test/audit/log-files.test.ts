import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { inOrder, linesOf, sizeOf } from '../../src/audit/log-files.ts'
import { logOf } from './log.ts'
import { temporaryFolder } from './pipe.ts'

async function textsOf(file: string, onBytes?: (bytes: number) => void): Promise<string[]> {
  const texts: string[] = []
  for await (const lines of linesOf(file, onBytes)) {
    for (const line of lines) texts.push(line.toString())
  }
  return texts
}

/** Files in a folder, by name. */
function filesIn(folder: string, contents: Readonly<Record<string, Buffer | string>>): string[] {
  return Object.entries(contents).map(([name, content]) => {
    writeFileSync(join(folder, name), content)
    return join(folder, name)
  })
}

describe('contract: lines of files', () => {
  const text = Array.from({ length: 3000 }, (_, index) => `${index} ${'x'.repeat(1000)}\n`)

  it('come whole, with their line feed, from plain and compressed files', async () => {
    using folder = temporaryFolder()
    const content = `\n${text.join('')}last`
    const files = filesIn(folder.path, { plain: content, 'packed.gz': gzipSync(content) })
    for (const file of files) {
      let bytes = 0
      const lines = await textsOf(file, (more) => {
        bytes += more
      })
      expect(lines).toEqual(['\n', ...text, 'last'])
      expect(bytes).toBe(sizeOf([file]))
    }
    expect(await textsOf(filesIn(folder.path, { empty: '' })[0] ?? '')).toEqual([])
  })

  it('that never end come in parts', async () => {
    using folder = temporaryFolder()
    const [file = ''] = filesIn(folder.path, { long: 'x'.repeat(5_000_000) })
    const lines = await textsOf(file)
    expect(lines.length).toBeGreaterThan(1)
    expect(lines.join('')).toHaveLength(5_000_000)
  })

  it('are refused from what cannot be read or decompressed', async () => {
    using folder = temporaryFolder()
    const packed = gzipSync(text.join(''))
    const [cut = '', other = ''] = filesIn(folder.path, {
      'cut.gz': packed.subarray(0, packed.length - 9),
      'other.gz': 'no gzip',
    })
    for (const file of [cut, other, folder.path, join(folder.path, 'missing')]) {
      await expect(textsOf(file)).rejects.toMatchObject({ name: 'UnreadableFile', file })
    }
  })

  it('have no size where a name is no file', () => {
    expect(sizeOf(['-'])).toBe(undefined)
    expect(sizeOf(['/dev/null'])).toBe(undefined)
  })
})

describe('contract: files of a rotated set are put in order', () => {
  const first = logOf({ records: 30, writer: '0'.repeat(16) })
  const second = logOf({ records: 30, writer: '1'.repeat(16) })
  const timed = (lines: readonly Buffer[], time: number): Buffer =>
    Buffer.from(lines.join('').replaceAll('"time":1790000000000', `"time":${time}`))

  it('by the numbers of their writers, whatever their names and clocks', async () => {
    using folder = temporaryFolder()
    const files = filesIn(folder.path, {
      a: timed(first.slice(20), 1),
      b: gzipSync(timed(first.slice(0, 10), 3)),
      c: timed(first.slice(10, 20), 2),
    })
    const [a, c] = [files[0], files[2]]
    const [b = ''] = filesIn(folder.path, { 'b.gz': gzipSync(timed(first.slice(0, 10), 3)) })
    expect(await inOrder([a ?? '', b, c ?? ''])).toEqual([b, c, a])
    expect(await inOrder(['-', c ?? '', b])).toEqual([b, c, '-'])
  })

  it('by time where they share no writer', async () => {
    using folder = temporaryFolder()
    const [a = '', b = '', c = '', d = ''] = filesIn(folder.path, {
      a: timed(second, 2000),
      b: timed(first.slice(0, 10), 1000),
      c: '',
      d: timed([...first.slice(10), ...second], 1500),
    })
    expect(await inOrder([a, b])).toEqual([b, a])
    expect((await inOrder([c, a, b])).slice(0, 2)).toEqual([b, a])
    expect(await inOrder([d, b])).toEqual([b, d])
  })
})
