import { readFileSync } from 'node:fs'
import { z } from 'zod'
import type { Identity } from './context.ts'
import { scanJson } from './json-scan.ts'
import { inWords, Problems } from './problems.ts'
import type { SharedState } from './stores/store.ts'

/** Who is shut out although their credential is good. */
export interface DenyList {
  denies(identity: Identity): boolean
}

const SETTING = 'MCP_DENY_LIST_FILE'
const MAX_ENTRIES = 100_000

const text = z.string().min(1).max(255)
const tokenEntry = z.union([text, z.strictObject({ issuer: text, jti: text })])
const subjectEntry = z.union([text, z.strictObject({ issuer: text, subject: text })])
const denyListFile = z.strictObject({
  jti: z.array(tokenEntry).max(MAX_ENTRIES).default([]),
  subjects: z.array(subjectEntry).max(MAX_ENTRIES).default([]),
})

/**
 * Threat:  A token was stolen, or a person has left, and the credential is good until it expires.
 * Rule:    whoever is on a list is refused on each request, and their open streams and calls end.
 *          The file is read whole or not at all: `{"jti": [], "subjects": []}`. An entry is a text,
 *          for every issuer, or an object that names the issuer as well. In the shared store it is
 *          a text, or issuer, space and text. API keys have the issuer `gatehouse`, and their id in
 *          place of a `jti`. In force within 30 s: file 5 s, store 10 s, open answers 10 s more.
 * Config:  `MCP_DENY_LIST_FILE`, `REDIS_URL`
 * Refuses: 401 `authenticate.rejected` (fault `denied`), through the authenticator
 * Source:  OWASP ASVS 5.0 7.4.1, 8.3.2; RFC 7009 §3
 *
 * @param file `undefined` denies nobody
 * @param shared what other processes know as well; `undefined` denies nobody
 * @throws {Problems} naming what is wrong by its place in the file, never by its value.
 */
export function denyList(
  file: string | undefined,
  shared?: Pick<SharedState, 'revoked'>,
): DenyList {
  const { jti, subjects } = file === undefined ? NOBODY : parse(read(file))
  const tokens = new Set(
    jti.map((e) => (typeof e === 'string' ? entry(e) : entry(e.jti, e.issuer))),
  )
  const people = new Set(
    subjects.map((e) => (typeof e === 'string' ? entry(e) : entry(e.subject, e.issuer))),
  )

  return {
    denies({ principal, credentialId }) {
      const { issuer, subject } = principal
      const revoked = shared?.revoked()
      if (people.has(entry(subject)) || people.has(entry(subject, issuer))) return true
      if (isIn(revoked?.subjects, subject, issuer)) return true
      if (credentialId === null) return false
      if (tokens.has(entry(credentialId)) || tokens.has(entry(credentialId, issuer))) return true
      return isIn(revoked?.jti, credentialId, issuer)
    },
  }
}

const NOBODY: z.output<typeof denyListFile> = { jti: [], subjects: [] }

/** No issuer has a space in its name, so an entry for one issuer cannot be that of another. */
function isIn(names: ReadonlySet<string> | undefined, name: string, issuer: string): boolean {
  return names !== undefined && (names.has(name) || names.has(`${issuer} ${name}`))
}

/** As JSON, so that no two entries collide. */
function entry(name: string, issuer: string | null = null): string {
  return JSON.stringify([name, issuer])
}

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    throw new Problems([{ field: SETTING, message: 'cannot be read' }])
  }
}

function parse(source: string): z.output<typeof denyListFile> {
  const fault = scanJson(source, 4)
  if (fault !== undefined) throw new Problems([{ field: SETTING, message: `is refused: ${fault}` }])
  const result = denyListFile.safeParse(parseJson(source), { error: inWords })
  if (result.success) return result.data
  throw new Problems(
    result.error.issues.map(({ path, message }) => ({
      field: [SETTING, path.join('.')].join(' ').trim(),
      message,
    })),
  )
}

/** @throws {Problems} with fixed text: what the parser says quotes the file. */
function parseJson(source: string): unknown {
  try {
    return JSON.parse(source)
  } catch {
    throw new Problems([{ field: SETTING, message: 'is not JSON' }])
  }
}
