import {
  type Implementation,
  McpServer,
  ProtocolError,
  ProtocolErrorCode,
  Server,
  type ServerContext,
  type ServerOptions,
} from '@modelcontextprotocol/server'
import type { LogLevel } from '../define.ts'
import { Denied } from '../errors.ts'
import { TASKS_EXTENSION } from '../tasks-extension.ts' // optional: tasks
import { REVISIONS } from './era.ts'
import { LIST_METHODS, serveList } from './lists.ts'
import { READ_METHODS, type ReadParts, serveRead } from './reads.ts'
import { NOT_FOUND, sendPlainErrors } from './refusal.ts'
import { bindingOf } from './request-state.ts'
import type { Served, ServedOf } from './served.ts'
import { callAsTask, hasTasks, serveTasks } from './tasks/serve-tasks.ts' // optional: tasks
import type { Tasks } from './tasks/tasks.ts' // optional: tasks
import { callTool, type ToolCallParts } from './tool-call.ts'

export interface ServerParts extends ToolCallParts, ReadParts {
  readonly product: Implementation
  readonly instructions: string
  /** Absent where a connection does what tasks are for. */ // optional: tasks
  readonly tasks?: Tasks // optional: tasks
}

/** Lists differ by caller, so they are private; how long a client may keep them, ms. */
const LIST = { cacheScope: 'private', ttlMs: 60_000 } as const
const LIVE = { cacheScope: 'private', ttlMs: 0 } as const

const TASKS = { extensions: { [TASKS_EXTENSION]: {} } } // optional: tasks

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
 */
export function requestServer(parts: ServerParts, served: Served): Server | McpServer {
  const { era, message, operation } = served.vars
  const servedOf = (): Served => served
  // A reload changes lists. Only `subscriptions/listen` can say so; 2025 clients have no stream here.
  const isModern = era === 'modern'
  const options = optionsOf(parts, { listChanged: isModern, subscribe: isModern }, servedOf)
  const definition = parts.definitions.tools.get(operation?.rule.name ?? '')

  if (message.method === 'tools/call' && definition?.headerSchema !== undefined) {
    const { tool, headerSchema } = definition
    const mcp = new McpServer(parts.product, options)
    quiet(mcp.server, servedOf)
    const call = (ctx: ServerContext): Promise<CallResult> => callOf(parts, served, ctx)
    mcp.registerTool(tool.name, { inputSchema: headerSchema }, (_args, ctx) => call(ctx))
    return mcp
  }
  const server = quiet(new Server(parts.product, options), servedOf)
  serve(server, parts, message.method, servedOf)
  return server
}

/**
 * The SDK's server for a connection, which serves many messages. Whoever owns the connection sends what
 * it says through `plainMessage`.
 */
export function connectionServer(
  parts: ServerParts,
  servedOf: ServedOf,
  revisions: string[] = REVISIONS,
): Server {
  const options = optionsOf(parts, { listChanged: true }, servedOf)
  const server = new Server(parts.product, { ...options, supportedProtocolVersions: revisions })
  let level: LogLevel = 'debug'
  server.setRequestHandler('logging/setLevel', ({ params }) => {
    level = params.level
    return {}
  })
  const connected = { ...parts, logLevel: () => level }
  for (const method of [...LIST_METHODS, ...READ_METHODS, 'tools/call']) {
    if (method === 'completion/complete' && !parts.definitions.complete) continue
    serve(server, connected, method, servedOf)
  }
  return server
}

/** Answers one method. Those that are not here are the SDK's own, or unknown. */
function serve(server: Server, parts: ServerParts, method: string, servedOf: ServedOf): void {
  if (method.startsWith('tasks/')) serveTasks(server, parts, servedOf) // optional: tasks
  const list = LIST_METHODS.find((name) => name === method)
  const read = READ_METHODS.find((name) => name === method)
  if (list !== undefined) serveList(server, parts, list, servedOf)
  else if (read !== undefined) serveRead(server, parts, read, servedOf)
  else if (method === 'tools/call') {
    server.setRequestHandler('tools/call', (_request, ctx) => callOf(parts, servedOf(ctx), ctx))
  }
}

type CallResult = Awaited<ReturnType<typeof callTool>>

async function callOf(parts: ServerParts, served: Served, ctx: ServerContext): Promise<CallResult> {
  const { vars, refused, asked } = served
  const { operation } = vars
  const definition = parts.definitions.tools.get(operation?.rule.name ?? '')
  if (operation === undefined || definition === undefined) {
    throw new ProtocolError(ProtocolErrorCode.InvalidParams, NOT_FOUND.tool)
  }
  if (operation.parsed.issues !== undefined) refused('handler.invalid-arguments')
  else if (asked instanceof Denied) refused(asked.reason)
  const handle = await callAsTask(parts, definition.tool, operation, served, ctx) // optional: tasks
  if (handle !== undefined) return handle // optional: tasks
  return callTool(parts, definition.tool, operation, served, ctx)
}

function optionsOf(
  parts: ServerParts,
  {
    listChanged,
    subscribe = false,
  }: { readonly listChanged: boolean; readonly subscribe?: boolean },
  servedOf: ServedOf,
): ServerOptions {
  const { instructions, states, definitions } = parts
  return {
    ...OPTIONS,
    capabilities: {
      logging: {},
      ...(definitions.complete ? { completions: {} } : {}),
      tools: { listChanged },
      resources: { listChanged, subscribe },
      prompts: { listChanged },
      ...(subscribe && hasTasks(parts.tasks, definitions) && TASKS), // optional: tasks
    },
    instructions,
    requestState: {
      async verify(state, ctx) {
        const served = servedOf(ctx)
        const { identity, operation } = served.vars
        if (operation === undefined) throw new Error('This request asks nothing')
        const binding = bindingOf(identity, operation)
        served.asked = await states.verify(state, binding, ctx).catch(unlessRefused)
      },
    },
  }
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
function quiet(server: Server, answered: () => Served): Server {
  sendPlainErrors(server, answered)
  server.onerror = () => {
    // The audit trail has the refusal or the outcome.
  }
  return server
}
