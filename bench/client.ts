import { type Answer, type Connection, connection } from './http.ts'

/** `2026`: MCP 2026-07-28, no handshake. `2025`: MCP 2025-11-25, `initialize` first. */
export type Era = '2025' | '2026'

/** Where and as whom to call. */
export interface Target {
  readonly port: number
  /** API keys, one request with each in turn; none for a server without authentication. */
  readonly keys: readonly string[]
  readonly era: Era
}

export interface Client {
  /**
   * Sends one JSON-RPC request.
   *
   * @param onBody told each piece of the answer as it arrives
   * @returns its result
   * @throws when the answer is an error, or not for this request
   */
  request(
    method: string,
    params: Readonly<Record<string, unknown>>,
    onBody?: (piece: string) => void,
  ): Promise<object>
  /** Ends its connection, and with it what is in flight. The next request opens another one. */
  close(): void
}

const REVISION = { '2025': '2025-11-25', '2026': '2026-07-28' } as const
const CLIENT = { name: 'bench', version: '1' }

let nextId = 1
let nextKey = 0

/** A caller with a connection of its own, after the handshake if its era has one. */
export async function openClient({ port, keys, era }: Target): Promise<Client> {
  const wire = connection(port)
  const headers = [
    'POST /mcp HTTP/1.1',
    `Host: 127.0.0.1:${port}`,
    'Accept: application/json, text/event-stream',
    'Content-Type: application/json',
  ]
  const key = (): readonly string[] => {
    const next = keys[nextKey++ % keys.length]
    return next === undefined ? [] : [`Authorization: Bearer ${next}`]
  }
  if (era === '2025') headers.push(...(await handshake(wire, [...headers, ...key()])))
  headers.push(`MCP-Protocol-Version: ${REVISION[era]}`)

  return {
    async request(method, params, onBody) {
      const id = nextId++
      const named = typeof params['name'] === 'string' ? [`Mcp-Name: ${params['name']}`] : []
      const modern = era === '2026' ? [`Mcp-Method: ${method}`, ...named] : []
      const lines = [...headers, ...modern, ...key()]
      const sent = era === '2026' ? { ...params, _meta: metaOf(params['_meta']) } : params
      const message = { method, params: sent, jsonrpc: '2.0', id }
      return resultOf(await wire.send(text(lines, message), onBody), id)
    },
    close: wire.close,
  }
}

/** @returns the headers of what follows: the session, where the server made one */
async function handshake(wire: Connection, headers: readonly string[]): Promise<readonly string[]> {
  const id = nextId++
  const params = { protocolVersion: REVISION['2025'], capabilities: {}, clientInfo: CLIENT }
  const answer = await wire.send(
    text(headers, { method: 'initialize', params, jsonrpc: '2.0', id }),
  )
  resultOf(answer, id)
  const session = /\r\nmcp-session-id: *([^\r]+)/i.exec(answer.head)?.[1]
  const more = session === undefined ? [] : [`Mcp-Session-Id: ${session}`]
  const version = `MCP-Protocol-Version: ${REVISION['2025']}`
  const note = { method: 'notifications/initialized', jsonrpc: '2.0' }
  const { status } = await wire.send(text([...headers, ...more, version], note))
  if (status >= 300) throw new Error(`the handshake ended with ${status}`)
  return more
}

function metaOf(own: unknown): object {
  return {
    'io.modelcontextprotocol/protocolVersion': REVISION['2026'],
    'io.modelcontextprotocol/clientInfo': CLIENT,
    'io.modelcontextprotocol/clientCapabilities': {},
    ...(typeof own === 'object' ? own : {}),
  }
}

function text(headers: readonly string[], message: object): string {
  const body = JSON.stringify(message)
  return [...headers, `Content-Length: ${body.length}`, '', body].join('\r\n')
}

function resultOf({ status, head, body }: Answer, id: number): object {
  const isStream = /\r\ncontent-type: *text\/event-stream/i.test(head)
  const answers = status === 200 ? (isStream ? eventsIn(body) : [JSON.parse(body)]) : []
  const answer: unknown = answers.find((message) => get(message, 'id') === id)
  const result = get(answer, 'result')
  if (typeof result === 'object' && result !== null) return result
  throw new Error(`wrong answer: ${status} ${body.slice(0, 300)}`)
}

/** @returns the messages of an event stream, those that are complete */
function eventsIn(stream: string): readonly unknown[] {
  const blocks = stream.split(/\r?\n\r?\n/).slice(0, -1)
  return blocks
    .map((block) => /^data: ?(.*)$/m.exec(block)?.[1])
    .filter((data) => data !== undefined && data !== '')
    .map((data): unknown => JSON.parse(data ?? ''))
}

/** @returns the value of a field, or `undefined` where there is none */
export function get(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined
}
