import { randomUUID } from 'node:crypto'
import { type IncomingMessage, type ServerResponse, STATUS_CODES } from 'node:http'
import type { Duplex } from 'node:stream'
import { type Refusal, refusal } from './answer.ts'
import type { AuditTrail } from './audit/trail.ts'
import type { ClientAddress } from './client-address.ts'
import { rawPath } from './controls/route.ts'
import { DENIALS, type DenyReason } from './errors.ts'
import { rawHeadersOf } from './raw-headers.ts'

/** Refuses what never reaches the app: the same answer, one record, and the connection ends. */
export interface Refuse {
  /** A request with a response object of its own. */
  exchange(incoming: IncomingMessage, outgoing: ServerResponse, reason: DenyReason): void
  /**
   * A bare socket. It is cut without a word when an answer is already under way on it: bytes in the
   * middle of that answer would be read as part of it.
   */
  socket(socket: Duplex, reason: DenyReason, incoming?: IncomingMessage): void
  /** Notes that an answer is being written. */
  track(incoming: IncomingMessage, outgoing: ServerResponse): void
}

export function refuser(trail: AuditTrail, clientAddress: ClientAddress): Refuse {
  const answering = new WeakMap<Duplex, Set<ServerResponse>>()

  /** The answer, once it is on record. */
  function refused(reason: DenyReason, request: Partial<IncomingMessage>): Refusal {
    const { rawHeaders = [], socket, method = '', url = '' } = request
    const requestId = randomUUID()
    const hops = rawHeadersOf({ rawHeaders }).get('x-forwarded-for') ?? []
    const { status } = DENIALS[reason]
    trail.write({
      event: 'request',
      requestId,
      address: clientAddress(socket?.remoteAddress, hops),
      principal: undefined,
      trace: undefined,
      httpMethod: method,
      path: rawPath(url),
      method: undefined,
      status,
      reason,
      durationMs: 0,
    })
    const retry = status === 503 ? { 'retry-after': '1' } : {}
    return refusal({ reason, headers: { connection: 'close', ...retry } }, requestId)
  }

  return {
    exchange(incoming, outgoing, reason) {
      const { status, headers, body } = refused(reason, incoming)
      outgoing.writeHead(status, { ...headers, 'content-length': Buffer.byteLength(body) })
      outgoing.end(body)
    },
    socket(socket, reason, incoming) {
      const { status, headers, body } = refused(reason, incoming ?? {})
      const underWay = [...(answering.get(socket) ?? [])].some((outgoing) => outgoing.headersSent)
      if (underWay || !socket.writable) {
        socket.destroy()
        return
      }
      const lines = [
        `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
        ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
        `content-length: ${Buffer.byteLength(body)}`,
      ]
      socket.end(`${lines.join('\r\n')}\r\n\r\n${body}`, () => socket.destroy())
    },
    track(incoming, outgoing) {
      const open = answering.get(incoming.socket) ?? new Set()
      answering.set(incoming.socket, open.add(outgoing))
      outgoing.once('close', () => open.delete(outgoing))
    },
  }
}
