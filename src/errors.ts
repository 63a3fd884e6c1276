/**
 * Every refusal of this server: what the auditor sees (the name), what the caller sees (status,
 * JSON-RPC code, fixed text). A name is `<source file>.<cause>`.
 *
 * Codes: -32700 for what does not parse, -32601 for an unknown method, -32600 for any other refusal,
 * -32603 for us (JSON-RPC 2.0 §5.1; MCP 2026-07-28 Error codes keeps -32000 to -32099 to itself).
 */

interface Denial {
  readonly status: 400 | 401 | 403 | 404 | 405 | 408 | 413 | 415 | 417 | 421 | 429 | 431 | 500 | 503
  readonly rpcCode: -32700 | -32601 | -32600 | -32603
  readonly message: string
}

const badRequest = { status: 400, rpcCode: -32600, message: 'Bad request' } as const
const invalidRequest = { status: 400, rpcCode: -32600, message: 'Invalid request' } as const
const parseError = { status: 400, rpcCode: -32700, message: 'Parse error' } as const
const unauthorized = { status: 401, rpcCode: -32600, message: 'Unauthorized' } as const
const forbidden = { status: 403, rpcCode: -32600, message: 'Forbidden' } as const
const tooManyRequests = { status: 429, rpcCode: -32600, message: 'Too many requests' } as const
const unavailable = { status: 503, rpcCode: -32603, message: 'Temporarily unavailable' } as const
const mediaType = { status: 415, rpcCode: -32600, message: 'Unsupported media type' } as const
const headersTooLarge = {
  status: 431,
  rpcCode: -32600,
  message: 'Request header fields too large',
} as const

export const DENIALS = {
  'answer.bug': { status: 500, rpcCode: -32603, message: 'Internal error' },
  'audit.sink-broken': unavailable,
  'store.unavailable': unavailable,
  'listen.malformed': badRequest,
  'listen.headers-too-large': headersTooLarge,
  'listen.timeout': { status: 408, rpcCode: -32600, message: 'Request timeout' },
  'listen.upgrade': badRequest,
  'listen.connect': badRequest,
  'listen.expectation': { status: 417, rpcCode: -32600, message: 'Expectation failed' },
  'listen.starting': unavailable,
  'listen.draining': unavailable,
  'wire-guard.http-version': badRequest,
  'wire-guard.target': badRequest,
  'wire-guard.duplicate-header': badRequest,
  'wire-guard.too-many-headers': headersTooLarge,
  'address-limit.exceeded': tooManyRequests,
  'host-guard.malformed': badRequest,
  'host-guard.authority-mismatch': badRequest,
  'host-guard.not-allowed': { status: 421, rpcCode: -32600, message: 'Misdirected request' },
  'origin-guard.not-allowed': forbidden,
  'origin-guard.cross-site': forbidden,
  'route.not-found': { status: 404, rpcCode: -32600, message: 'Not found' },
  'route.method-not-allowed': { status: 405, rpcCode: -32600, message: 'Method not allowed' },
  'route.query': badRequest,
  'authenticate.missing': unauthorized,
  'authenticate.rejected': unauthorized,
  'authenticate.malformed': badRequest,
  'authenticate.two-credentials': badRequest,
  'authenticate.throttled': tooManyRequests,
  'authenticate.dpop-nonce': unauthorized,
  'authenticate.keys-unavailable': unavailable,
  'authenticate.introspection-unavailable': unavailable,
  'principal-limit.rate': tooManyRequests,
  'principal-limit.concurrency': tooManyRequests,
  'parse-message.media-type': mediaType,
  'parse-message.encoding': mediaType,
  'parse-message.too-large': { status: 413, rpcCode: -32600, message: 'Content too large' },
  'parse-message.incomplete': badRequest,
  'parse-message.not-utf8': parseError,
  'parse-message.not-json': parseError,
  'parse-message.too-deep': invalidRequest,
  'parse-message.duplicate-name': invalidRequest,
  'parse-message.forbidden-name': invalidRequest,
  'parse-message.lone-surrogate': invalidRequest,
  'parse-message.not-one-message': invalidRequest,
  'authorize.unknown-method': { status: 404, rpcCode: -32601, message: 'Method not found' },
  'authorize.missing-scope': forbidden,
  'authorize.condition': forbidden,
  'call-limit.rate': tooManyRequests,
  'call-limit.concurrency': tooManyRequests,
  'call-limit.streams': unavailable,
} as const satisfies Record<string, Denial>

/** The name of a refusal, as audit records carry it in `status_detail`. */
export type DenyReason = keyof typeof DENIALS

/** What a refusal may carry besides its name. */
export interface DeniedOptions {
  /** Headers that the client must act on: `WWW-Authenticate`, `Retry-After`, `Allow`, `RateLimit`. */
  readonly headers?: Readonly<Record<string, string>>
  /** What led to it. The audit trail names a `CredentialFault`; nothing reaches the caller. */
  readonly cause?: unknown
}

/** An expected refusal. Thrown by a control, turned into the one answer by `answer.ts`. */
export class Denied extends Error {
  readonly reason: DenyReason
  readonly headers: Readonly<Record<string, string>>

  constructor(reason: DenyReason, options: DeniedOptions = {}) {
    super(reason, { cause: options.cause })
    this.name = 'Denied'
    this.reason = reason
    this.headers = options.headers ?? {}
  }
}
