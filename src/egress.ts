import type { AuditTrail } from './audit/trail.ts'
import type { Operation } from './context.ts'
import type { Destination, EgressRules } from './egress-rules.ts'
import {
  EgressError,
  type EgressFault,
  type Fetch,
  type Fetched,
  type FetchOptions,
} from './fetch.ts'
import { type Outbound, type OutboundAnswer, OutboundError } from './outbound.ts'
import { EGRESS_METHODS, isForTools } from './policy-egress.ts'

/** Makes `ctx.fetch` of one call, which ends with its signal. */
export type FetchOf = (rules: EgressRules, facts: Operation['facts'], signal: AbortSignal) => Fetch

/** Requests of one call, and redirects in a row. */
const MAX_REQUESTS = 100
const MAX_REDIRECTS = 3
const MAX_HEADERS = 32
const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308])
const BODILESS: ReadonlySet<string> = new Set(['GET', 'HEAD'])

/** What a decoded segment of a path must not hold: separators, a second escape, controls, dots alone. */
const DECEPTIVE_SEGMENT = /[/\\%\p{Cc}]|^\.{1,2}(?:;|$)/u
const HEADER_VALUE = /^[\t\x20-\x7e]{0,4096}$/

/**
 * Threat:  A tool is talked into sending a request where it should not: to a service of the host's
 *          network, to metadata of the cloud, to a collector of stolen data; or passes the caller's
 *          token on.
 * Rule:    each destination of each tool is listed: origin, methods, paths. What is checked is what is
 *          sent. Redirects of GET and HEAD are followed to listed destinations alone, three in a row.
 *          Tools choose no header of the connection and no credential; the server's own is added from a
 *          file. Addresses, size and time are bounded by `outbound`. Every request leaves a record,
 *          refused ones too, that names the listed origin and nothing that the tool chose.
 * Policy:  policies/egress.yaml
 * Refuses: `EgressError`, to the tool
 * Source:  OWASP ASVS 5.0 13.2.4, 13.2.5; OWASP Top 10 A10:2021; MCP Security Best Practices, Token
 *          Passthrough; CVE-2026-26118
 */
export function toolFetch(parts: {
  readonly outbound: Pick<Outbound, 'exchange'>
  readonly trail: Pick<AuditTrail, 'write'>
}): FetchOf {
  return function fetchOf(rules, facts, signal) {
    const destinations = rules.get(facts.name) ?? []
    let requests = 0

    /** Sends one, and leaves its record. A call that goes on past its last one leaves no more records. */
    async function request(check: () => [URL, Sent]): Promise<[OutboundAnswer, URL, Sent]> {
      const startedAt = performance.now()
      requests += 1
      if (requests > MAX_REQUESTS + 1) throw new EgressError('too-many')
      let outcome: 'ok' | EgressFault = 'ok'
      let sent: Sent | undefined
      let destination: Destination | undefined
      let answer: OutboundAnswer | undefined
      try {
        if (requests > MAX_REQUESTS) throw new EgressError('too-many')
        const [url, checked] = check()
        sent = checked
        destination = destinations.find((one) => isAllowed(one, url, checked.method))
        if (destination === undefined) throw new EgressError('not-allowed')
        answer = await exchange(destination, url, sent)
        return [answer, url, sent]
      } catch (cause) {
        const error = egressError(cause)
        outcome = error.fault
        throw error
      } finally {
        parts.trail.write({
          ...facts,
          event: 'egress',
          outcome,
          origin: destination?.origin,
          httpMethod: sent?.method,
          status: answer?.status,
          sentBytes: sent?.body?.byteLength ?? 0,
          receivedBytes: answer?.body.byteLength ?? 0,
          durationMs: performance.now() - startedAt,
        })
      }
    }

    async function exchange(to: Destination, url: URL, sent: Sent): Promise<OutboundAnswer> {
      const { method, body } = sent
      if ((body?.byteLength ?? 0) > to.requestBytes) throw new EgressError('too-large-request')
      const headers = { ...sent.headers, ...to.credential }
      return parts.outbound.exchange(
        url,
        { method, headers, body, signal },
        {
          timeoutMs: to.timeoutMs,
          maxBytes: to.responseBytes,
          allowLoopback: true, // In development, where the origin says so.
          allowPrivate: to.private,
        },
      )
    }

    return async function fetch(input, options = {}) {
      let check = (): [URL, Sent] => [urlOf(input), sentOf(options)]
      for (let redirects = 0; ; redirects += 1) {
        const [answer, url, sent] = await request(check)
        const { location } = answer.headers
        if (!REDIRECTS.has(answer.status) || location === undefined) return fetched(answer)
        if (!BODILESS.has(sent.method) || redirects === MAX_REDIRECTS) {
          throw new EgressError('redirect')
        }
        check = () => {
          const next = urlOf(URL.parse(location, url.href) ?? '')
          // What was meant for one host does not travel to another.
          return [next, next.origin === url.origin ? sent : { ...sent, headers: {} }]
        }
      }
    }
  }
}

interface Sent {
  readonly method: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: Uint8Array | undefined
}

/** As it is sent: the one that is checked. */
function urlOf(input: string | URL): URL {
  const url = URL.parse(String(input))
  if (url === null || url.href.length > 8192) throw new EgressError('bad-request')
  if (url.username !== '' || url.password !== '') throw new EgressError('bad-request')
  if (!isPlainPath(url.pathname)) throw new EgressError('bad-request')
  url.hash = ''
  return url
}

/** Whether every reader takes a path for the same one, however often it decodes and normalises. */
function isPlainPath(pathname: string): boolean {
  const segments = pathname.slice(1).split('/')
  try {
    return segments.every((segment, index) => {
      const decoded = decodeURIComponent(segment).normalize('NFKC')
      if (decoded === '') return index === segments.length - 1
      return !DECEPTIVE_SEGMENT.test(decoded)
    })
  } catch {
    return false // Not UTF-8: readers differ in what they make of it.
  }
}

function sentOf({ method = 'GET', headers = {}, body }: FetchOptions): Sent {
  const entries = Object.entries(headers).map(
    ([name, value]) => [name.toLowerCase(), value] as const,
  )
  const isFit =
    entries.length <= MAX_HEADERS &&
    new Set(entries.map(([name]) => name)).size === entries.length &&
    entries.every(([name, value]) => isForTools(name) && HEADER_VALUE.test(value)) &&
    EGRESS_METHODS.includes(method)
  if (!isFit || (body !== undefined && BODILESS.has(method))) throw new EgressError('bad-request')
  const bytes = typeof body === 'string' ? new TextEncoder().encode(body) : body?.slice()
  return { method, headers: Object.fromEntries(entries), body: bytes }
}

function isAllowed({ origin, methods, paths }: Destination, url: URL, method: string): boolean {
  const { pathname } = url
  return (
    origin === url.origin &&
    methods.some((allowed) => allowed === method) &&
    paths.some((path) => (path.endsWith('/') ? pathname.startsWith(path) : pathname === path))
  )
}

function egressError(cause: unknown): EgressError {
  if (cause instanceof EgressError) return cause
  if (!(cause instanceof OutboundError)) return new EgressError('network', { cause })
  const { fault } = cause
  // The other faults are those of documents, which are not read here.
  const known = FAULTS.find((name) => name === fault) ?? 'network'
  return new EgressError(known, { cause })
}

const FAULTS = ['address', 'network', 'timeout', 'encoding', 'too-large', 'cancelled'] as const

function fetched({ status, headers, body }: OutboundAnswer): Fetched {
  const all = new Headers()
  for (const [name, value] of Object.entries(headers)) {
    // No cookie is kept: a tool serves many callers.
    if (name !== 'set-cookie' && typeof value === 'string') all.set(name, value)
  }
  const text = (): string => new TextDecoder('utf-8', { fatal: true }).decode(body)
  return { status, headers: all, bytes: body, text, json: () => JSON.parse(text()) }
}
