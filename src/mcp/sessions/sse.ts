// optional: legacy-sse
import { parseJSONRPCMessage, type Transport } from '@modelcontextprotocol/server'
import type { Context } from 'hono'
import type { AppEnv } from '../../context.ts'
import { ownerKey } from '../../owner-key.ts'
import { MODERN_REVISIONS, REVISIONS } from '../era.ts'
import type { McpPolicies } from '../served.ts'
import { type Channel, KEEP_ALIVE_MS } from './channel.ts'
import type { SessionRegistry } from './registry.ts'
import { createSession, type SessionParts } from './session.ts'

/** The revisions that are spoken on this transport, the newest first. */
export const SSE_REVISIONS = [
  ...REVISIONS.filter((revision) => !MODERN_REVISIONS.includes(revision)),
  '2024-11-05',
]

/** Begins a session whose one stream is the answer to this request; it ends with the stream. */
export async function openSse(
  c: Context<AppEnv>,
  parts: SessionParts,
  registry: SessionRegistry,
  { streamSeconds }: McpPolicies,
): Promise<Response> {
  const session = await registry.begin(ownerKey(c.get('identity').principal), (bounds) =>
    createSession(parts, c, {
      ...bounds,
      path: '/messages',
      channel: sseChannel(bounds.id),
      revisions: SSE_REVISIONS,
    }),
  )
  session.use(c)
  return session.stream(c, streamSeconds)
}

/** What may wait for the reader of a stream before everything else has to wait, bytes. */
const WAITING_BYTES = 65_536

/**
 * HTTP+SSE: one stream for all that the server says, which begins with the address that messages are
 * posted to.
 *
 * The SDK has no transport for it that returns a `Response`. This one holds up what is sent to a
 * reader that is behind, so that slots of calls stay taken until their results are on the way.
 *
 * Source: MCP 2024-11-05, Transports, HTTP with SSE.
 */
function sseChannel(sessionId: string): Channel {
  const encoder = new TextEncoder()
  let room = Promise.withResolvers<void>()
  let last = Promise.resolve()
  let closed = false
  let controller: ReadableStreamDefaultController<Uint8Array> | undefined
  const body = new ReadableStream<Uint8Array>(
    {
      start(opened) {
        controller = opened
      },
      pull() {
        room.resolve()
        room = Promise.withResolvers()
      },
      cancel: () => end(),
    },
    new ByteLengthQueuingStrategy({ highWaterMark: WAITING_BYTES }),
  )
  const isBehind = (): boolean => (controller?.desiredSize ?? 0) <= 0
  const keepAlive = setInterval(() => {
    if (!isBehind()) enqueue(': keepalive\n\n')
  }, KEEP_ALIVE_MS)

  function enqueue(text: string): void {
    controller?.enqueue(encoder.encode(text))
  }

  async function write(text: string): Promise<void> {
    while (!closed && isBehind()) await room.promise
    if (closed) throw new Error('The stream has ended')
    enqueue(text)
  }

  function end(): void {
    closed = true
    clearInterval(keepAlive)
    room.resolve()
  }

  const transport: Transport = {
    sessionId,
    async start() {},
    send(message) {
      last = last.then(() => write(`event: message\ndata: ${JSON.stringify(message)}\n\n`))
      return last
    },
    async close() {
      if (!closed) controller?.close()
      end()
      transport.onclose?.()
    },
  }

  return {
    transport,
    async receive(request, message, authInfo) {
      transport.onmessage?.(parseJSONRPCMessage(message), { request, authInfo })
      return new Response(null, { status: 202 })
    },
    async stream() {
      enqueue(`event: endpoint\ndata: /messages?sessionId=${sessionId}\n\n`)
      return new Response(body, { headers: HEADERS })
    },
    async forget() {
      // Its answer would have come on the one stream, which goes on.
    },
    isBehind,
    sweep() {
      // Nothing is kept for a client that comes back: its session has ended with the stream.
    },
    close() {
      // The transport is closed before.
    },
  }
}

const HEADERS = {
  'content-type': 'text/event-stream',
  'cache-control': 'no-cache, no-transform',
  'x-accel-buffering': 'no',
}
