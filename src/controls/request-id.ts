import { randomUUID } from 'node:crypto'
import type { MiddlewareHandler } from 'hono'
import type { ClientAddress } from '../client-address.ts'
import { clientCertificate } from '../client-certificate.ts'
import type { AppEnv } from '../context.ts'
import { rawHeadersOf } from '../raw-headers.ts'
import { outlives } from '../when-closed.ts'

/**
 * Threat:  A caller chooses the id under which its request is found, or the address it is counted
 *          under, and hides among others.
 * Rule:    the id is ours, from the CSPRNG, and is on every answer. Forwarding headers are read only
 *          when the TCP peer is a trusted proxy.
 * Config:  `MCP_TRUSTED_PROXIES`
 * Refuses: nothing
 * Source:  OWASP ASVS 5.0 4.1.3, 15.3.4, 16.2.1
 */
export function requestId(clientAddress: ClientAddress): MiddlewareHandler<AppEnv> {
  return async function requestId(c, next) {
    const { incoming, outgoing } = c.env
    const headers = rawHeadersOf(incoming)
    c.set('startedAt', performance.now())
    c.set('requestId', randomUUID())
    c.set('headers', headers)
    c.set('clientCertificate', clientCertificate(incoming.socket))
    c.set('path', c.req.path)
    c.set('isBehind', () => outgoing.writableNeedDrain)
    c.set('outlives', (work) => outlives(outgoing, work))
    c.set(
      'address',
      clientAddress(incoming.socket.remoteAddress, headers.get('x-forwarded-for') ?? []),
    )
    await next()
    c.res.headers.set('x-request-id', c.get('requestId'))
  }
}
