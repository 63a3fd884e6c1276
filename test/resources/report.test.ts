import { describe, expect, it } from 'vitest'
import { keepReport, report } from '../../src/resources/report.ts'
import { factsOf } from '../../src/tools/process-documents.ts'
import { fakeContext, fakeStore } from '../tools/context.ts'

const DOCUMENTS = [{ name: 'a.md', ...factsOf('some text\n') }]

describe('contract: report://{id}', () => {
  it('reads a report as JSON', async () => {
    const store = fakeStore()
    const id = await keepReport(store, DOCUMENTS)
    const text = await report.read({ id }, fakeContext({ store }))
    expect(JSON.parse(String(text))).toEqual({
      id,
      createdAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
      documents: DOCUMENTS,
    })
    expect(report.mimeType).toBe('application/json')
  })

  it('lists the reports of the caller, and nothing else that is kept', async () => {
    const store = fakeStore()
    await store.put('draft:1', {}, { ttlSeconds: 60 })
    const first = await keepReport(store, DOCUMENTS)
    const second = await keepReport(store, DOCUMENTS)
    expect(await report.list(fakeContext({ store }))).toEqual([
      { uri: `report://${first}`, title: `Report ${first}` },
      { uri: `report://${second}`, title: `Report ${second}` },
    ])
  })

  it('takes the ids that it lists', async () => {
    const store = fakeStore()
    const id = await keepReport(store, DOCUMENTS)
    expect(report.params.safeParse({ id }).success).toBe(true)
  })
})

describe('threat: somebody else reads a report', () => {
  it('is not there for another owner', async () => {
    const id = await keepReport(fakeStore(), DOCUMENTS)
    expect(await report.read({ id }, fakeContext())).toBe(undefined)
    expect(await report.list(fakeContext())).toEqual([])
  })

  it.each([
    ['nothing', ''],
    ['a prefix', 'A'.repeat(21)],
    ['one character more', 'A'.repeat(23)],
    ['another name', 'constructor'],
    ['a path', '../../../../etc/passwd'],
  ])('refuses %s as an id', (_name, id) => {
    expect(report.params.safeParse({ id }).success).toBe(false)
  })

  it.each([
    ['another shape', { secret: 1 }],
    ['a field too many', { id: 'A'.repeat(22), createdAt: '', documents: [], secret: 1 }],
    ['null', null],
  ])('does not show a stored value of %s', async (_name, value) => {
    const store = fakeStore()
    const id = 'A'.repeat(22)
    await store.put(`report:${id}`, value, { ttlSeconds: 60 })
    expect(await report.read({ id }, fakeContext({ store }))).toBe(undefined)
  })
})
