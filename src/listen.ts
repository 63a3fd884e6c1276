import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { getRequestListener, RequestError } from '@hono/node-server'
import type { Hono } from 'hono'
import type { AuditTrail } from './audit/trail.ts'
import { type ClientAddress, networkOf } from './client-address.ts'
import type { Config } from './config.ts'
import type { AppEnv } from './context.ts'
import type { DenyReason } from './errors.ts'
import { lingering } from './linger.ts'
import { isWithin, networkList } from './networks.ts'
import type { LimitsPolicy } from './policy.ts'
import { publicServer } from './public-server.ts'
import { refuser } from './refuse.ts'
import { slots } from './slots.ts'
import { slowReaders } from './slow-readers.ts'
import { whenClosed } from './when-closed.ts'

export interface ListenOptions {
  readonly trail: AuditTrail
  readonly limits: LimitsPolicy
  readonly clientAddress: ClientAddress
  /** CIDRs; their connections are not counted by address. */
  readonly trustedProxies: readonly string[]
  readonly tls: Config['tls']
}

/** The public listener: bound before the app exists, and still there while it drains. */
export interface PublicListener {
  readonly server: Server
  /** Serves requests from now on. Until then, and after `drain`, they get 503. */
  serve(app: Hono<AppEnv>): void
  /** Reads certificate, key and authorities again, for connections from now on. @throws {Problems} */
  secure(): void
  /** Refuses new requests from now on, and ends connections as they fall idle. */
  drain(): {
    /** When every request that was accepted has its answer or its stream. */
    readonly answered: Promise<void>
    /** When all connections are gone and all answers have ended, so that each is on record. */
    readonly closed: Promise<void>
  }
}

/** How often idle connections are ended while draining, ms. */
const DRAIN_INTERVAL_MS = 50

/**
 * Threat:  What Node or the adapter answer by themselves has passed no control and left no record:
 *          parse errors, slow clients, upgrades, CONNECT, `Expect`, malformed targets and hosts.
 * Rule:    each of them gets the answer of `answer.ts`, one record, and a closed connection. Headers,
 *          request time, connections in total and per address (trusted proxies aside) are bounded; a
 *          reader that stalls is cut. `100 Continue` is sent by the control that reads the body;
 *          after a refusal that left a body unread, nothing on that connection is processed.
 * Policy:  policies/limits.yaml `headers.bytes`, `timeouts`, `connections`, `address.connections`
 * Refuses: 400 `listen.malformed`, `listen.upgrade`, `listen.connect`; 408 `listen.timeout`;
 *          417 `listen.expectation`; 431 `listen.headers-too-large`; 503 `listen.starting`,
 *          `listen.draining`
 * Source:  RFC 9112 §3.2, §6.3, §9.3; RFC 9110 §10.1.1; OWASP ASVS 5.0 4.2.1, 13.1.2
 *
 * @throws {Problems} when a file of `tls` is not what its setting says.
 */
export function publicListener(options: ListenOptions): PublicListener {
  const { limits } = options
  const { server, secure } = publicServer(limits, options.tls)
  const refuse = refuser(options.trail, options.clientAddress)
  const watchReader = slowReaders(limits.timeouts.slowReaderMs)
  /** Connections whose last answer is decided. What comes after it is not processed (RFC 9112 §9.6). */
  const closing = new WeakSet<Socket>()
  let app: Hono<AppEnv> | undefined
  let unavailable: DenyReason = 'listen.starting'
  let closed = false
  /** Requests that the app has not answered yet, and answers that have not ended. */
  let waiting = 0
  let open = 0
  const allAnswered = Promise.withResolvers<void>()
  const allEnded = Promise.withResolvers<void>()

  function settle(): void {
    if (unavailable === 'listen.draining' && waiting === 0) allAnswered.resolve()
    if (closed && open === 0) allEnded.resolve()
  }

  async function handle(app: Hono<AppEnv>, request: Request, env: AppEnv['Bindings']) {
    waiting += 1
    try {
      const response = await app.fetch(request, env)
      if (response.headers.get('connection') !== 'close') return response
      closing.add(env.incoming.socket)
      return await lingering(response, env.incoming)
    } finally {
      waiting -= 1
      settle()
    }
  }

  function serve(incoming: IncomingMessage, outgoing: ServerResponse): void {
    if (closing.has(incoming.socket)) return
    const current = app
    if (current === undefined || !isPlainlyFramed(incoming)) {
      const reason = current === undefined ? unavailable : 'listen.malformed'
      closing.add(incoming.socket)
      refuse.exchange(incoming, outgoing, reason)
      return
    }
    refuse.track(incoming, outgoing)
    watchReader(outgoing)
    open += 1
    whenClosed(outgoing, () => {
      open -= 1
      settle()
    })
    const isRefused = (): boolean => refuse.isRefused(outgoing)
    const listener = getRequestListener(
      (request) => handle(current, request, { incoming, outgoing, isRefused }),
      {
        errorHandler: (error) => {
          const reason = error instanceof RequestError ? 'listen.malformed' : 'answer.bug'
          refuse.exchange(incoming, outgoing, reason)
        },
      },
    )
    void listener(incoming, outgoing)
  }

  server.on('request', serve)
  server.on('checkContinue', serve)
  server.on('checkExpectation', (incoming: IncomingMessage, outgoing: ServerResponse) =>
    refuse.exchange(incoming, outgoing, 'listen.expectation'),
  )
  server.on('upgrade', (incoming: IncomingMessage, socket: Socket) =>
    refuse.connection(socket, 'listen.upgrade', incoming),
  )
  server.on('connect', (incoming: IncomingMessage, socket: Socket) =>
    refuse.connection(socket, 'listen.connect', incoming),
  )
  server.on('clientError', (error: NodeJS.ErrnoException, socket: Socket) => {
    if (isGone(error)) socket.destroy()
    else refuse.connection(socket, REASONS.get(error.code ?? '') ?? 'listen.malformed')
  })
  limitConnections(server, options)

  return {
    server,
    secure,
    serve(next) {
      app = next
    },
    drain() {
      app = undefined
      unavailable = 'listen.draining'
      // Once no answer is owed, a connection that has sent nothing, or half a request, is cut too.
      const idle = setInterval(() => {
        if (open === 0) server.closeAllConnections()
        else server.closeIdleConnections()
      }, DRAIN_INTERVAL_MS)
      server.close(() => {
        clearInterval(idle)
        closed = true
        settle()
      })
      settle()
      return { answered: allAnswered.promise, closed: allEnded.promise }
    },
  }
}

/** Codes of Node for what its parser refuses; anything else is malformed. */
const REASONS: ReadonlyMap<string, DenyReason> = new Map([
  ['HPE_HEADER_OVERFLOW', 'listen.headers-too-large'],
  ['ERR_HTTP_REQUEST_TIMEOUT', 'listen.timeout'],
])

/** The client has left. That is no request. */
function isGone(error: NodeJS.ErrnoException): boolean {
  return error.code === 'ECONNRESET' || error.syscall !== undefined
}

/** Codings besides `chunked` are unknown here, and Node lets some of them pass (RFC 9112 §6.1). */
function isPlainlyFramed({ headers }: IncomingMessage): boolean {
  const coding = headers['transfer-encoding']
  return coding === undefined || coding.toLowerCase() === 'chunked'
}

function limitConnections(server: Server, options: ListenOptions): void {
  const { limits, clientAddress } = options
  const proxies = networkList(options.trustedProxies)
  const connections = slots(limits.address.connections)

  server.on('connection', (socket: Socket) => {
    const peer = clientAddress(socket.remoteAddress, [])
    if (isWithin(proxies, peer)) return
    const release = connections.take(networkOf(peer))
    if (release === undefined) socket.destroy()
    else socket.once('close', release)
  })
}
