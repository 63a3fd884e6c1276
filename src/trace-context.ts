import type { Message } from './context.ts'
import { type RawHeaders, single } from './raw-headers.ts'

/** Where a caller says that its request belongs. It links records and spans, and decides nothing. */
export interface TraceContext {
  /** 32 lower-case hex digits, not all zero. */
  readonly traceId: string
  /** 16 lower-case hex digits, not all zero. */
  readonly spanId: string
  /** Bit 0: the caller records this trace. */
  readonly traceFlags: number
  /** `tracestate` as it was sent: not parsed, not bounded beyond the request. */
  readonly state: string | undefined
}

/** What callers say in a message (SEP-414) and in headers; `undefined` where that is not well-formed. */
export interface CallerTrace {
  readonly message: TraceContext | undefined
  readonly header: TraceContext | undefined
}

/** `baggage` is not read: it is data of others that would travel on to whatever a tool calls. */
export function callerTrace(headers: RawHeaders, message: Message | undefined): CallerTrace {
  const meta = message?.params?.['_meta']
  return {
    message: isObject(meta) ? contextOf(meta['traceparent'], meta['tracestate']) : undefined,
    header: contextOf(single(headers, 'traceparent'), single(headers, 'tracestate')),
  }
}

const TRACEPARENT =
  /^(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/

/** W3C Trace Context §3.2.2 and §4. Only versions after `00` may have more than four fields. */
function contextOf(parent: unknown, state: unknown): TraceContext | undefined {
  if (typeof parent !== 'string') return undefined
  const [, version, traceId, spanId, flags, more] = TRACEPARENT.exec(parent) ?? []
  if (traceId === undefined || spanId === undefined || flags === undefined) return undefined
  if (version === '00' && more !== undefined) return undefined
  return {
    traceId,
    spanId,
    traceFlags: Number.parseInt(flags, 16),
    state: typeof state === 'string' ? state : undefined,
  }
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null
}
