import { subscribe } from 'node:diagnostics_channel'
import { ClientRequest } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { z } from 'zod'
import { recordProblems } from './audit/record-check.ts'

/**
 * What no audit record and no log line may hold. The helpers that start a server look through all that
 * it has written when it ends, whatever the test is about, for
 *
 * - words that begin with `canary-`: tests put them where secrets go (arguments, results, queries,
 *   headers, messages of errors), and helpers into each request;
 * - what looks like an API key, a token, a credential, a query, a stack or a path of this machine;
 * - what was sent in a header for credentials by `fetch`, `node:http` and `raw-http.ts`, and the
 *   secrets among the settings.
 *
 * `canaries-hooks.ts` fails the test in which a server with a leak has ended.
 */
const FORBIDDEN: readonly (readonly [what: string, looks: RegExp])[] = [
  ['a canary', /canary-[\w-]+/],
  ['an API key', /mcpk_[0-9A-Za-z]+_[\w-]{20,}/],
  ['a token', /eyJ[\w-]{8,}/],
  ['a credential', /\b(?:Bearer|Basic|DPoP) [\w.~+/=-]{8,}/i],
  ['a private key', /-----BEGIN/],
  ['a query', /"path":"[^"]*\?/],
  ['a stack', /\bat [^"]{0,200}(?:file:\/\/|node:|:\d+:\d+\b)/],
  ...[join(import.meta.dirname, '..'), join(tmpdir(), 'gatehouse')].map(
    (path) => ['a path of this machine', new RegExp(`${RegExp.escape(path)}\\b`)] as const,
  ),
]

/** A value in every request of the helpers that no record may hold. */
export const CANARY_HEADERS = {
  cookie: 'session=canary-cookie',
  'user-agent': 'canary-user-agent',
  referer: 'https://canary-referer.example/?canary-query=1',
  'x-canary': 'canary-header',
} as const

/** A shorter one is a word that records may hold for other reasons. */
const SECRET_LENGTH = 16

const secrets = new Set<string>()
const leaks: string[] = []

/** Remembers secrets that a server is given. */
function noteSecrets(given: readonly string[]): void {
  for (const secret of given) if (secret.length >= SECRET_LENGTH) secrets.add(secret)
}

const CREDENTIAL_HEADER = /^(?:authorization|proxy-authorization|dpop|x-api-key)$/i

function noteHeader(name: string, value: string): void {
  if (!CREDENTIAL_HEADER.test(name)) return
  // What is found by its looks need not be remembered. Edited bytes may put a public path in its place.
  const isSecret = (part: string): boolean =>
    !part.startsWith('/.well-known/') && !FORBIDDEN.some(([, looks]) => looks.test(part))
  noteSecrets(value.split(/\s+/).filter(isSecret))
}

/** Remembers the credentials in the bytes of requests. */
export function noteRequests(bytes: string | Uint8Array): void {
  const text = typeof bytes === 'string' ? bytes : Buffer.from(bytes).toString('latin1')
  for (const [, name = '', value = ''] of text.matchAll(/^([\w-]+):[ \t]*([^\r\n]*)/gm)) {
    noteHeader(name, value)
  }
}

/** Remembers the secrets among settings, in the forms in which they could come out. */
export function noteSettings(env: Readonly<Record<string, string>>): void {
  for (const root of env['MCP_SECRET']?.split(' ') ?? []) {
    const bytes = Buffer.from(root, 'base64')
    noteSecrets([root, bytes.toString('hex'), bytes.toString('base64url')])
  }
}

const request = z.object({ request: z.unknown() })
const fetched = z.object({ headers: z.array(z.string()) })
subscribe('undici:request:create', (message) => {
  const { headers } = fetched.parse(request.parse(message).request)
  for (let index = 0; index < headers.length; index += 2) {
    noteHeader(headers[index] ?? '', headers[index + 1] ?? '')
  }
})
subscribe('http.client.request.start', (message) => {
  const sent = request.parse(message).request
  if (!(sent instanceof ClientRequest)) return
  for (const [name, value] of Object.entries(sent.getHeaders())) noteHeader(name, String(value))
})

/** Looks through what a server has written: audit records, which follow their schema, or its log. */
export function inspect(text: string): void {
  leaks.push(...leaksIn(text), ...recordProblems(text))
}

/**
 * Looks through the log of a server in development, which prints its key once, for the developer, and
 * shows the messages of errors.
 */
export function inspectDevelopmentLog(log: string): void {
  const told = log.replace(/ --key mcpk_\S+/, '').replaceAll(/"message":"(?:[^"\\]|\\.)*"/g, '')
  inspect(told)
}

/** What a server has written is gone, and nobody has looked through it. */
export function miss(what: string): void {
  leaks.push(`${what} was not looked through`)
}

/** @returns the leaks since the last time */
export function takeLeaks(): readonly string[] {
  return leaks.splice(0)
}

/** @returns what this text holds that it must not, each with the text around it */
export function leaksIn(text: string): readonly string[] {
  const looks = FORBIDDEN.map(([what, pattern]) => [what, text.search(pattern)] as const)
  const known = [...secrets].map((secret) => ['a secret', text.indexOf(secret)] as const)
  return [...looks, ...known]
    .filter(([, index]) => index !== -1)
    .map(([what, index]) => `${what}, in: ${text.slice(Math.max(0, index - 80), index + 80)}`)
}
