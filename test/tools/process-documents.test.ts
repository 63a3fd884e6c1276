import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it, vi } from 'vitest'
import { z } from 'zod'
import { documentFacts, findReport, reportId } from '../../src/resources/report.ts'
import { factsOf, processDocuments } from '../../src/tools/process-documents.ts'
import { type FakeContext, fakeContext, fakeStore } from './context.ts'

vi.mock('node:timers/promises', { spy: true })

const DOCUMENTS = [
  { name: 'a.md', text: 'The server checks the token. The token names a server.\n' },
  { name: 'b.md', text: '' },
  { name: 'c.md', text: 'one\ntwo' },
]

const output = z.strictObject({ reportId, documents: z.array(documentFacts) })

async function run(
  documents: readonly object[],
  context: FakeContext = fakeContext(),
): Promise<z.output<typeof output>> {
  const result = await processDocuments.run({ documents }, context)
  expect(processDocuments.output.safeParse(result).success).toBe(true)
  return output.parse(result)
}

describe('contract: process_documents', () => {
  it('tells of each document before it is processed, and ends with the last word', async () => {
    const context = fakeContext()
    await run(DOCUMENTS, context)
    expect(context.notifications).toEqual([
      { kind: 'progress', done: 0, total: 3, message: 'Processing document 1/3: a.md' },
      { kind: 'log', level: 'info', message: 'Processing document 1/3: a.md' },
      { kind: 'progress', done: 1, total: 3, message: 'Processing document 2/3: b.md' },
      { kind: 'log', level: 'info', message: 'Processing document 2/3: b.md' },
      { kind: 'progress', done: 2, total: 3, message: 'Processing document 3/3: c.md' },
      { kind: 'log', level: 'info', message: 'Processing document 3/3: c.md' },
      { kind: 'progress', done: 3, total: 3, message: 'Processing complete!' },
      { kind: 'log', level: 'info', message: 'Processing complete!' },
    ])
  })

  it('keeps what it returns as a report of the caller, for an hour', async () => {
    const store = fakeStore()
    const { reportId: id, documents } = await run(DOCUMENTS, fakeContext({ store }))
    const report = await findReport(store, id)
    expect(report?.documents).toEqual(documents)
    expect(documents.map(({ name }) => name)).toEqual(['a.md', 'b.md', 'c.md'])
    expect(store.ttls).toEqual([3600])
  })

  it('gives each report an id of its own', async () => {
    const first = await run(DOCUMENTS.slice(0, 1))
    const second = await run(DOCUMENTS.slice(0, 1))
    expect(first.reportId).toMatch(/^[A-Za-z0-9_-]{22}$/)
    expect(second.reportId).not.toBe(first.reportId)
  })

  it('rests after each document, so that others get their turn', async () => {
    vi.mocked(sleep).mockClear()
    const context = fakeContext()
    await run(DOCUMENTS, context)
    expect(vi.mocked(sleep).mock.calls).toEqual([
      [100, undefined, { signal: context.signal }],
      [100, undefined, { signal: context.signal }],
      [100, undefined, { signal: context.signal }],
    ])
  })

  it.each([
    ['no documents', { documents: [] }],
    ['201 documents', { documents: Array(201).fill({ name: 'a', text: '' }) }],
    ['a document without a name', { documents: [{ name: '', text: '' }] }],
    ['a name one over the limit', { documents: [{ name: 'a'.repeat(129), text: '' }] }],
    ['a text one over the limit', { documents: [{ name: 'a', text: 'a'.repeat(1_048_577) }] }],
    ['a field too many', { documents: [{ name: 'a', text: '', path: '/etc/passwd' }] }],
    ['an option too many', { documents: [{ name: 'a', text: '' }], owner: 'bob' }],
  ])('refuses %s', (_name, input) => {
    expect(processDocuments.input.safeParse(input).success).toBe(false)
  })

  it.each([
    ['1 document', { documents: [{ name: 'a', text: '' }] }],
    ['200 documents', { documents: Array(200).fill({ name: 'a'.repeat(128), text: 'a' }) }],
  ])('takes %s', (_name, input) => {
    expect(processDocuments.input.safeParse(input).success).toBe(true)
  })
})

describe('contract: facts of a document', () => {
  it('digests and measures the UTF-8 bytes', () => {
    const { sha256, bytes } = factsOf('héllo 世界')
    expect(bytes).toBe(13)
    expect(sha256).toBe(createHash('sha256').update(Buffer.from('héllo 世界')).digest('hex'))
  })

  it.each([
    ['nothing', '', 0, 0],
    ['a line without its end', 'one two', 2, 1],
    ['a line', 'one two\n', 2, 1],
    ['two lines', 'one\r\ntwo', 2, 2],
    ['an empty last line', 'one\n\n', 1, 2],
    ['apostrophes', 'don\'t say "it\'s ’fine’"', 4, 1],
    ['marks only', '--- *** !!!', 0, 1],
    ['other scripts', 'Быстрая лиса हिन्दी', 3, 1],
  ])('counts words and lines of %s', (_name, text, words, lines) => {
    expect(factsOf(text)).toMatchObject({ words, lines })
  })

  it('finds the most frequent terms, ties in order of code units', () => {
    const text =
      'Token token TOKEN, audience audience; zebra apple with that from a the key keys keys'
    expect(factsOf(text).topTerms).toEqual([
      { term: 'token', count: 3 },
      { term: 'audience', count: 2 },
      { term: 'keys', count: 2 },
      { term: 'apple', count: 1 },
      { term: 'zebra', count: 1 },
    ])
  })

  it.each([
    ['three letters', 'abc abc', []],
    ['25 letters', 'a'.repeat(25), []],
    ['24 letters', 'a'.repeat(24), ['a'.repeat(24)]],
    ['digits', '2026 abc123', []],
    ['names of the prototype', 'constructor constructor toString', ['constructor', 'tostring']],
  ])('%s', (_name, text, terms) => {
    expect(factsOf(text).topTerms.map(({ term }) => term)).toEqual(terms)
  })

  it.each([
    [0, 0],
    [1, 1],
    [238, 60],
    [239, 61],
  ])('takes %i words for %i seconds of reading', (words, readingSeconds) => {
    expect(factsOf('word '.repeat(words)).readingSeconds).toBe(readingSeconds)
  })
})

describe('threat: exhaustion, one document occupies the process', () => {
  it.each([
    ['one long word', 'a'.repeat(1_048_576)],
    ['apostrophes only', "'".repeat(1_048_576)],
    ['a word of apostrophes', "a'".repeat(524_288)],
    ['line feeds only', '\n'.repeat(1_048_576)],
    ['astral letters', '𝒜'.repeat(262_144)],
    ['different words', Array.from({ length: 150_000 }, (_, index) => `w${index}`).join(' ')],
  ])('reads the largest text of %s in linear time', (_name, text) => {
    const startedMs = performance.now()
    factsOf(text)
    expect(performance.now() - startedMs).toBeLessThan(1500)
  })

  it('fits the largest possible report into the store', async () => {
    const store = fakeStore()
    const terms = Array.from({ length: 5 }, (_, index) => '𐐨'.repeat(23) + 'abcde'[index])
    const document = { name: '世'.repeat(128), text: terms.join(' ') }
    vi.mocked(sleep).mockResolvedValue(undefined)
    const { documents } = await run(Array(200).fill(document), fakeContext({ store }))
    vi.mocked(sleep).mockRestore()
    expect(documents[0]?.topTerms).toHaveLength(5)
    expect(store.ttls).toHaveLength(1)
  })
})

describe('threat: abandoned work, callers who have left keep the server busy', () => {
  it('stops at once when it is cancelled, and keeps nothing', async () => {
    const controller = new AbortController()
    const store = fakeStore()
    const context = fakeContext({
      store,
      signal: controller.signal,
      onProgress: (done) => {
        if (done === 1) controller.abort()
      },
    })
    await expect(run(DOCUMENTS, context)).rejects.toThrow()
    expect(context.notifications.filter(({ kind }) => kind === 'progress')).toHaveLength(2)
    expect(await store.list()).toEqual([])
  })

  it('does not begin for a caller who has gone', async () => {
    const context = fakeContext({ signal: AbortSignal.abort() })
    await expect(run(DOCUMENTS, context)).rejects.toThrow()
    expect(context.notifications).toEqual([])
  })
})

describe('threat: hostile names, which rewrite what a terminal or a log shows', () => {
  it.each([
    ['terminal escapes', 'a\u001b[2Jb', 'a[2Jb'],
    ['a forged line', 'a\r\nProcessing complete!', 'aProcessing complete!'],
    ['bidirectional overrides', 'a\u202egpj.exe', 'agpj.exe'],
    ['invisible tags', 'a\u{e0041}\u200bb', 'ab'],
    ['line separators', 'a\u2028b\u2029c', 'abc'],
    ['half a surrogate pair', 'a\ud800b', 'ab'],
    ['nothing that can be seen', '\u200b \u0000', 'unnamed'],
    ['nothing hostile', 'Résumé 世界.md', 'Résumé 世界.md'],
  ])('shows %s without them', async (_name, name, shown) => {
    const context = fakeContext()
    const { documents } = await run([{ name, text: 'text' }], context)
    expect(documents[0]?.name).toBe(shown)
    expect(context.notifications[0]).toMatchObject({
      message: `Processing document 1/1: ${shown}`,
    })
    expect(context.notifications[1]).toMatchObject({
      message: `Processing document 1/1: ${shown}`,
    })
  })
})
