import { createServer, type RequestListener, type Server } from 'node:http'

/** State of each part by name: `ok`, or one word that says what is wrong. Holds no secret. */
type States = Readonly<Record<string, string>>

export interface Readiness {
  /** What is of this process alone: ready only while each is `ok`. */
  readonly own: States
  /** What others use, too. It only informs: one outage must not take every replica out. */
  readonly shared: States
}

const CONNECTIONS = 50
/** Until the headers have arrived, ms. Bodies are not waited for. */
const HEADERS_MS = 5000

/**
 * Threat:  The probes are a way around the controls of the public listener, or are held up until the
 *          platform takes the process for dead.
 * Rule:    `/livez` while the process runs, `/readyz` 200 while every part of its own is ok. GET only,
 *          exact paths, no CORS, one request a connection, few connections, little time. There is no
 *          authentication: bind it where only the platform reaches it.
 * Config:  `ADMIN_HOST`, `ADMIN_PORT`
 * Refuses: 404, 405
 * Source:  OWASP ASVS 5.0 13.4.2, 13.4.5
 */
export function adminListener(readiness: () => Readiness): Server {
  const server = createServer(
    { headersTimeout: HEADERS_MS, connectionsCheckingInterval: 1000 },
    probes(readiness),
  )
  server.maxConnections = CONNECTIONS
  return server
}

function probes(readiness: () => Readiness): RequestListener {
  const paths = new Map<string, () => Readiness>([
    ['/livez', () => ({ own: {}, shared: {} })],
    ['/readyz', readiness],
  ])

  return function probes(incoming, outgoing) {
    const probe = paths.get(incoming.url ?? '')
    if (probe === undefined) return outgoing.writeHead(404, HEADERS).end()
    if (incoming.method !== 'GET') {
      return outgoing.writeHead(405, { ...HEADERS, allow: 'GET' }).end()
    }
    const { own, shared } = probe()
    const ready = Object.values(own).every((state) => state === 'ok')
    const body = JSON.stringify({ status: ready ? 'ok' : 'unavailable', ...own, ...shared })
    outgoing.writeHead(ready ? 200 : 503, { ...HEADERS, 'content-type': 'application/json' })
    return outgoing.end(body)
  }
}

const HEADERS = {
  'cache-control': 'no-store',
  connection: 'close',
  'x-content-type-options': 'nosniff',
} as const
