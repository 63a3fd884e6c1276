import type { Section } from './requirements.ts'

/** The documents that requirements come from, by the words with which a source begins. */
const DOCUMENTS = [
  'OWASP ASVS 5.0',
  'OWASP MCP Top 10',
  'OWASP API Security Top 10 2023',
  'MCP security best practices',
  'MCP 2026-07-28',
] as const

/** One part of a document, and the requirements that come from it. */
export interface SourceRow {
  readonly document: string
  /** Section, control or heading within the document; empty for the whole of it. */
  readonly part: string
  readonly ids: readonly string[]
}

/** From each document back to the requirements. Sources of other kinds stand with their rows only. */
export function sourceRows(sections: readonly Section[]): readonly SourceRow[] {
  const cited = sections.flatMap(({ requirements }) =>
    requirements.flatMap(({ id, sources }) => sources.map((source) => ({ id, source }))),
  )
  return DOCUMENTS.flatMap((document) => {
    const own = cited.filter(({ source }) => source.startsWith(document))
    const parts = Map.groupBy(own, ({ source }) => source.slice(document.length).trim())
    return [...parts]
      .map(([part, entries]) => ({ document, part, ids: [...new Set(entries.map((e) => e.id))] }))
      .sort((a, b) => a.part.localeCompare(b.part, 'en', { numeric: true }))
  })
}
