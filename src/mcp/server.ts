import {
  type Implementation,
  McpServer,
  ProtocolError,
  ProtocolErrorCode,
  Server,
  type ServerContext,
  type ServerOptions,
} from '@modelcontextprotocol/server'
import type { AppVariables, Message } from '../context.ts'
import { Denied } from '../errors.ts'
import { REVISIONS } from './era.ts'
import { serveList } from './lists.ts'
import { type ReadParts, serveRead } from './reads.ts'
import { NOT_FOUND, type Refused, sendPlainErrors } from './refusal.ts'
import { bindingOf } from './request-state.ts'
import { callTool, type ToolCallParts } from './tool-call.ts'

export interface ServerParts extends ToolCallParts, ReadParts {
  readonly product: Implementation
  readonly instructions: string
}

/** Lists differ by caller, so they are private; how long a client may keep them, ms. */
const LIST = { cacheScope: 'private', ttlMs: 60_000 } as const
const LIVE = { cacheScope: 'private', ttlMs: 0 } as const

const OPTIONS = {
  supportedProtocolVersions: REVISIONS,
  cacheHints: {
    'server/discover': LIST,
    'tools/list': LIST,
    'resources/list': LIVE,
    'resources/templates/list': LIST,
    'resources/read': LIVE,
    'prompts/list': LIST,
  },
  inputRequired: { legacyShim: false },
} satisfies ServerOptions

/**
 * The SDK's server for one request. It holds what that request was authorized for and nothing else:
 * the one tool of a `tools/call`, the one resource of a `resources/read`, or a list of what this
 * caller may use.
 *
 * It is the SDK's low-level server: the input was parsed when it was authorized, and the wrapper has
 * checked the result, so there is nothing to register. Only a tool that repeats parameters as headers
 * is registered, because the SDK compares those of registered tools alone.
 *
 * @param refused hears why, when the request is refused from here on
 */
export function buildServer(
  parts: ServerParts,
  vars: AppVariables,
  refused: Refused,
): Server | McpServer {
  const { identity, operation, message, hold, isBehind } = vars
  let asked: string | Denied | undefined
  // A reload changes lists. Only `subscriptions/listen` can say so; 2025 clients have no stream here.
  const list = { listChanged: vars.era === 'modern' }
  const options: ServerOptions = {
    ...OPTIONS,
    capabilities: { logging: {}, tools: list, resources: list, prompts: list },
    instructions: parts.instructions,
    requestState: {
      async verify(state, ctx) {
        if (operation === undefined) throw new Error('This request asks nothing')
        asked = await parts.states
          .verify(state, bindingOf(identity, operation), ctx)
          .catch(unlessRefused)
      },
    },
  }
  if (message.method !== 'tools/call') {
    const server = quiet(new Server(parts.product, options), message, refused)
    serveList(server, parts, vars)
    serveRead(server, parts, vars)
    return server
  }

  const definition = parts.definitions.tools.get(operation?.rule.name ?? '')
  const call = (ctx: ServerContext): ReturnType<typeof callTool> => {
    if (operation === undefined || definition === undefined) {
      throw new ProtocolError(ProtocolErrorCode.InvalidParams, NOT_FOUND.tool)
    }
    if (operation.parsed.issues !== undefined) refused('handler.invalid-arguments')
    else if (asked instanceof Denied) refused(asked.reason)
    return callTool(parts, definition.tool, { identity, operation, hold, isBehind, asked }, ctx)
  }
  if (definition?.headerSchema === undefined) {
    const server = quiet(new Server(parts.product, options), message, refused)
    server.setRequestHandler('tools/call', (_request, ctx) => call(ctx))
    return server
  }
  const mcp = new McpServer(parts.product, options)
  quiet(mcp.server, message, refused)
  const { tool, headerSchema } = definition
  mcp.registerTool(tool.name, { inputSchema: headerSchema }, (_args, ctx) => call(ctx))
  return mcp
}

/**
 * The SDK answers whatever `verify` throws with "invalid state", and the client would give up a good
 * one. The call itself answers when that cannot be told.
 */
function unlessRefused(error: unknown): Denied {
  if (error instanceof Denied) return error
  throw error
}

/** What the SDK sends and reports quotes the request: errors leave in fixed words, reports stay here. */
function quiet(server: Server, message: Message, refused: Refused): Server {
  sendPlainErrors(server, message, refused)
  server.onerror = () => {
    // The audit trail has the refusal or the outcome.
  }
  return server
}
