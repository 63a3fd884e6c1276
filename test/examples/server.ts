import { once } from 'node:events'
import { createServer } from 'node:http'
import { json as bodyOf } from 'node:stream/consumers'
import { getRequestListener } from '@hono/node-server'
import {
  acceptedContent,
  createMcpHandler,
  inputRequired,
  McpServer,
  ResourceTemplate,
} from '@modelcontextprotocol/server'
import { z } from 'zod'
import { httpServer, json } from '../http-server.ts'

/** A bell that tests ring and wait for, so that no test sleeps. */
export interface Bell {
  readonly rung: Promise<void>
  ring(): void
}

function bell(): Bell {
  const { promise, resolve } = Promise.withResolvers<void>()
  return { rung: promise, ring: resolve }
}

/** An answer instead of MCP, for the refusals. */
export interface Refusal {
  readonly status: number
  readonly headers?: Readonly<Record<string, string>>
}

/** A small MCP server over a real socket whose tools do what the tests of the client need. */
export interface ToolServer extends AsyncDisposable {
  readonly url: string
  /** Lets `steps` go on after its first notification. */
  readonly proceed: Bell
  /** Rings when the signal of `hang` aborts. */
  readonly aborted: Bell
  /** `Authorization` headers as they came. */
  readonly credentials: (string | undefined)[]
}

export async function startToolServer(refusal?: Refusal): Promise<ToolServer> {
  const proceed = bell()
  const aborted = bell()
  const credentials: (string | undefined)[] = []
  const handler = createMcpHandler(() => toolServer(proceed, aborted), {
    legacy: 'stateless',
    responseMode: 'sse',
  })
  const listener = getRequestListener((request) => handler.fetch(request))
  const server = createServer((incoming, outgoing) => {
    credentials.push(incoming.headers.authorization)
    if (refusal === undefined) return void listener(incoming, outgoing)
    incoming.resume()
    outgoing.writeHead(refusal.status, { 'content-type': 'application/json', ...refusal.headers })
    outgoing.end('{"jsonrpc":"2.0","error":{"code":-32600,"message":"Refused"},"id":null}')
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('No port')
  return {
    url: `http://127.0.0.1:${address.port}/mcp`,
    proceed,
    aborted,
    credentials,
    async [Symbol.asyncDispose]() {
      await handler.close()
      server.close()
      server.closeAllConnections()
    },
  }
}

/** A server of 2026-07-28 without an SDK, which lists anything at all. */
export async function startBareServer(list: {
  readonly tools: readonly object[]
}): Promise<{ readonly url: string } & AsyncDisposable> {
  const common = { resultType: 'complete', ttlMs: 0, cacheScope: 'private' }
  const discovery = {
    supportedVersions: ['2026-07-28'],
    capabilities: { tools: {} },
    serverInfo: { name: 'bare', version: '1.0.0' },
  }
  const server = await httpServer(async (request, response) => {
    const { id, method } = message.parse(await bodyOf(request))
    const result = { ...common, ...(method === 'tools/list' ? list : discovery) }
    json({ jsonrpc: '2.0', id, result })(request, response)
  })
  return { url: `${server.origin}/mcp`, [Symbol.asyncDispose]: server.down }
}

const message = z.object({ id: z.unknown(), method: z.string() })

function text(value: string): { content: { type: 'text'; text: string }[] } {
  return { content: [{ type: 'text', text: value }] }
}

const CONFIRM = z.object({ confirm: z.boolean() })

function toolServer(proceed: Bell, aborted: Bell): McpServer {
  const server = new McpServer(
    { name: 'tools', version: '1.0.0' },
    { capabilities: { logging: {} } },
  )

  server.registerTool('steps', { description: 'Takes two steps' }, async (ctx) => {
    const step = async (progress: number, message: string): Promise<void> => {
      const progressToken = ctx.mcpReq._meta?.progressToken
      if (progressToken !== undefined) {
        const params = { progressToken, progress, total: 2, message }
        await ctx.mcpReq.notify({ method: 'notifications/progress', params })
      }
      await ctx.mcpReq.log('info', message)
      await ctx.mcpReq.log('debug', `${message} in detail`)
    }
    await step(1, 'one')
    await proceed.rung
    await step(2, 'two')
    return text('done')
  })

  server.registerTool('hang', { description: 'Waits until it is cancelled' }, async (ctx) => {
    await ctx.mcpReq.log('info', 'hanging')
    await new Promise((resolve) => ctx.mcpReq.signal.addEventListener('abort', resolve))
    aborted.ring()
    return text('aborted')
  })

  server.registerTool('fail', {}, async () => ({ ...text('out of paper'), isError: true }))

  server.registerTool('hostile', {}, async (ctx) => {
    await ctx.mcpReq.log('warning', 'log\u001b[2J\u202e\r\nforged: line')
    return text('clear\u001b[2Jed\u0007 \u202etxt.exe\nnext')
  })

  server.registerTool(
    'documents',
    {
      inputSchema: z.object({
        documents: z.array(z.object({ name: z.string(), text: z.string() })),
      }),
    },
    async ({ documents }) => ({
      ...text(JSON.stringify(documents)),
      structuredContent: { documents },
    }),
  )

  server.registerTool('confirm', {}, async (ctx) => {
    if (ctx.mcpReq.inputResponses === undefined) {
      return inputRequired({
        inputRequests: {
          confirm: inputRequired.elicit({ message: 'Really?', requestedSchema: CONFIRM }),
        },
      })
    }
    const answer = acceptedContent(ctx.mcpReq.inputResponses, 'confirm', CONFIRM)
    return text(answer?.confirm === true ? 'agreed' : 'declined')
  })

  server.registerResource(
    'note',
    new ResourceTemplate('note://{id}', { list: undefined }),
    {},
    (uri) => ({
      contents: [{ uri: uri.href, text: 'a note' }],
    }),
  )

  server.registerPrompt('greet', { argsSchema: z.object({ name: z.string() }) }, ({ name }) => ({
    messages: [{ role: 'user', content: { type: 'text', text: `Greet ${name}` } }],
  }))

  return server
}
