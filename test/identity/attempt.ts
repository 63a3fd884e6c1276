import { expect } from 'vitest'
import type { DenyReason } from '../../src/errors.ts'
import { connect, type RawAnswer } from '../raw-http.ts'
import { type AuditRecord, callOf, type PolicyEdit, type Server } from '../server.ts'

/** Limits that a table of attacks from one address does not reach. */
export const NO_LIMITS: readonly PolicyEdit[] = [
  [
    'limits.yaml',
    'requestsPerMinute: 600, authFailuresPerMinute: 30',
    'requestsPerMinute: 1000000, authFailuresPerMinute: 1000',
  ],
  ['limits.yaml', 'requestsPerMinute: 1200', 'requestsPerMinute: 1000000'],
]

/** Put it where a secret of an attack goes. It must come back nowhere. */
export const CANARY = 'canary-2f9c1e'

/** A call as bytes: header lines as given, besides those that every call has. */
export interface Attempt {
  /** Without their ends. */
  readonly lines?: readonly string[]
  readonly method?: string
  readonly target?: string
  /** `whoami` when left out. */
  readonly body?: string
  /**
   * Address that the proxy names; one of its own when left out. Refusals of one address are sampled,
   * so the record of an attempt that names one is not waited for.
   */
  readonly from?: string
}

const WHOAMI = callOf('whoami', {})

/**
 * Lets each attempt come from an address of its own, because refusals of one address are sampled.
 * For servers that `attempt` is pointed at.
 */
export const BEHIND_PROXY = { MCP_TRUSTED_PROXIES: '127.0.0.1/32' } as const
let attempts = 0

/** Sends one call and waits until it is on record. */
export async function attempt(server: Server, call: Attempt): Promise<RawAnswer> {
  const { lines = [], method = 'POST', target = '/mcp', body = WHOAMI, from } = call
  using connection = connect(server)
  attempts += 1
  connection.write(
    [
      `${method} ${target} HTTP/1.1`,
      `Host: 127.0.0.1:${server.port}`,
      'Content-Type: application/json',
      'Accept: application/json, text/event-stream',
      `Content-Length: ${Buffer.byteLength(body)}`,
      `X-Forwarded-For: ${from ?? `198.18.${attempts >> 8}.${attempts & 255}`}`,
      ...lines,
      '',
      body,
    ].join('\r\n'),
  )
  const answer = await connection.answer()
  if (from === undefined) await recordsOf(server, answer)
  return answer
}

/** What a request left in the trail, in order, once it has ended. */
export async function recordsOf(
  server: Server,
  { headers }: Pick<RawAnswer, 'headers'>,
): Promise<readonly AuditRecord[]> {
  const id = headers.get('x-request-id')
  const isOfRequest = ({ metadata }: AuditRecord): boolean => metadata.correlation_uid === id
  await server.recorded((record) => isOfRequest(record) && eventOf(record) === 'request')
  return server.audited().filter(isOfRequest)
}

export function eventOf({ metadata }: AuditRecord): string {
  return metadata.event_code
}

/** The structured result of a call that went through. */
// biome-ignore lint/suspicious/noExplicitAny: answers are inspected by the tests
export function resultOf({ status, body }: Pick<RawAnswer, 'status' | 'body'>): any {
  expect(status).toBe(200)
  const [response = ''] = body.match(/\{.*\}$/gm)?.slice(-1) ?? []
  return JSON.parse(response).result.structuredContent
}

export interface ExpectedRefusal {
  readonly status: 400 | 401
  readonly reason: DenyReason
  /** Why the credential failed, as the record of it says; absent when no such record belongs to it. */
  readonly cause?: string
  /** What the challenge of this server offers after `Bearer`. */
  readonly offer?: string
  /** What else of the attack must come back nowhere, besides the canary. */
  readonly secrets?: readonly string[]
  /** Whether the request announced a body, which is then left unread. True unless told. */
  readonly hasBody?: boolean
}

/**
 * The one answer byte for byte, nothing executed, the records of it and no other, and no part of the
 * attack in the answer, the trail or the log.
 */
export async function expectRefused(
  server: Server,
  answer: RawAnswer,
  { status, reason, cause, offer = '', secrets = [], hasBody = true }: ExpectedRefusal,
): Promise<void> {
  const { 'x-request-id': id, date, ...headers } = Object.fromEntries(answer.headers)
  expect(id).toMatch(/^[0-9a-f-]{36}$/)
  expect({ status: answer.status, headers, body: answer.body }).toEqual({
    status,
    headers: {
      ...headersOf(server, reason, offer),
      ...(hasBody
        ? { connection: 'close' }
        : { connection: 'keep-alive', 'keep-alive': 'timeout=5' }),
    },
    body: BODIES[status],
  })

  const failed = ['authn.fail', cause, reason]
  const records = await recordsOf(server, answer)
  expect(records.map((r) => [eventOf(r), r.status_code, r.status_detail])).toEqual([
    ...(cause === undefined ? [] : [failed]),
    ['request', String(status), reason],
  ])
  const everything = `${answer.body}${[...answer.headers]}${server.stdout()}${server.stderr()}`
  for (const secret of [CANARY, ...secrets]) expect(everything).not.toContain(secret)
}

const BODIES = {
  400: '{"jsonrpc":"2.0","error":{"code":-32600,"message":"Bad request"}}',
  401: '{"jsonrpc":"2.0","error":{"code":-32600,"message":"Unauthorized"}}',
} as const

function headersOf(
  { url, port }: Server,
  reason: DenyReason,
  offer: string,
): Readonly<Record<string, string>> {
  const metadata = `http://127.0.0.1:${port}/.well-known/oauth-protected-resource/mcp`
  const challenge = `scope="mcp:use", resource_metadata="${metadata}"`
  const challenges = new Map<DenyReason, string>([
    ['authenticate.missing', `Bearer ${challenge}`],
    ['authenticate.rejected', `Bearer error="invalid_token", ${challenge}`],
  ])
  const value = challenges.get(reason)
  expect(url).toBe(`http://127.0.0.1:${port}/mcp`)
  return {
    'cache-control': 'no-store',
    'content-security-policy': "default-src 'none'; base-uri 'none'; frame-ancestors 'none'",
    'content-type': 'application/json',
    'content-length': value === undefined ? '65' : '66',
    'cross-origin-resource-policy': 'same-site',
    'referrer-policy': 'no-referrer',
    'x-content-type-options': 'nosniff',
    ...(value === undefined ? {} : { 'www-authenticate': `${value}${offer}` }),
    vary: 'Origin',
  }
}
