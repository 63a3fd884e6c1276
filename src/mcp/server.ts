import {
  type Implementation,
  McpServer,
  ProtocolError,
  ProtocolErrorCode,
  type ServerOptions,
} from '@modelcontextprotocol/server'
import type { AppVariables } from '../context.ts'
import { serveList } from './lists.ts'
import type { ReadParts } from './reads.ts'
import { serveRead } from './reads.ts'
import { NOT_FOUND, sendPlainErrors } from './refusal.ts'
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
  /** Lists never change while the process runs, so there is nothing to subscribe to. */
  capabilities: {
    logging: {},
    tools: { listChanged: false },
    resources: { listChanged: false },
    prompts: { listChanged: false },
  },
  cacheHints: {
    'server/discover': LIST,
    'tools/list': LIST,
    'resources/list': LIVE,
    'resources/templates/list': LIST,
    'resources/read': LIVE,
    'prompts/list': LIST,
  },
  inputRequired: { legacyShim: false },
} as const satisfies ServerOptions

/**
 * The SDK's server for one request. It holds what that request was authorized for and nothing else:
 * the one tool of a `tools/call`, the one resource of a `resources/read`, or a list of what this
 * caller may use.
 */
export function buildServer(parts: ServerParts, vars: AppVariables): McpServer {
  const { identity, operation, message } = vars
  let asked: string | undefined

  const mcp = new McpServer(parts.product, {
    ...OPTIONS,
    instructions: parts.instructions,
    requestState: {
      async verify(state, ctx) {
        if (operation === undefined) throw new Error('This request asks nothing')
        asked = await parts.states.verify(state, bindingOf(identity, operation), ctx)
      },
    },
  })
  sendPlainErrors(mcp)
  mcp.server.onerror = () => {
    // What the SDK reports here quotes the request. The audit trail has the refusal or the outcome.
  }

  if (message.method !== 'tools/call') {
    serveList(mcp.server, parts, vars)
    serveRead(mcp.server, parts, vars)
    return mcp
  }
  const definition = parts.definitions.tools.get(operation?.rule.name ?? '')
  if (operation === undefined || definition === undefined) {
    mcp.server.setRequestHandler('tools/call', () => {
      throw new ProtocolError(ProtocolErrorCode.InvalidParams, NOT_FOUND.tool)
    })
    return mcp
  }
  const { tool, inputSchema, outputSchema } = definition
  mcp.registerTool(
    tool.name,
    { inputSchema: inputSchema(operation.parsed), outputSchema },
    (_args, ctx) => callTool(parts, tool, { identity, operation, asked }, ctx),
  )
  return mcp
}
