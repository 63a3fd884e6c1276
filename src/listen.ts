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
import type { Duplex } from 'node:stream'
import { getRequestListener, RequestError } from '@hono/node-server'
import type { Hono } from 'hono'
import type { AuditTrail } from './audit/trail.ts'
import { type ClientAddress, networkOf } from './client-address.ts'
import type { Config } from './config.ts'
import type { AppEnv } from './context.ts'
import type { DenyReason } from './errors.ts'
import { isWithin, networkList } from './networks.ts'
import type { LimitsPolicy } from './policy.ts'
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
  /** Refuses new requests and ends connections as they fall idle. Resolves when all are gone. */
  drain(): Promise<void>
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
 */
export function publicListener(options: ListenOptions): PublicListener {
  const { limits, tls } = options
  const settings = serverSettings(limits)
  const server =
    tls === undefined
      ? createServer(settings)
      : createTlsServer({ ...settings, ...tlsSettings(tls) })
  const refuse = refuser(options.trail, options.clientAddress)
  let app: Hono<AppEnv> | undefined
  let unavailable: DenyReason = 'listen.starting'

  function serve(incoming: IncomingMessage, outgoing: ServerResponse): void {
    refuse.track(incoming, outgoing)
    if (app === undefined) return refuse.exchange(incoming, outgoing, unavailable)
    const listener = getRequestListener(app.fetch, {
      errorHandler: (error) => {
        const reason = error instanceof RequestError ? 'listen.malformed' : 'answer.bug'
        refuse.exchange(incoming, outgoing, reason)
      },
    })
    void listener(incoming, outgoing)
  }

  server.on('request', serve)
  server.on('checkContinue', serve)
  server.on('checkExpectation', (incoming: IncomingMessage, outgoing: ServerResponse) =>
    refuse.exchange(incoming, outgoing, 'listen.expectation'),
  )
  server.on('upgrade', (incoming: IncomingMessage, socket: Duplex) =>
    refuse.socket(socket, 'listen.upgrade', incoming),
  )
  server.on('connect', (incoming: IncomingMessage, socket: Duplex) =>
    refuse.socket(socket, 'listen.connect', incoming),
  )
  server.on('clientError', (error: NodeJS.ErrnoException, socket: Duplex) =>
    refuse.socket(socket, REASONS.get(error.code ?? '') ?? 'listen.malformed'),
  )
  limitConnections(server, options)
  cutStalledReaders(server, limits.timeouts.slowReaderMs)

  return {
    server,
    serve(next) {
      app = next
    },
    drain() {
      app = undefined
      unavailable = 'listen.draining'
      return new Promise((resolve) => {
        const idle = setInterval(() => server.closeIdleConnections(), DRAIN_INTERVAL_MS)
        server.close(() => {
          clearInterval(idle)
          resolve()
        })
      })
    },
  }
}

/** Codes of Node for what its parser refuses; anything else is malformed. */
const REASONS: ReadonlyMap<string, DenyReason> = new Map([
  ['HPE_HEADER_OVERFLOW', 'listen.headers-too-large'],
  ['ERR_HTTP_REQUEST_TIMEOUT', 'listen.timeout'],
])

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

/** A socket that is silent is fine; one that has bytes waiting and takes none is cut. */
function cutStalledReaders(server: Server, slowReaderMs: number): void {
  server.setTimeout(slowReaderMs, (socket) => {
    if (socket.writableLength > 0) socket.destroy()
  })
}
