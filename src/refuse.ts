import { randomUUID } from 'node:crypto'
import { type IncomingMessage, type ServerResponse, STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import { type Refusal, refusal } from './answer.ts'
import type { AuditTrail } from './audit/trail.ts'
import type { ClientAddress } from './client-address.ts'
import { rawPath } from './controls/route.ts'
import { DENIALS, type DenyReason } from './errors.ts'
import { dropped } from './linger.ts'
import { rawHeadersOf } from './raw-headers.ts'

/** Refuses what never reaches the app: the same answer, one record, and the connection ends. */
export interface Refuse {
  /** Notes a request whose answer is owed from now on. */
  track(incoming: IncomingMessage, outgoing: ServerResponse): void
  /** Whether `connection` has refused this request, so that it is on record already. */
  isRefused(outgoing: ServerResponse): boolean
  /** Refuses a request that has a response object of its own; its connection ends with the answer. */
  exchange(incoming: IncomingMessage, outgoing: ServerResponse, reason: DenyReason): void
  /**
   * Refuses what a connection carries from here on: the rest of a request whose body is at fault, or
   * a new one. While an answer is owed to an earlier request the connection is cut without a word:
   * the client would take these bytes for that answer, or for a part of it.
   *
   * @param incoming when the request was parsed and Node gave it no response object
   */
  connection(socket: Socket, reason: DenyReason, incoming?: IncomingMessage): void
}

interface Exchange {
  readonly incoming: IncomingMessage
  readonly outgoing: ServerResponse
}

export function refuser(trail: AuditTrail, clientAddress: ClientAddress): Refuse {
  const latest = new WeakMap<Socket, Exchange>()
  const owed = new WeakMap<Socket, Set<ServerResponse>>()
  const refusedResponses = new WeakSet<ServerResponse>()
  const refusedSockets = new WeakSet<Socket>()

  function track(incoming: IncomingMessage, outgoing: ServerResponse): void {
    const { socket } = incoming
    const open = owed.get(socket) ?? new Set()
    owed.set(socket, open.add(outgoing))
    latest.set(socket, { incoming, outgoing })
    outgoing.once('close', () => open.delete(outgoing))
  }

  /** The answer, once it is on record. */
  function refused(
    reason: DenyReason,
    { socket, rawHeaders, method, url }: Pick<IncomingMessage, 'socket'> & Partial<IncomingMessage>,
  ): Refusal {
    const requestId = randomUUID()
    const hops = rawHeadersOf({ rawHeaders: rawHeaders ?? [] }).get('x-forwarded-for') ?? []
    const { status } = DENIALS[reason]
    trail.write({
      event: 'request',
      requestId,
      address: clientAddress(socket.remoteAddress, hops),
      principal: undefined,
      credentialId: undefined,
      trace: undefined,
      httpMethod: method ?? '',
      path: url === undefined ? '' : rawPath(url),
      method: undefined,
      status,
      reason,
      durationMs: 0,
    })
    const retry = status === 503 ? { 'retry-after': '1' } : {}
    return refusal({ reason, headers: { connection: 'close', ...retry } }, requestId)
  }

  return {
    track,
    isRefused: (outgoing) => refusedResponses.has(outgoing),
    exchange(incoming, outgoing, reason) {
      track(incoming, outgoing)
      const { status, headers, body } = refused(reason, incoming)
      outgoing.writeHead(status, { ...headers, 'content-length': Buffer.byteLength(body) })
      outgoing.write(body)
      void dropped(incoming).then(() => outgoing.end())
    },
    connection(socket, reason, incoming) {
      if (refusedSockets.has(socket)) return
      refusedSockets.add(socket)
      // After an upgrade nobody else listens, and an error without a listener ends the process.
      socket.on('error', () => socket.destroy())

      const last = latest.get(socket)
      const broken = last?.incoming.complete === false ? last : undefined
      if (broken?.outgoing.headersSent) {
        socket.destroySoon() // It has its record, and its answer is on the way.
        return
      }
      if (broken !== undefined) refusedResponses.add(broken.outgoing)
      const answer = refused(reason, broken?.incoming ?? incoming ?? { socket })
      const others = [...(owed.get(socket) ?? [])].filter((other) => other !== broken?.outgoing)
      if (others.length > 0 || !socket.writable) socket.destroy()
      else socket.end(bytesOf(answer), () => socket.destroy())
    },
  }
}

function bytesOf({ status, headers, body }: Refusal): string {
  const lines = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
    `content-length: ${Buffer.byteLength(body)}`,
  ]
  return `${lines.join('\r\n')}\r\n\r\n${body}`
}
