import type { ErrorHandler } from 'hono'
import type { AppEnv } from './context.ts'
import type { CorsHeaders } from './controls/cors.ts'
import { SECURITY_HEADERS } from './controls/security-headers.ts'
import { DENIALS, Denied } from './errors.ts'
import type { Logger } from './log.ts'
import { type RawHeaders, single } from './raw-headers.ts'
import { requestFacts } from './request-facts.ts'

/**
 * Anything thrown becomes the one answer: a status, a JSON-RPC error with a fixed text, and the
 * headers that a client must act on. Never the reason, the input, a stack or a library's message.
 *
 * When a body was announced and has not been read, the answer is the last one on its connection: what
 * is left could be taken for the next request (RFC 9112 §9.3, CWE-444).
 */
export function answer(logger: Logger, corsHeaders: CorsHeaders): ErrorHandler<AppEnv> {
  return function answer(error, c) {
    const denied = error instanceof Denied ? error : new Denied('answer.bug', { cause: error })
    c.set('denied', denied.reason)
    if (denied.reason === 'answer.bug') {
      const { requestId, trace } = requestFacts(c.var)
      logger.error('A request failed', { requestId, traceId: trace?.traceId, error })
    }
    const { status, headers, body } = refusal(denied, c.get('requestId'), c.get('message')?.id)
    const all = { ...headers, ...corsHeaders(c.get('headers')) }
    const isLast = announcesBody(c.get('headers')) && !c.env.incoming.readableEnded
    const last = isLast ? { connection: 'close' } : {}
    return new Response(body, { status, headers: { ...all, ...last } })
  }
}

function announcesBody(headers: RawHeaders): boolean {
  return headers.has('transfer-encoding') || Number(single(headers, 'content-length') ?? 0) > 0
}

/** An answer before it takes the form of a response or of bytes on a socket. */
export interface Refusal {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

/**
 * The answer of a refusal, complete in itself: what Node or the adapter refuse never passes through
 * the controls that add headers.
 *
 * @param id of the JSON-RPC request, when it is known
 */
export function refusal(
  denied: Pick<Denied, 'reason' | 'headers'> & Partial<Pick<Denied, 'data'>>,
  requestId: string,
  id?: string | number,
): Refusal {
  const { reason, headers } = denied
  const { status, rpcCode: code, message } = DENIALS[reason]
  const data = reason === 'answer.bug' ? { requestId } : denied.data
  return {
    status,
    headers: {
      ...headers,
      ...SECURITY_HEADERS,
      'content-type': 'application/json',
      vary: 'Origin',
      'x-request-id': requestId,
    },
    body: JSON.stringify({ jsonrpc: '2.0', id, error: { code, message, data } }),
  }
}
