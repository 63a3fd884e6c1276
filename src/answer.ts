import type { IncomingMessage } from 'node:http'
import { finished } from 'node:stream/promises'
import type { ErrorHandler } from 'hono'
import type { AppEnv } from './context.ts'
import type { CorsHeaders } from './controls/cors.ts'
import { SECURITY_HEADERS } from './controls/security-headers.ts'
import { DENIALS, Denied } from './errors.ts'
import type { Logger } from './log.ts'

/**
 * Anything thrown becomes the one answer: a status, a JSON-RPC error with a fixed text, and the
 * headers that a client must act on. Never the reason, the input, a stack or a library's message.
 */
export function answer(logger: Logger, corsHeaders: CorsHeaders): ErrorHandler<AppEnv> {
  return function answer(error, c) {
    const denied = error instanceof Denied ? error : new Denied('answer.bug', { cause: error })
    c.set('denied', denied.reason)
    if (denied.reason === 'answer.bug') {
      logger.error('A request failed', { requestId: c.get('requestId'), error })
    }
    const { status, headers, body } = refusal(denied, c.get('requestId'), c.get('message')?.id)
    const all = { ...headers, ...corsHeaders(c.get('headers')) }
    if (headers['connection'] !== 'close') return new Response(body, { status, headers: all })
    return new Response(lingering(body, c.env.incoming), {
      status,
      headers: { ...all, 'content-length': String(Buffer.byteLength(body)) },
    })
  }
}

/** How long what a client is still sending is read and dropped, ms. */
const LINGER_MS = 1000

/**
 * The last answer on a connection whose client may still be sending. Closed at once, the connection
 * would be reset, and the client would lose the answer (RFC 9112 §9.6).
 */
function lingering(body: string, incoming: IncomingMessage): ReadableStream {
  return new ReadableStream({
    async start(controller) {
      controller.enqueue(Buffer.from(body))
      const signal = AbortSignal.timeout(LINGER_MS)
      await finished(incoming.resume(), { signal }).catch(() => {
        // Time is up, or the client has left: the answer ends all the same.
      })
      controller.close()
    },
  })
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
  { reason, headers }: Pick<Denied, 'reason' | 'headers'>,
  requestId: string,
  id?: string | number,
): Refusal {
  const { status, rpcCode: code, message } = DENIALS[reason]
  const data = reason === 'answer.bug' ? { requestId } : undefined
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
