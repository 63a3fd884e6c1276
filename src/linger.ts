import type { IncomingMessage } from 'node:http'
import { finished } from 'node:stream/promises'

/** How long what a client is still sending is read and dropped, ms. */
const LINGER_MS = 1000

/**
 * Reads and drops what a client is still sending: all of it, or for a second, or until it leaves. A
 * connection that is closed at once would be reset, and the client would lose the answer
 * (RFC 9112 §9.6).
 */
export async function dropped(incoming: IncomingMessage): Promise<void> {
  const signal = AbortSignal.timeout(LINGER_MS)
  await finished(incoming.resume(), { signal }).catch(() => {
    // Time is up, or the client has left: the answer ends all the same.
  })
}

/** The last answer on a connection: whole at once, ended when its client has sent what it had to. */
export async function lingering(response: Response, incoming: IncomingMessage): Promise<Response> {
  const { status, headers } = response
  const body = new Uint8Array(await response.arrayBuffer())
  headers.set('content-length', String(body.byteLength))
  const stream = new ReadableStream({
    async start(controller) {
      controller.enqueue(body)
      await dropped(incoming)
      controller.close()
    },
  })
  return new Response(stream, { status, headers })
}
