import { once } from 'node:events'
import { type IncomingMessage, request as requestHttp } from 'node:http'
import { request as requestHttps } from 'node:https'
import { Readable } from 'node:stream'
import type { FetchLike } from '@modelcontextprotocol/client'
import type { RawTarget } from '../raw-http.ts'
import { SITE } from './proxies.ts'

/** The endpoint as clients know it. */
export const ENDPOINT = new URL(`https://${SITE}/mcp`)

/** `fetch` for whom the name of the site leads to this port, as in the DNS of a deployment. */
export function fetchThrough({ port, tls }: RawTarget): FetchLike {
  const request = tls === undefined ? requestHttp : requestHttps
  return async (url, { method = 'GET', headers, body, signal } = {}) => {
    const { pathname, search, host } = new URL(url)
    const outgoing = request({
      ...tls,
      host: '127.0.0.1',
      port,
      agent: false,
      method,
      path: pathname + search,
      headers: { ...Object.fromEntries(new Headers(headers)), host },
      ...(signal ? { signal } : {}),
    })
    outgoing.end(typeof body === 'string' ? body : undefined)
    const [incoming]: IncomingMessage[] = await once(outgoing, 'response')
    if (incoming === undefined) throw new Error('No response')
    const { statusCode: status = 0, rawHeaders } = incoming
    const pairs = rawHeaders.flatMap((name, index): [string, string][] =>
      index % 2 === 0 ? [[name, rawHeaders[index + 1] ?? '']] : [],
    )
    const empty = status === 202 || status === 204
    return new Response(empty ? null : Readable.toWeb(incoming), { status, headers: pairs })
  }
}
