import { randomBytes } from 'node:crypto'
import { z } from 'zod'
import { defineResource, type OwnerStore, type ReadContext } from '../define.ts'

const TTL_SECONDS = 3600
/** Reports share the owner's keys with whatever other tools keep. */
const KEY_PREFIX = 'report:'

/** 128 random bits: knowing one id says nothing about another. The store checks the owner anyway. */
export const reportId = z
  .string()
  .length(22)
  .regex(/^[A-Za-z0-9_-]{22}$/)
  .describe('Id of a report, as process_documents returned it.')

/** What is known of one document. The bounds keep 200 of them below what the store takes. */
export const documentFacts = z.strictObject({
  name: z.string().max(128).describe('Name as sent, without control and formatting characters.'),
  sha256: z
    .string()
    .length(64)
    .regex(/^[0-9a-f]{64}$/)
    .describe('SHA-256 of the text in UTF-8, hex.'),
  bytes: z.int().min(0).describe('Length of the text in UTF-8, bytes.'),
  words: z.int().min(0).describe('Number of words.'),
  lines: z.int().min(0).describe('Number of lines.'),
  topTerms: z
    .array(z.strictObject({ term: z.string().max(48), count: z.int().min(1) }))
    .max(5)
    .describe('The most frequent terms, most frequent first.'),
  readingSeconds: z.int().min(0).describe('Time to read the text at 238 words a minute, seconds.'),
})

const reportSchema = z.strictObject({
  id: reportId,
  createdAt: z.iso.datetime().describe('When the report was made, UTC.'),
  documents: z.array(documentFacts).max(200),
})

export type DocumentFacts = z.infer<typeof documentFacts>
type Report = z.infer<typeof reportSchema>

/** Keeps a report for an hour and returns its id. */
export async function keepReport(
  store: OwnerStore,
  documents: readonly DocumentFacts[],
): Promise<string> {
  const id = randomBytes(16).toString('base64url')
  const report: Report = {
    id,
    createdAt: new Date().toISOString(),
    documents: [...documents],
  }
  await store.put(KEY_PREFIX + id, report, { ttlSeconds: TTL_SECONDS })
  return id
}

/** @returns `undefined` for an id that is unknown, expired or somebody else's: all three look alike. */
export async function findReport(store: OwnerStore, id: string): Promise<Report | undefined> {
  return reportSchema.safeParse(await store.get(KEY_PREFIX + id)).data
}

/** @returns whether there was one. */
export function removeReport(store: OwnerStore, id: string): Promise<boolean> {
  return store.delete(KEY_PREFIX + id)
}

/** Where a report is read. */
export function reportUri(id: string): string {
  return `report://${id}`
}

async function reportIds(store: OwnerStore): Promise<string[]> {
  const keys = await store.list()
  return keys.filter((key) => key.startsWith(KEY_PREFIX)).map((key) => key.slice(KEY_PREFIX.length))
}

/** Ids of the caller's own reports, the newest first. */
export async function completeReportId(
  _argument: string,
  value: string,
  { store }: Pick<ReadContext, 'store'>,
): Promise<string[]> {
  const ids = await reportIds(store)
  return ids.reverse().filter((id) => id.startsWith(value))
}

export const report = defineResource({
  uriTemplate: 'report://{id}',
  name: 'report',
  title: 'Report',
  description: 'What process_documents found out. Readable by the caller who made it, for an hour.',
  mimeType: 'application/json',
  params: z.strictObject({ id: reportId }),

  async read({ id }, { store }) {
    const found = await findReport(store, id)
    return found === undefined ? undefined : JSON.stringify(found, null, 2)
  },

  async list({ store }) {
    const ids = await reportIds(store)
    return ids.map((id) => ({ uri: reportUri(id), title: `Report ${id}` }))
  },

  complete: completeReportId,
})
