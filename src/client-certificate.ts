import { hash } from 'node:crypto'
import type { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'

/**
 * The client certificate of a connection, as tokens name it: SHA-256 of its DER form, base64url
 * (RFC 8705 §3.1).
 *
 * A connection outlives the handshake that verified its certificate, and a resumed TLS session repeats
 * none: it keeps the certificate, for which the client once proved the key, until the authorities are
 * read again. So the end of the certificate is looked at on every request.
 *
 * @returns `undefined` unless TLS in this process has verified one that has not ended. What a proxy
 *   says of certificates in headers is not read.
 */
export function clientCertificate(socket: Socket, nowMs = Date.now()): string | undefined {
  if (!(socket instanceof TLSSocket) || !socket.authorized) return undefined
  const certificate = socket.getPeerX509Certificate()
  if (certificate === undefined || certificate.validToDate.getTime() < nowMs) return undefined
  return hash('sha256', certificate.raw, 'base64url')
}
