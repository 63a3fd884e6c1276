/**
 * Every refusal of this server: what the auditor sees (the name), what the caller sees (status,
 * JSON-RPC code, fixed text). A name is `<source file>.<cause>`.
 *
 * Codes: those that MCP 2026-07-28 defines for a case (-32020 to -32022); else -32700 for what does
 * not parse, -32601 for an unknown method, -32602 for parameters, -32600 for any other refusal,
 * -32603 for us (JSON-RPC 2.0 §5.1).
 */

interface Denial {
  readonly status: 400 | 401 | 403 | 404 | 405 | 408 | 413 | 415 | 417 | 421 | 429 | 431 | 500 | 503
  readonly rpcCode: -32700 | -32600 | -32601 | -32602 | -32603 | -32020 | -32021 | -32022
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
  'overload.event-loop': unavailable,
  'overload.memory': unavailable,
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
  'session-guard.missing': badRequest, // optional: legacy-sessions
  'session-guard.not-found': { status: 404, rpcCode: -32600, message: 'Session not found' }, // optional: legacy-sessions
  'session-guard.initialized': invalidRequest, // optional: legacy-sessions
  'session-guard.duplicate-id': invalidRequest, // optional: legacy-sessions
  'session-guard.unasked': invalidRequest, // optional: legacy-sessions
  'session-guard.unknown-method': { status: 400, rpcCode: -32601, message: 'Method not found' }, // optional: legacy-sessions
  'session-guard.per-principal': tooManyRequests, // optional: legacy-sessions
  'session-guard.total': unavailable, // optional: legacy-sessions
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
  'principal-calls.concurrency': tooManyRequests,
  'protocol-guard.invalid-meta': { status: 400, rpcCode: -32602, message: 'Invalid params' },
  'protocol-guard.unsupported-version': {
    status: 400,
    rpcCode: -32022,
    message: 'Unsupported protocol version',
  },
  'protocol-guard.header-mismatch': {
    status: 400,
    rpcCode: -32020,
    message: 'Headers do not match the message',
  },
  'authorize.unknown-method': { status: 404, rpcCode: -32601, message: 'Method not found' },
  'authorize.missing-scope': forbidden,
  'authorize.condition': forbidden,
  'task-guard.missing-capability': {
    status: 400,
    rpcCode: -32021,
    message: 'A required client capability is missing',
  },
  'call-limit.rate': tooManyRequests,
  'call-limit.concurrency': tooManyRequests,
  'call-limit.open-streams': tooManyRequests,
  'call-limit.streams': unavailable,
  'stdio.duplicate-id': invalidRequest, // optional: stdio
  'stdio.unasked': invalidRequest, // optional: stdio
  'call-limit.subscriptions': { status: 400, rpcCode: -32602, message: 'Invalid params' },
} as const satisfies Record<string, Denial>

/** The name of a refusal that a control throws. */
export type DenyReason = keyof typeof DENIALS

interface ProtocolError {
  /** `null`: the answer is a tool result with `isError`, which says what the schema asks for. */
  readonly rpcCode: -32600 | -32602 | -32603 | -32021 | null
  readonly message: string
}

/**
 * Refusals that the MCP SDK answers while it serves a message, with the status that MCP gives them:
 * most are in band, with 200. Nothing throws them. `mcp/refusal.ts` reads the name off the answer and
 * puts code and text of this table into it; `mcp/server.ts` names what a tool does not take.
 */
export const PROTOCOL_ERRORS = {
  'handler.not-acceptable': { rpcCode: -32600, message: 'Invalid request' },
  'handler.invalid-params': { rpcCode: -32602, message: 'Invalid params' },
  'handler.invalid-arguments': { rpcCode: null, message: 'Input validation error' },
  'handler.request-state': { rpcCode: -32602, message: 'Invalid params' },
  'handler.unknown-tool': { rpcCode: -32602, message: 'Unknown tool' },
  'handler.resource-not-found': { rpcCode: -32602, message: 'Resource not found' },
  'handler.prompt-not-found': { rpcCode: -32602, message: 'Prompt not found' },
  'handler.task-not-found': { rpcCode: -32602, message: 'Task not found' },
  'handler.missing-capability': {
    rpcCode: -32021,
    message: 'A required client capability is missing',
  },
  'handler.failed': { rpcCode: -32603, message: 'Internal error' },
  'handler.other': { rpcCode: -32600, message: 'Invalid request' },
} as const satisfies Record<string, ProtocolError>

/** The name of any refusal, as `request` records carry it in `status_detail`. */
export type RefusalName = DenyReason | keyof typeof PROTOCOL_ERRORS

/** What a refusal may carry besides its name. */
export interface DeniedOptions {
  /** Headers that the client must act on: `WWW-Authenticate`, `Retry-After`, `Allow`, `RateLimit`. */
  readonly headers?: Readonly<Record<string, string>>
  /** `data` of the JSON-RPC error, where MCP defines it: the versions that are supported. */
  readonly data?: Readonly<Record<string, unknown>>
  /** What led to it. The audit trail names a `CredentialFault`; nothing reaches the caller. */
  readonly cause?: unknown
}

/** An expected refusal. Thrown by a control, turned into the one answer by `answer.ts`. */
export class Denied extends Error {
  readonly reason: DenyReason
  readonly headers: Readonly<Record<string, string>>
  readonly data: Readonly<Record<string, unknown>> | undefined

  constructor(reason: DenyReason, options: DeniedOptions = {}) {
    super(reason, { cause: options.cause })
    this.name = 'Denied'
    this.reason = reason
    this.headers = options.headers ?? {}
    this.data = options.data
  }
}
