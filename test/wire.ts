import { callOf, type Server } from './server.ts'

/** Requests as bytes. `AUTHORITY` and `KEY` stand for those of the server until `filled` puts them in. */

/** In headers and bodies of all requests; it must not be found in any record. */
export const MARK = 'canary-not-to-be-recorded'

export const POST = 'POST /mcp HTTP/1.1'
export const HOST = 'Host: AUTHORITY'
export const CREDENTIAL = 'Authorization: Bearer KEY'
export const TYPE = 'Content-Type: application/json'
export const ACCEPT = 'Accept: application/json, text/event-stream'
export const CHUNKED = 'Transfer-Encoding: chunked'
export const CLOSE = 'Connection: close'

/** What makes a call good, but for its Host and its length. */
export const REST: readonly string[] = [CREDENTIAL, TYPE, ACCEPT, `X-Mark: ${MARK}`]

export const BODY = callOf('echo', { text: MARK })
export const LENGTH = `Content-Length: ${BODY.length}`
export const CHUNKS = `${chunk(BODY)}0\r\n\r\n`

/** Start line and headers as they stand, each on a line of its own. */
export function head(...lines: readonly string[]): string {
  return `${lines.join('\r\n')}\r\n\r\n`
}

/** The head of a good call with these headers added. */
export function post(...headers: readonly string[]): string {
  return head(POST, HOST, ...REST, ...headers)
}

/** A whole good call with this message. */
export function callWith(message: string, ...headers: readonly string[]): string {
  return post(`Content-Length: ${Buffer.byteLength(message)}`, ...headers) + message
}

/** The head of a request for a path that does not exist. */
export function get(...headers: readonly string[]): string {
  return head('GET /x HTTP/1.1', HOST, ...headers)
}

export function chunk(text: string, extension = ''): string {
  return `${text.length.toString(16)}${extension}\r\n${text}\r\n`
}

export function filled(wire: string, { port, key }: Pick<Server, 'port' | 'key'>): string {
  return wire.replaceAll('AUTHORITY', `127.0.0.1:${port}`).replaceAll('KEY', key)
}
