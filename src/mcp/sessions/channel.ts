// optional: legacy-sessions
import {
  type AuthInfo,
  type Transport,
  WebStandardStreamableHTTPServerTransport,
} from '@modelcontextprotocol/server'
import type { Clock } from '../../clock.ts'
import type { Message } from '../../context.ts'
import type { Reply } from '../../envelope.ts'
import { type EventBudget, sessionEvents } from './event-store.ts'

/** How the messages of one session come and go. */
export interface Channel {
  readonly transport: Transport
  /** Hands a message of the client to the SDK. @returns the answer to its POST */
  receive(request: Request, message: Message | Reply, authInfo: AuthInfo): Promise<Response>
  /** Opens a stream, or one that broke once more (`Last-Event-ID`). */
  stream(request: Request): Promise<Response>
  /** Nobody waits for the answer to this request any more. */
  forget(id: string | number): Promise<void>
  /** Whether the one stream of this channel is read more slowly than it is written. */
  readonly isBehind?: () => boolean
  sweep(): void
  close(): void
}

/** Interval of keep-alive comments, ms: below the usual idle timeout of proxies. */
export const KEEP_ALIVE_MS = 15_000
/** When a client whose connection broke should come back, ms. */
const RETRY_MS = 1000

/** Streamable HTTP of the 2025 revisions, by the transport of the SDK. */
export function streamableChannel(
  sessionId: string,
  eventsPerStream: number,
  budget: EventBudget,
  clock: Clock,
): Channel {
  const events = sessionEvents(eventsPerStream, budget, clock)
  const transport = new WebStandardStreamableHTTPServerTransport({
    sessionIdGenerator: () => sessionId,
    eventStore: events,
    retryInterval: RETRY_MS,
    keepAliveMs: KEEP_ALIVE_MS,
  })
  const send = transport.send.bind(transport)

  return {
    transport,
    receive: (request, parsedBody, authInfo) =>
      transport.handleRequest(request, { parsedBody, authInfo }),
    stream: (request) => transport.handleRequest(request),
    async forget(id) {
      // A cancelled request is not answered, and the SDK would keep its stream open for ever. What is
      // sent after the stream was closed stays here, for a client that insists on coming back.
      transport.closeSSEStream(id)
      await send({ jsonrpc: '2.0', id, error: { code: -32600, message: 'Cancelled' } })
    },
    sweep: events.sweep,
    close: events.clear,
  }
}
