import { vi } from 'vitest'
import type { Clock } from '../../../src/clock.ts'
import type { Policies } from '../../../src/policy.ts'
import { type Endpoint, type EndpointOptions, startEndpoint } from '../endpoint.ts'
import { open, type SendOptions } from '../wire.ts'

export interface SessionsOptions extends EndpointOptions {
  readonly clock?: Clock
  readonly sessions?: Partial<Policies['http']['sessions']>
  readonly limits?: Partial<Policies['limits']['principal']>
}

/** The product with sessions and HTTP+SSE. */
export function startSessions(options?: SessionsOptions): Promise<Endpoint> {
  return startEndpoint(withSessions(options))
}

export function withSessions({
  sessions,
  limits,
  policies = (shipped) => shipped,
  ...options
}: SessionsOptions = {}): EndpointOptions {
  return {
    ...options,
    policies: (shipped) =>
      policies({
        ...shipped,
        limits: { ...shipped.limits, principal: { ...shipped.limits.principal, ...limits } },
        http: {
          ...shipped.http,
          protocol: { legacy: 'sessions', httpSse: true },
          sessions: { ...shipped.http.sessions, ...sessions },
        },
      }),
  }
}

export function until(holds: () => boolean): Promise<true> {
  return vi.waitUntil(holds, { timeout: 10_000, interval: 10 })
}

/** A request or notification of 2025; a notification has `null` for its id. */
export function message(
  method: string,
  params: object = {},
  id: string | number | null = 7,
): object {
  return { jsonrpc: '2.0', ...(id === null ? {} : { id }), method, params }
}

export function initialize(capabilities: object = {}, protocolVersion = '2025-11-25'): object {
  const clientInfo = { name: 'test', version: '1.0.0' }
  return message('initialize', { protocolVersion, capabilities, clientInfo }, 0)
}

/** One event of a stream. */
export interface Event {
  readonly name: string | undefined
  readonly id: string | undefined
  readonly data: string
  /** What `data` is as JSON; `undefined` when it is none. */
  // biome-ignore lint/suspicious/noExplicitAny: messages are inspected by the tests
  readonly json: any
}

/** An answer that is read event by event. */
export interface Stream {
  readonly status: number
  readonly headers: Headers
  /** Everything that came so far. */
  readonly events: readonly Event[]
  /** @returns the first event that is such, when it has come. Throws when the stream ends before. */
  event(isSuch: (event: Event) => boolean): Promise<Event>
  /** Resolves when it has ended in good order. */
  readonly ended: Promise<void>
  leave(): void
}

export async function stream(
  endpoint: Pick<Endpoint, 'url' | 'key'>,
  sent: unknown,
  options: Omit<SendOptions, 'signal' | 'era'> = {},
): Promise<Stream> {
  const leaving = new AbortController()
  const response = await open(endpoint, sent, {
    era: 'legacy',
    ...options,
    signal: leaving.signal,
  })
  const events: Event[] = []
  let isOver = false
  const ended = (async () => {
    let text = ''
    const decoder = new TextDecoder()
    for await (const chunk of response.body ?? []) {
      text += decoder.decode(chunk, { stream: true })
      const parts = text.split('\n\n')
      text = parts.pop() ?? ''
      events.push(...parts.filter((part) => !part.startsWith(':')).map(eventOf))
    }
  })().finally(() => {
    isOver = true
  })
  ended.catch(() => undefined)
  return {
    status: response.status,
    headers: response.headers,
    events,
    async event(isSuch) {
      await until(() => isOver || events.some(isSuch))
      const found = events.find(isSuch)
      if (found === undefined) throw new Error('The stream ended without it')
      return found
    },
    ended,
    leave: () => leaving.abort(),
  }
}

function eventOf(text: string): Event {
  const fields = new Map(
    text.split('\n').map((line) => {
      const at = line.indexOf(': ')
      return [line.slice(0, at), line.slice(at + 2)] as const
    }),
  )
  const data = fields.get('data') ?? ''
  return { name: fields.get('event'), id: fields.get('id'), data, json: jsonOf(data) }
}

function jsonOf(data: string): unknown {
  try {
    return JSON.parse(data)
  } catch {
    return undefined
  }
}

export const isAnswerTo =
  (id: string | number) =>
  ({ json }: Event): boolean =>
    json?.id === id && json.method === undefined

export const isMethod =
  (method: string) =>
  ({ json }: Event): boolean =>
    json?.method === method

/** A client of 2025 with a session. */
export interface Peer {
  readonly id: string
  /** Sends a message of the session. */
  post(sent: unknown, options?: SendOptions): Promise<Stream>
  /** Opens a stream of the session. */
  listen(options?: SendOptions): Promise<Stream>
  /** Ends the session. */
  end(options?: SendOptions): Promise<Stream>
}

/** Begins a session as 2025 clients do. */
export async function begin(
  endpoint: Pick<Endpoint, 'url' | 'key'>,
  capabilities: object = {},
  options: SendOptions = {},
): Promise<Peer> {
  const { headers } = await stream(endpoint, initialize(capabilities), options)
  const id = headers.get('mcp-session-id')
  if (id === null) throw new Error('No session')
  const within = (own: SendOptions = {}): SendOptions => ({
    ...options,
    ...own,
    headers: { 'mcp-session-id': id, ...options.headers, ...own.headers },
  })
  const peer: Peer = {
    id,
    post: (sent, own) => stream(endpoint, sent, within(own)),
    listen: (own) => stream(endpoint, '', { ...within(own), method: 'GET' }),
    end: (own) => stream(endpoint, '', { ...within(own), method: 'DELETE' }),
  }
  await peer.post(message('notifications/initialized', {}, null))
  return peer
}
