import { describe, expect, it } from 'vitest'
import { largeResults } from '../../src/mcp/large-results.ts'
import type { Checked } from '../../src/mcp/tool-result.ts'

const LARGE = 65_537

/** Makes results of these lengths at the same time. @returns how many were made after each turn */
async function madeByTurn(lengths: readonly number[]): Promise<number[]> {
  const inTurn = largeResults()
  let made = 0
  const make = (length: number) => (): Checked<number> => {
    made += 1
    return { answer: length, text: 'x'.repeat(length) }
  }
  const all = Promise.all(lengths.map((length) => inTurn(make(length))))
  const counts: number[] = []
  while (counts.at(-1) !== lengths.length) {
    await new Promise((resolve) => setImmediate(resolve))
    counts.push(made)
  }
  const answers = (await all).map(({ answer }) => answer)
  expect(answers).toEqual(lengths)
  return counts
}

describe('threat: large results at the same time, the heap is too small for all their copies', () => {
  it('makes them one after the other, each when the one before has been handed over', async () => {
    const counts = await madeByTurn([LARGE, LARGE, LARGE])
    expect(new Set(counts)).toEqual(new Set([1, 2, 3]))
    expect(counts.filter((count) => count === 1).length).toBeGreaterThan(1)
  })

  it('lets small ones wait for a large one, and then go on together', async () => {
    const counts = await madeByTurn([10, LARGE, 10, 10])
    expect(new Set(counts)).toEqual(new Set([2, 4]))
  })

  it('does not hold up small ones', async () => {
    expect(await madeByTurn([10, LARGE - 1, LARGE - 1, 10])).toEqual([4])
  })

  it('goes on after one that cannot be made', async () => {
    const inTurn = largeResults()
    const broken = inTurn(() => {
      throw new TypeError('no JSON')
    })
    await expect(broken).rejects.toThrow(TypeError)
    expect((await inTurn(() => ({ answer: 1, text: '' }))).answer).toBe(1)
  })
})
