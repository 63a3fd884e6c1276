import type { IncomingMessage } from 'node:http'

/**
 * Header values by lower-case name, in order of arrival, as the parser took them from the wire.
 * A Map, because `__proto__` is a legal header name (CVE-2026-21710), and all values, because Node's
 * own object keeps one of several.
 */
export type RawHeaders = ReadonlyMap<string, readonly string[]>

export function rawHeadersOf(incoming: Pick<IncomingMessage, 'rawHeaders'>): RawHeaders {
  const headers = new Map<string, string[]>()
  const raw = incoming.rawHeaders
  for (let index = 0; index + 1 < raw.length; index += 2) {
    const name = (raw[index] ?? '').toLowerCase()
    const value = raw[index + 1] ?? ''
    const values = headers.get(name)
    if (values === undefined) headers.set(name, [value])
    else values.push(value)
  }
  return headers
}

/** The only value of a header; `undefined` when absent. `wire-guard` has refused doubled singletons. */
export function single(headers: RawHeaders, name: string): string | undefined {
  return headers.get(name)?.[0]
}
