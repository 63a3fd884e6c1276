import { META } from '../app.ts'
import { CANARY_HEADERS } from '../canaries.ts'
import type { Endpoint } from './endpoint.ts'

export type Era = 'modern' | 'legacy'

/** What a client of an era may send with a request. `null` removes a header. */
export interface SendOptions {
  readonly era?: Era
  readonly subject?: string
  readonly headers?: Readonly<Record<string, string | null>>
  readonly method?: string
  readonly signal?: AbortSignal
}

export interface Answer {
  readonly status: number
  readonly headers: Headers
  /** As it came. */
  readonly text: string
  /** JSON-RPC messages in order: one of a JSON answer, all of a stream. */
  // biome-ignore lint/suspicious/noExplicitAny: answers are inspected by the tests
  readonly messages: any[]
  /** The last message: the response. */
  // biome-ignore lint/suspicious/noExplicitAny: answers are inspected by the tests
  readonly json: any
}

/** Posts one message over a real socket, with the headers that a client of that era sends. */
export async function send(
  endpoint: Endpoint,
  message: unknown,
  options: SendOptions = {},
): Promise<Answer> {
  const response = await open(endpoint, message, options)
  const text = await response.text()
  const messages = messagesOf(text)
  return {
    status: response.status,
    headers: response.headers,
    text,
    messages,
    json: messages.at(-1),
  }
}

/** The same, but resolves with the headers: the body is still to come. */
export function open(
  endpoint: Pick<Endpoint, 'url' | 'key'>,
  message: unknown,
  { era = 'modern', subject, headers = {}, method = 'POST', signal }: SendOptions = {},
): Promise<Response> {
  const all: Record<string, string | null> = {
    ...CANARY_HEADERS,
    authorization: `Bearer ${endpoint.key(subject)}`,
    'content-type': 'application/json',
    accept: 'application/json, text/event-stream',
    ...(era === 'modern' ? modernHeaders(message) : { 'mcp-protocol-version': '2025-11-25' }),
    ...headers,
  }
  const sent = Object.entries(all).flatMap(([name, value]) =>
    value === null ? [] : [[name, value] as [string, string]],
  )
  const body = typeof message === 'string' ? message : JSON.stringify(message)
  return fetch(endpoint.url, {
    method,
    headers: sent,
    ...(method === 'POST' ? { body } : {}),
    ...(signal === undefined ? {} : { signal }),
  })
}

/** A request of an era: the modern one says in each request who is calling. */
export function request(
  era: Era,
  method: string,
  params: Readonly<Record<string, unknown>> = {},
  meta: Readonly<Record<string, unknown>> = {},
): { readonly id: number; readonly method: string; readonly params: Record<string, unknown> } {
  const _meta = era === 'modern' ? { ...META, ...meta } : meta
  const message = { jsonrpc: '2.0', id: 7, method, params: { ...params, _meta } }
  return message
}

/** A `tools/call` of an era. */
export function call(
  era: Era,
  name: string,
  args: unknown = {},
  meta: Readonly<Record<string, unknown>> = {},
): ReturnType<typeof request> {
  return request(era, 'tools/call', { name, arguments: args }, meta)
}

function modernHeaders(message: unknown): Record<string, string | null> {
  const { method, params } = partsOf(message)
  const name = params['name'] ?? params['uri']
  return {
    'mcp-protocol-version': '2026-07-28',
    'mcp-method': typeof method === 'string' ? method : null,
    'mcp-name': typeof name === 'string' ? name : null,
  }
}

function partsOf(message: unknown): { method: unknown; params: Record<string, unknown> } {
  if (!isRecord(message)) return { method: undefined, params: {} }
  const { method, params } = message
  return { method, params: isRecord(params) ? params : {} }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** @returns the JSON-RPC messages of a body, be it JSON or an event stream. */
function messagesOf(text: string): unknown[] {
  const data = [...text.matchAll(/^data: (.+)$/gm)].map(([, json = '']) => json)
  const texts = data.length > 0 ? data : [text]
  return texts.flatMap((json) => {
    try {
      return [JSON.parse(json)]
    } catch {
      return []
    }
  })
}
