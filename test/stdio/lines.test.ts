import { describe, expect, it } from 'vitest'
import { boundedLines } from '../../src/stdio/lines.ts'

async function linesOf(chunks: readonly string[], maxBytes = 8): Promise<(string | undefined)[]> {
  async function* input(): AsyncGenerator<Buffer> {
    for (const chunk of chunks) yield Buffer.from(chunk)
  }
  const lines: (string | undefined)[] = []
  for await (const line of boundedLines(input(), maxBytes)) lines.push(line?.toString())
  return lines
}

describe('threat: an endless line, memory is used up by one message', () => {
  it.each([
    ['one byte too many', ['123456789\n'], [undefined]],
    ['one byte too many, in pieces', ['1234', '56789', '\n'], [undefined]],
    ['as much as there may be', ['12345678\n'], ['12345678']],
    ['as much as there may be, in pieces', ['1234', '5678', '\n'], ['12345678']],
    ['more bytes than characters', ['\u00e9\u00e9\u00e9\u00e9\u00e9\n'], [undefined]],
    ['a good line after it', ['1234567890', '1234567890\nok\n'], [undefined, 'ok']],
    ['two of them', ['123456789\n123456789\n'], [undefined, undefined]],
  ])('%s', async (_name, chunks, lines) => {
    expect(await linesOf(chunks)).toEqual(lines)
  })

  it('keeps nothing of it', async () => {
    const heldBytes = (): number => process.memoryUsage().arrayBuffers
    const before = heldBytes()
    let most = 0
    async function* endless(): AsyncGenerator<Buffer> {
      for (let count = 0; count < 6400; count++) {
        yield Buffer.alloc(65_536, 'x')
        most = Math.max(most, heldBytes() - before)
      }
      yield Buffer.from('\n')
    }
    const lines: unknown[] = []
    for await (const line of boundedLines(endless(), 1_048_576)) lines.push(line)
    expect(lines).toEqual([undefined])
    // Of 400 MiB; what nobody holds is collected now and then.
    expect(most).toBeLessThan(200 * 1024 * 1024)
  })
})

describe('contract: one message a line', () => {
  it.each([
    ['several in one piece', ['a\nb\nc\n'], ['a', 'b', 'c']],
    ['pieces within a character', ['\u00e9\n'], ['\u00e9']],
    ['an empty line', ['\na\n'], ['', 'a']],
    ['what follows the last line break', ['a\nb'], ['a']],
    ['nothing', [], []],
  ])('takes %s', async (_name, chunks, lines) => {
    expect(await linesOf(chunks)).toEqual(lines)
  })
})
