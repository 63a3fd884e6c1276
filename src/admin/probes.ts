import { createServer, type RequestListener, type Server } from 'node:http'

/** State of each part by name: `ok`, or in a few words what is wrong. Holds no secret. */
type States = Readonly<Record<string, string>>

export interface Readiness {
  /** What is of this process alone: ready only while each is `ok`. */
  readonly own: States
  /** What others use, too. It only informs: one outage, or one bad file, must not take every replica out. */
  readonly shared: States
  /** SHA-256 of the tools that are served, as `tools.manifest.json` has it. It only informs, too. */
  readonly toolsDigest: string
}

/** Something else to read there. It holds no secret and nothing that a caller chose. */
export type Page = () => Promise<{ readonly type: string; readonly body: string }>

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
 *
 * @param pages by path
 */
export function adminListener(
  readiness: () => Readiness,
  pages: ReadonlyMap<string, Page> = new Map(),
): Server {
  const server = createServer(
    { headersTimeout: HEADERS_MS, connectionsCheckingInterval: 1000 },
    probes(readiness, pages),
  )
  server.maxConnections = CONNECTIONS
  return server
}

function probes(readiness: () => Readiness, pages: ReadonlyMap<string, Page>): RequestListener {
  const paths = new Map<string, () => Promise<Answer>>([
    ['/livez', async () => ALIVE],
    ['/readyz', async () => readyzOf(readiness())],
  ])
  for (const [path, page] of pages) {
    paths.set(path, async () => ({ status: 200, ...(await page()) }))
  }

  return async function probes(incoming, outgoing) {
    const ask = paths.get(incoming.url ?? '')
    if (ask === undefined) return outgoing.writeHead(404, HEADERS).end()
    if (incoming.method !== 'GET') {
      return outgoing.writeHead(405, { ...HEADERS, allow: 'GET' }).end()
    }
    const { status, type, body } = await ask().catch(() => FAILED)
    return outgoing.writeHead(status, { ...HEADERS, 'content-type': type }).end(body)
  }
}

interface Answer {
  readonly status: 200 | 500 | 503
  readonly type: string
  readonly body: string
}

const ALIVE: Answer = { status: 200, type: 'application/json', body: '{"status":"ok"}' }
const FAILED: Answer = { status: 500, type: 'text/plain', body: '' }

function readyzOf({ own, shared, toolsDigest }: Readiness): Answer {
  const ready = Object.values(own).every((state) => state === 'ok')
  return {
    status: ready ? 200 : 503,
    type: 'application/json',
    body: JSON.stringify({ status: ready ? 'ok' : 'unavailable', ...own, ...shared, toolsDigest }),
  }
}

const HEADERS = {
  'cache-control': 'no-store',
  connection: 'close',
  'x-content-type-options': 'nosniff',
} as const
