import { describe, expect, it } from 'vitest'
import { echo } from '../../src/tools/echo.ts'
import { fakeContext } from './context.ts'

describe('contract: echo', () => {
  it.each([
    ['words', 'hello'],
    ['nothing', ''],
    ['many scripts', 'héllo 世界 👋🏽'],
  ])('returns %s as they came', async (_name, text) => {
    expect(echo.input.safeParse({ text }).success).toBe(true)
    const output = await echo.run({ text }, fakeContext())
    expect(output).toEqual({ text })
    expect(echo.output.safeParse(output).success).toBe(true)
  })

  it.each([
    ['no text', {}],
    ['a number', { text: 1 }],
    ['a field too many', { text: '', extra: true }],
    ['a text one over the limit', { text: 'a'.repeat(65_537) }],
  ])('refuses %s', (_name, input) => {
    expect(echo.input.safeParse(input).success).toBe(false)
  })
})
