import { hash } from 'node:crypto'
import type { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'

/**
 * The client certificate of a connection, as tokens name it: SHA-256 of its DER form, base64url
 * (RFC 8705 §3.1).
 *
 * @returns `undefined` unless TLS in this process has verified one. What a proxy says of certificates
 *   in headers is not read.
 */
export function clientCertificate(socket: Socket): string | undefined {
  if (!(socket instanceof TLSSocket) || !socket.authorized) return undefined
  const certificate = socket.getPeerX509Certificate()
  return certificate === undefined ? undefined : hash('sha256', certificate.raw, 'base64url')
}
