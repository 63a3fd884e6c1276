import { X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createServer, type Server, type ServerOptions } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
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
export function publicServer(limits: LimitsPolicy, tls: Config['tls']): Server {
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
  const server = tls === undefined ? createServer(settings) : tlsServer(settings, tls)
  server.maxConnections = limits.connections
  // A connection that is silent for so long is cut, unless its response listens for `timeout`.
  server.timeout = timeouts.slowReaderMs
  return server
}

function tlsServer(settings: ServerOptions, tls: NonNullable<Config['tls']>): Server {
  const { certFile, keyFile, clientCaFile } = tls
  const clients =
    clientCaFile === undefined
      ? {}
      : { ca: authorities(clientCaFile), requestCert: true, rejectUnauthorized: true }
  try {
    return createTlsServer({
      ...settings,
      ...clients,
      cert: readFileSync(certFile),
      key: readFileSync(keyFile),
      minVersion: 'TLSv1.2',
      handshakeTimeout: 10_000,
      ALPNProtocols: ['http/1.1'],
    })
  } catch {
    // What OpenSSL says is about bytes of the files. The person needs the names.
    const message = 'must be a certificate chain in PEM for the private key in MCP_TLS_KEY_FILE'
    throw new Problems([{ field: 'MCP_TLS_CERT_FILE', message }])
  }
}

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
