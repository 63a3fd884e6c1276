import { readFileSync } from 'node:fs'
import {
  createServer,
  type IncomingMessage,
  type Server,
  type ServerOptions,
  type ServerResponse,
} from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { Socket } from 'node:net'
import { getRequestListener, RequestError } from '@hono/node-server'
import type { Hono } from 'hono'
import type { AuditTrail } from './audit/trail.ts'
import { type ClientAddress, networkOf } from './client-address.ts'
import type { Config } from './config.ts'
import type { AppEnv } from './context.ts'
import type { DenyReason } from './errors.ts'
import { isWithin, networkList } from './networks.ts'
import type { LimitsPolicy } from './policy.ts'
import { Problems } from './problems.ts'
import { refuser } from './refuse.ts'
import { slots } from './slots.ts'

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
  /** Refuses new requests from now on, and ends connections as they fall idle. */
  drain(): {
    /** When every request that was accepted has its answer or its stream. */
    readonly answered: Promise<void>
    /** When all connections are gone. */
    readonly closed: Promise<void>
  }
}

/** How often Node looks for slow headers and bodies, and we for idle connections, ms. */
const CHECK_INTERVAL_MS = 1000
const DRAIN_INTERVAL_MS = 50

/**
 * Threat:  What Node or the adapter answer by themselves has passed no control and left no record:
 *          parse errors, slow clients, upgrades, CONNECT, `Expect`, malformed targets and hosts.
 * Rule:    each of them gets the answer of `answer.ts`, one record, and a closed connection. Headers,
 *          request time, connections in total and per address (trusted proxies aside) are bounded; a
 *          reader that stalls is cut. `100 Continue` is sent by the control that reads the body.
 * Policy:  policies/limits.yaml `headers.bytes`, `timeouts`, `connections`, `address.connections`
 * Refuses: 400 `listen.malformed`, `listen.upgrade`, `listen.connect`; 408 `listen.timeout`;
 *          417 `listen.expectation`; 431 `listen.headers-too-large`; 503 `listen.starting`,
 *          `listen.draining`
 * Source:  RFC 9112 §3.2, §6.3, §9.3; RFC 9110 §10.1.1; OWASP ASVS 5.0 4.2.1, 13.1.2
 *
 * @throws {Problems} when a file of `tls` is not what its setting says.
 */
export function publicListener(options: ListenOptions): PublicListener {
  const { limits, tls } = options
  const settings = serverSettings(limits)
  const server = tls === undefined ? createServer(settings) : tlsServer(settings, tls)
  const refuse = refuser(options.trail, options.clientAddress)
  let app: Hono<AppEnv> | undefined
  let unavailable: DenyReason = 'listen.starting'
  const answered = Promise.withResolvers<void>()
  let waiting = 0

  async function handle(app: Hono<AppEnv>, request: Request, env: AppEnv['Bindings']) {
    waiting += 1
    try {
      return await app.fetch(request, env)
    } finally {
      waiting -= 1
      if (waiting === 0 && unavailable === 'listen.draining') answered.resolve()
    }
  }

  function serve(incoming: IncomingMessage, outgoing: ServerResponse): void {
    const current = app
    if (current === undefined || !isPlainlyFramed(incoming)) {
      const reason = current === undefined ? unavailable : 'listen.malformed'
      refuse.exchange(incoming, outgoing, reason)
      return
    }
    refuse.track(incoming, outgoing)
    outgoing.on('timeout', cutStalledReader)
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
  // Without an answer to wait for Node cuts the connection by itself: `keepAliveTimeout` rests on that.
  server.timeout = limits.timeouts.slowReaderMs

  return {
    server,
    serve(next) {
      app = next
    },
    drain() {
      app = undefined
      unavailable = 'listen.draining'
      if (waiting === 0) answered.resolve()
      const closed = Promise.withResolvers<void>()
      const idle = setInterval(() => server.closeIdleConnections(), DRAIN_INTERVAL_MS)
      server.close(() => {
        clearInterval(idle)
        closed.resolve()
      })
      return { answered: answered.promise, closed: closed.promise }
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

function serverSettings({ headers, timeouts }: LimitsPolicy): ServerOptions {
  return {
    requireHostHeader: false,
    insecureHTTPParser: false,
    maxHeaderSize: headers.bytes,
    headersTimeout: timeouts.headersMs,
    requestTimeout: timeouts.requestMs,
    keepAliveTimeout: timeouts.keepAliveMs,
    connectionsCheckingInterval: CHECK_INTERVAL_MS,
    noDelay: true,
  }
}

/** @throws {Problems} when the files are not a certificate and its key. */
function tlsServer(settings: ServerOptions, tls: NonNullable<Config['tls']>): Server {
  try {
    return createTlsServer({ ...settings, ...tlsSettings(tls) })
  } catch {
    // What OpenSSL says is about bytes of the files. The person needs the names.
    const message = 'must be a certificate chain in PEM for the private key in MCP_TLS_KEY_FILE'
    throw new Problems([{ field: 'MCP_TLS_CERT_FILE', message }])
  }
}

function tlsSettings({ certFile, keyFile, clientCaFile }: NonNullable<Config['tls']>) {
  return {
    cert: readFileSync(certFile),
    key: readFileSync(keyFile),
    minVersion: 'TLSv1.2' as const,
    handshakeTimeout: 10_000,
    ALPNProtocols: ['http/1.1'],
    ...(clientCaFile === undefined
      ? {}
      : { ca: readFileSync(clientCaFile), requestCert: true, rejectUnauthorized: true }),
  }
}

function limitConnections(server: Server, options: ListenOptions): void {
  const { limits, clientAddress } = options
  const proxies = networkList(options.trustedProxies)
  const connections = slots(limits.address.connections)
  server.maxConnections = limits.connections

  server.on('connection', (socket: Socket) => {
    const peer = clientAddress(socket.remoteAddress, [])
    if (isWithin(proxies, peer)) return
    const release = connections.take(networkOf(peer))
    if (release === undefined) socket.destroy()
    else socket.once('close', release)
  })
}

/** A connection that is silent while its call runs is fine; one that has bytes waiting and takes none is cut. */
function cutStalledReader(socket: Socket): void {
  if (socket.writableLength > 0) socket.destroy()
}
