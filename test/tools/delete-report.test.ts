import { describe, expect, it } from 'vitest'
import { type DocumentFacts, findReport, keepReport } from '../../src/resources/report.ts'
import { deleteReport } from '../../src/tools/delete-report.ts'
import { factsOf } from '../../src/tools/process-documents.ts'
import { fakeContext, fakeStore } from './context.ts'

const DOCUMENTS: readonly DocumentFacts[] = [{ name: 'a.md', ...factsOf('text') }]

describe('contract: delete_report', () => {
  it('says that it destroys', () => {
    expect(deleteReport.annotations).toMatchObject({ destructiveHint: true, readOnlyHint: false })
  })

  it('deletes a report once the caller has agreed', async () => {
    const store = fakeStore()
    const id = await keepReport(store, DOCUMENTS)
    const context = fakeContext({ store, agrees: true })
    expect(await deleteReport.run({ id }, context)).toEqual({ deleted: true })
    expect(context.questions).toEqual([`Delete report ${id}? This cannot be undone.`])
    expect(await findReport(store, id)).toBe(undefined)
  })
})

describe('threat: a model that was talked into it, reports are lost', () => {
  it('deletes nothing when the caller declines', async () => {
    const store = fakeStore()
    const id = await keepReport(store, DOCUMENTS)
    const context = fakeContext({ store, agrees: false })
    expect(await deleteReport.run({ id }, context)).toEqual({ deleted: false })
    expect(await findReport(store, id)).toBeDefined()
  })

  it('asks before any effect', async () => {
    const store = fakeStore()
    const id = await keepReport(store, DOCUMENTS)
    const context = {
      ...fakeContext({ store }),
      confirm: () => Promise.reject(new Error('first run ends here')),
    }
    await expect(deleteReport.run({ id }, context)).rejects.toThrow('first run ends here')
    expect(await findReport(store, id)).toBeDefined()
  })
})

describe('threat: guessing, a caller learns or deletes what belongs to others', () => {
  it('answers for a foreign report as for none, and asks nobody', async () => {
    const foreign = await keepReport(fakeStore(), DOCUMENTS)
    for (const id of [foreign, 'A'.repeat(22)]) {
      const context = fakeContext({ agrees: true })
      expect(await deleteReport.run({ id }, context)).toEqual({ deleted: false })
      expect(context.questions).toEqual([])
    }
  })

  it.each([
    ['nothing', ''],
    ['a shorter id', 'A'.repeat(21)],
    ['a longer id', 'A'.repeat(23)],
    ['a path', '../../../../etc/passwd'],
    ['another key of the store', 'report:AAAAAAAAAAAAAAA'],
    ['a line feed at the end', `${'A'.repeat(22)}\n`],
    ['no string', null],
  ])('refuses %s as an id', (_name, id) => {
    expect(deleteReport.input.safeParse({ id }).success).toBe(false)
  })
})
