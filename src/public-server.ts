import { X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createServer, type Server, type ServerOptions } from 'node:http'
import { createServer as createTlsServer, type Server as TlsServer } from 'node:https'
import { createSecureContext, type SecureContextOptions } from 'node:tls'
import type { Config } from './config.ts'
import type { LimitsPolicy } from './policy.ts'
import { Problems } from './problems.ts'

/** How often Node looks for slow headers and bodies, ms. */
const CHECK_INTERVAL_MS = 1000

/**
 * Node's server with every limit that Node can enforce; `listen.ts` says what is done about each.
 * HTTP/1.1 only, in TLS as well.
 *
 * @throws {Problems} when the files of `tls` are not a certificate, its key, and authorities.
 */
export function publicServer(
  limits: LimitsPolicy,
  tls: Config['tls'],
): {
  readonly server: Server /** Reads the files of `tls` again. @throws {Problems} */
  secure(): void
} {
  const { headers, timeouts } = limits
  const settings: ServerOptions = {
    requireHostHeader: false,
    insecureHTTPParser: false,
    maxHeaderSize: headers.bytes,
    headersTimeout: timeouts.headersMs,
    requestTimeout: timeouts.requestMs,
    keepAliveTimeout: timeouts.keepAliveMs,
    connectionsCheckingInterval: CHECK_INTERVAL_MS,
    noDelay: true,
  }
  const secured = tls === undefined ? undefined : tlsServer(settings, tls)
  const server = secured ?? createServer(settings)
  server.maxConnections = limits.connections
  // A connection that is silent for so long is cut, unless its response listens for `timeout`.
  server.timeout = timeouts.slowReaderMs
  return {
    server,
    secure() {
      if (tls !== undefined) secured?.setSecureContext(secureContext(tls))
    },
  }
}

function tlsServer(settings: ServerOptions, tls: TlsFiles): TlsServer {
  return createTlsServer({
    ...settings,
    ...secureContext(tls),
    handshakeTimeout: 10_000,
    ALPNProtocols: ['http/1.1'],
  })
}

/**
 * What TLS is made from: read at start, and again with each reload.
 *
 * @throws {Problems} when the files are not a certificate, its key, and authorities.
 */
function secureContext({ certFile, keyFile, clientCaFile }: TlsFiles): SecureContextOptions & {
  readonly requestCert?: true
  readonly rejectUnauthorized?: true
} {
  const clients =
    clientCaFile === undefined
      ? {}
      : ({ ca: authorities(clientCaFile), requestCert: true, rejectUnauthorized: true } as const)
  try {
    const context = {
      cert: readFileSync(certFile),
      key: readFileSync(keyFile),
      minVersion: 'TLSv1.2',
    } as const
    createSecureContext(context)
    return { ...context, ...clients }
  } catch {
    // What OpenSSL says is about bytes of the files. The person needs the names.
    const message = 'must be a certificate chain in PEM for the private key in MCP_TLS_KEY_FILE'
    throw new Problems([{ field: 'MCP_TLS_CERT_FILE', message }])
  }
}

type TlsFiles = NonNullable<Config['tls']>

/** OpenSSL takes a file without any certificate. The server would then refuse every client. */
function authorities(file: string): string {
  try {
    const pem = readFileSync(file, 'utf8')
    new X509Certificate(pem)
    return pem
  } catch {
    const message = 'must be certificates in PEM'
    throw new Problems([{ field: 'MCP_TLS_CLIENT_CA_FILE', message }])
  }
}
