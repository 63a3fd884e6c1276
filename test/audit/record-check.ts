import { z } from 'zod'
import { ocsfProblems } from './ocsf-check.ts'
import { RECORDS } from './record-schema.ts'

/** How each record begins or ends, and nothing else that the server writes. */
const RECORD = /^\{"metadata":|"mac":"[0-9a-f]{64}"\}\}\}$/

const SCHEMAS = new Map(Object.entries(RECORDS))
const record = z.looseObject({ metadata: z.looseObject({ event_code: z.string() }) })

/**
 * Checks every record in what a server has written, by its own schema and by OCSF. Half a line, as a
 * killed process leaves, is none.
 *
 * @returns what is wrong, by the path of the attribute and without its value
 */
export function recordProblems(text: string): readonly string[] {
  return text
    .split('\n')
    .filter((line) => RECORD.test(line))
    .flatMap((line) => problemsOf(parse(line)))
}

function problemsOf(value: unknown): readonly string[] {
  if (value === undefined) return []
  const { data, error } = record.safeParse(value)
  if (data === undefined) return issuesOf('a record', error)
  const code = data.metadata.event_code
  const schema = SCHEMAS.get(code)
  if (schema === undefined) return ['a record of an unknown event']
  return [
    ...issuesOf(code, schema.safeParse(value).error),
    ...ocsfProblems(data).map((problem) => `${code} ${problem}, says OCSF`),
  ]
}

function issuesOf(what: string, error: z.ZodError | undefined): readonly string[] {
  return (error?.issues ?? []).map((issue) => {
    const names = issue.code === 'unrecognized_keys' ? ` ${issue.keys.join(' ')}` : ''
    return `${what} ${issue.path.join('.')}: ${issue.code}${names}`
  })
}

function parse(line: string): unknown {
  try {
    return JSON.parse(line)
  } catch {
    return undefined
  }
}
