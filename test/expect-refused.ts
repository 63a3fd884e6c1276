import { expect } from 'vitest'
import type { AuditEvent } from '../src/audit/trail.ts'
import type { DenyReason } from '../src/errors.ts'
import type { TestApp, TestResponse } from './app.ts'

/** The end of a call that was allowed and met a limit. */
const NOT_RUN = {
  outcome: 'not-run',
  durationMs: 0,
  resultSha256: undefined,
  progressCount: 0,
} as const

/** What else the request left in the trail, or how its answer differs. */
export interface RefusalDetails {
  /** JSON-RPC id of the answer, when the message was parsed. */
  readonly id?: string | number
  /** Records besides those that every refusal of its kind leaves. */
  readonly also?: readonly AuditEvent['event'][]
  /** An answer to HEAD has no body. */
  readonly isHead?: boolean
  /** A part of the attack that must come back nowhere, not even in the trail. */
  readonly canary?: string
}

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/

/**
 * The four things of every refusal: status and exact body; nothing reached the SDK; exactly one
 * `request` record with its reason, and the records that belong to it; no secret in any of them.
 */
export function expectRefused(
  app: TestApp,
  response: TestResponse,
  status: number,
  reason: DenyReason,
  details: RefusalDetails = {},
): void {
  const { headers, text, events } = response
  expect(headers.get('x-request-id')).toMatch(UUID)
  expect(headers.get('content-type')).toBe('application/json')
  expect(headers.get('cache-control')).toBe('no-store')
  expect(headers.get('x-content-type-options')).toBe('nosniff')
  expect(headers.get('vary')).toBe('Origin')

  const facts = { requestId: headers.get('x-request-id') ?? '', reason }
  const request = events.filter(({ event }) => event === 'request')
  expect(request).toEqual([expect.objectContaining({ ...facts, status })])
  expect(response.status).toBe(status)
  expect(text).toBe(details.isHead ? '' : bodyOf(status, reason, details.id))
  expect(response.reached).toBe(0)

  const kinds = ['request', ...recordsOf(status, reason), ...(details.also ?? [])]
  expect(events.map(({ event }) => event).toSorted()).toEqual(kinds.toSorted())
  for (const event of events) {
    if (event.event === 'outcome') expect(event).toMatchObject(NOT_RUN)
    else expect(event).toMatchObject(event.event === 'decision' && event.allowed ? {} : facts)
  }

  const everything = JSON.stringify([[...headers], text, events])
  expect(everything).not.toContain(app.key)
  if (details.canary !== undefined) expect(everything).not.toContain(details.canary)
}

/** One call of a tool went through: the passing twin of a refusal. */
export function expectServed(response: TestResponse): void {
  expect(response.status).toBe(200)
  expect(response.reached).toBe(1)
  expect(response.json).toHaveProperty('result')
  expect(response.events.map(({ event }) => event)).toEqual(['decision', 'outcome', 'request'])
}

function recordsOf(status: number, reason: DenyReason): readonly AuditEvent['event'][] {
  const failed = reason.startsWith('authenticate.') && reason !== 'authenticate.missing'
  return [
    ...(failed ? (['authn.fail'] as const) : []),
    ...(status === 429 ? (['throttle'] as const) : []),
  ]
}

/** Written down here once more, so that a change of what callers see fails a test. */
const ERRORS: Readonly<Record<number, readonly [number, string]>> = {
  400: [-32600, 'Bad request'],
  401: [-32600, 'Unauthorized'],
  403: [-32600, 'Forbidden'],
  404: [-32600, 'Not found'],
  405: [-32600, 'Method not allowed'],
  413: [-32600, 'Content too large'],
  415: [-32600, 'Unsupported media type'],
  421: [-32600, 'Misdirected request'],
  429: [-32600, 'Too many requests'],
  431: [-32600, 'Request header fields too large'],
  503: [-32603, 'Temporarily unavailable'],
}
const ERRORS_OF_A_BODY: ReadonlyMap<DenyReason, readonly [number, string]> = new Map([
  ['parse-message.not-utf8', [-32700, 'Parse error']],
  ['parse-message.not-json', [-32700, 'Parse error']],
  ['parse-message.too-deep', [-32600, 'Invalid request']],
  ['parse-message.duplicate-name', [-32600, 'Invalid request']],
  ['parse-message.forbidden-name', [-32600, 'Invalid request']],
  ['parse-message.lone-surrogate', [-32600, 'Invalid request']],
  ['parse-message.not-one-message', [-32600, 'Invalid request']],
  ['protocol-guard.invalid-meta', [-32602, 'Invalid params']],
  ['protocol-guard.header-mismatch', [-32020, 'Headers do not match the message']],
  ['authorize.unknown-method', [-32601, 'Method not found']],
  ['call-limit.subscriptions', [-32602, 'Invalid params']],
])

function bodyOf(status: number, reason: DenyReason, id: string | number | undefined): string {
  const [code, message] = ERRORS_OF_A_BODY.get(reason) ?? ERRORS[status] ?? []
  return JSON.stringify({ jsonrpc: '2.0', id, error: { code, message } })
}
