import type { IncomingMessage, ServerResponse } from 'node:http'
import { json as bodyOf } from 'node:stream/consumers'
import { z } from 'zod'
import { httpServer, type TestServer } from '../http-server.ts'

const message = z.object({
  id: z.number(),
  method: z.string(),
  params: z.looseObject({ arguments: z.record(z.string(), z.unknown()).optional() }),
})

/** One call of a tool, and the stream that answers it. */
export interface Call {
  readonly params: z.output<typeof message>['params']
  readonly headers: IncomingMessage['headers']
  notify(method: string, params: object): void
  /** Ends the stream. */
  answer(result: object): void
}

/** A server of 2026-07-28 without an SDK or a control, which says anything at all to any page. */
export interface ScriptedServer extends Pick<TestServer, 'down' | 'up'>, AsyncDisposable {
  readonly url: string
  /** Tells open streams that the list has changed. */
  offer(tools: readonly object[]): void
  call: (call: Call) => void
  /** Whether there are streams that tell of changes. */
  tells: boolean
}

export async function startScriptedServer(offered: readonly object[]): Promise<ScriptedServer> {
  let tools = offered
  const listening = new Set<ServerResponse>()
  const server = await httpServer(async (request, response) => {
    response.setHeader('access-control-allow-origin', '*')
    response.setHeader('access-control-allow-headers', [...NAMES, 'authorization'].join(', '))
    if (request.method === 'OPTIONS') return void response.writeHead(204).end()
    // The page asks who gives out tokens for this server: nobody.
    if (request.method === 'GET') return sendJson(response, { resource: scripted.url })
    const { id, method, params } = message.parse(await bodyOf(request))
    const common = { resultType: 'complete', ttlMs: 0, cacheScope: 'private' }
    const send = (body: object): boolean =>
      response.write(`event: message\ndata: ${JSON.stringify({ jsonrpc: '2.0', ...body })}\n\n`)
    if (method === 'server/discover' || method === 'tools/list') {
      const result = method === 'tools/list' ? { ...common, tools } : common
      return sendJson(response, { jsonrpc: '2.0', id, result })
    }
    if (method === 'subscriptions/listen' && !scripted.tells) {
      return sendJson(response, { jsonrpc: '2.0', id, error: { code: -32601, message: 'None' } })
    }
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    if (method === 'subscriptions/listen') {
      listening.add(response)
      response.once('close', () => listening.delete(response))
      send({ method: 'notifications/subscriptions/acknowledged', params: {} })
    } else {
      scripted.call({
        params,
        headers: request.headers,
        notify: (name, content) => void send({ method: name, params: content }),
        answer(result) {
          send({ id, result: { ...common, ...result } })
          response.end()
        },
      })
    }
  })
  const scripted: ScriptedServer = {
    url: `${server.origin}/mcp`,
    down: server.down,
    up: server.up,
    offer(changed) {
      tools = changed
      for (const response of listening) {
        const notification = { jsonrpc: '2.0', method: 'notifications/tools/list_changed' }
        response.write(`event: message\ndata: ${JSON.stringify(notification)}\n\n`)
      }
    },
    call: ({ answer }) => answer({ content: [] }),
    tells: true,
    [Symbol.asyncDispose]: server.down,
  }
  return scripted
}

const NAMES = [
  'content-type',
  'mcp-protocol-version',
  'mcp-method',
  'mcp-name',
  'mcp-param-region',
] as const

function sendJson(response: ServerResponse, body: object): void {
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body))
}
