import type { RequestListener } from 'node:http'

/** Why the process is not ready, and what else an operator wants to know. Holds no secret. */
export interface Readiness {
  readonly ready: boolean
  /** State of each part by name: `ok`, or one word that says what is wrong. */
  readonly parts: Readonly<Record<string, string>>
}

/**
 * The admin listener's answers: `/livez` while the process runs, `/readyz` while it takes calls.
 * GET only, exact paths. It has no authentication: bind it where only the platform reaches it.
 */
export function probes(readiness: () => Readiness): RequestListener {
  const paths = new Map<string, () => Readiness>([
    ['/livez', () => ({ ready: true, parts: {} })],
    ['/readyz', readiness],
  ])

  return function probes(incoming, outgoing) {
    const probe = paths.get(incoming.url ?? '')
    if (probe === undefined) return outgoing.writeHead(404, HEADERS).end()
    if (incoming.method !== 'GET') {
      return outgoing.writeHead(405, { ...HEADERS, allow: 'GET' }).end()
    }
    const { ready, parts } = probe()
    const body = JSON.stringify({ status: ready ? 'ok' : 'unavailable', ...parts })
    outgoing.writeHead(ready ? 200 : 503, { ...HEADERS, 'content-type': 'application/json' })
    return outgoing.end(body)
  }
}

const HEADERS = { 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' } as const
