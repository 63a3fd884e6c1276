import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { z } from 'zod'
import { defineTool } from '../define.ts'
import { type DocumentFacts, documentFacts, keepReport, reportId } from '../resources/report.ts'

/**
 * Rest after each document, ms. It keeps one large batch from starving other callers, and lets
 * every notification leave as its own write.
 */
const REST_MS = 100

/** Silent reading of English non-fiction (Brysbaert 2019, Journal of Memory and Language 109). */
const WORDS_PER_MINUTE = 238

const TOP_TERMS = 5

/** A run of letters and digits, apostrophes inside. Each character is looked at once: linear time. */
const WORD = /[\p{L}\p{M}\p{N}]+(?:['’][\p{L}\p{M}\p{N}]+)*/gu

/** What counts as a term: shorter words say little, longer ones are data rather than language. */
const TERM = /^[\p{L}\p{M}]{4,24}$/u

const STOP_WORDS: ReadonlySet<string> = new Set(
  (
    'about above after again also because been before being below between both cannot could does doing ' +
    'down during each even every from further have having here hers herself himself into itself just ' +
    'more most much must myself never once only other ours over same shall should some such than that ' +
    'their theirs them themselves then there these they this those through under until upon very were ' +
    'what when where which while whom whose will with within without would your yours yourself'
  ).split(' '),
)

export const processDocuments = defineTool({
  name: 'process_documents',
  title: 'Process documents',
  description:
    'Works through documents one by one: digest, size, words, lines, frequent terms, reading time. ' +
    'Reports progress and keeps the result as a report for an hour.',
  annotations: {
    readOnlyHint: false,
    destructiveHint: false,
    idempotentHint: false,
    openWorldHint: false,
  },
  input: z.strictObject({
    documents: z
      .array(
        z.strictObject({
          name: z.string().min(1).max(128).describe('Name of the document, such as its file name.'),
          text: z.string().max(1_048_576).describe('Text of the document.'),
        }),
      )
      .min(1)
      .max(200)
      .describe('Documents to process, in order.'),
  }),
  output: z.strictObject({
    reportId,
    documents: z.array(documentFacts).max(200).describe('One entry for each document, in order.'),
  }),
  longRunning: true,
  task: 'optional', // optional: tasks

  async run({ documents }, { signal, progress, log, store, resourceListChanged }) {
    const total = documents.length
    const results: DocumentFacts[] = []
    for (const [done, document] of documents.entries()) {
      signal.throwIfAborted()
      const name = printable(document.name)
      const message = `Processing document ${done + 1}/${total}: ${name}`
      progress(done, total, message)
      log('info', message)
      results.push({ name, ...factsOf(document.text) })
      await sleep(REST_MS, undefined, { signal })
    }
    const id = await keepReport(store, results)
    resourceListChanged()
    progress(total, total, 'Processing complete!')
    log('info', 'Processing complete!')
    return { reportId: id, documents: results }
  },
})

/** Everything that is known of a text. Pure; linear in its length. */
export function factsOf(text: string): Omit<DocumentFacts, 'name'> {
  const counts = new Map<string, number>()
  let words = 0
  for (const [word] of text.toLowerCase().matchAll(WORD)) {
    words++
    if (TERM.test(word) && !STOP_WORDS.has(word)) counts.set(word, (counts.get(word) ?? 0) + 1)
  }
  return {
    sha256: createHash('sha256').update(text, 'utf8').digest('hex'),
    bytes: Buffer.byteLength(text, 'utf8'),
    words,
    lines: linesOf(text),
    topTerms: mostFrequent(counts),
    readingSeconds: Math.ceil((words * 60) / WORDS_PER_MINUTE),
  }
}

/** Lines end with a line feed; a last one may lack it (POSIX 3.185 and 3.204). */
function linesOf(text: string): number {
  let lines = 0
  for (let end = text.indexOf('\n'); end !== -1; end = text.indexOf('\n', end + 1)) lines++
  return text === '' || text.endsWith('\n') ? lines : lines + 1
}

type Term = DocumentFacts['topTerms'][number]

/** Ties go to the term whose code units come first, so that equal texts give equal answers. */
function compareTerms(left: Term, right: Term): number {
  return right.count - left.count || (left.term < right.term ? -1 : 1)
}

/** One pass that never holds more than one term too many: a text can have 200,000 different ones. */
function mostFrequent(counts: ReadonlyMap<string, number>): Term[] {
  const top: Term[] = []
  for (const [term, count] of counts) {
    const candidate = { term, count }
    const last = top[TOP_TERMS - 1]
    if (last !== undefined && compareTerms(last, candidate) < 0) continue
    top.push(candidate)
    top.sort(compareTerms)
    top.length = Math.min(top.length, TOP_TERMS)
  }
  return top
}

/**
 * A name that is safe to show in a terminal, a log or a prompt: without control characters, line
 * separators, and the formatting characters that reorder or hide text (CVE-2021-42574).
 */
function printable(name: string): string {
  return name.replace(/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu, '').trim() || 'unnamed'
}
