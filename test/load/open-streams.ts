import { connect, type Socket } from 'node:net'
import { META } from '../app.ts'
import type { Server } from '../server.ts'
import { filled, HOST, head, POST, REST } from '../wire.ts'

/** A `subscriptions/listen` stream that somebody keeps open and reads. */
export interface OpenStream {
  readonly socket: Socket
  /** What has come so far. */
  text(): string
  /** Everything that came, once the other side has closed. */
  readonly closed: Promise<string>
}

const LISTEN = JSON.stringify({
  jsonrpc: '2.0',
  id: 7,
  method: 'subscriptions/listen',
  params: { notifications: { toolsListChanged: true }, _meta: META },
})
const WIRE =
  head(
    POST,
    HOST,
    ...REST,
    'MCP-Protocol-Version: 2026-07-28',
    'Mcp-Method: subscriptions/listen',
    `Content-Length: ${LISTEN.length}`,
  ) + LISTEN

/** The end of a chunked body. */
const LAST_CHUNK = '0\r\n\r\n'

/** Opens one and waits for its acknowledgement. @throws {Error} when it is refused or cut before. */
async function openStream(server: Pick<Server, 'port' | 'key'>): Promise<OpenStream> {
  const socket = connect({ host: '127.0.0.1', port: server.port })
  const opened = Promise.withResolvers<void>()
  const closed = Promise.withResolvers<string>()
  let text = ''
  socket.setEncoding('latin1').on('data', (chunk) => {
    text += chunk
    if (text.includes('notifications/subscriptions/acknowledged')) opened.resolve()
  })
  socket.on('error', () => {
    // A reset is one way to close; what has come says whether it was too early.
  })
  socket.on('close', () => {
    closed.resolve(text)
    opened.reject(new Error(`No stream: ${text.slice(0, 200)}`))
  })
  socket.write(filled(WIRE, server))
  await opened.promise
  return { socket, text: () => text, closed: closed.promise }
}

/** Whether it has ended with its result and was not cut. */
export function isWhole(stream: string): boolean {
  return stream.includes('"id":7,"result":') && stream.endsWith(LAST_CHUNK)
}

/** Opens so many, some at a time. */
export async function openStreams(
  server: Pick<Server, 'port' | 'key'>,
  count: number,
): Promise<OpenStream[]> {
  const all: OpenStream[] = []
  while (all.length < count) {
    const some = Array.from({ length: Math.min(AT_ONCE, count - all.length) }, () =>
      openStream(server),
    )
    all.push(...(await Promise.all(some)))
  }
  return all
}

const AT_ONCE = 20
