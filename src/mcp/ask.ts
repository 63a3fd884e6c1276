import { randomUUID } from 'node:crypto'
import type { ClientCapabilities, InputRequest, ServerContext } from '@modelcontextprotocol/server'
import { ToolError } from '../define.ts'
import type { Ask } from './asking.ts'

/**
 * Asks the client of a connection while its call runs: on the stream of that call, within the call's
 * deadline, and only what the client has declared at `initialize`. When the call ends, the client is
 * told that nobody waits for its answer any more.
 *
 * Source: MCP 2025-11-25, Client Features (Elicitation, Sampling, Roots).
 */
export function askInSession(
  capabilities: () => ClientCapabilities | undefined,
  timeoutSeconds: number,
): Ask {
  return async function ask(requests, ctx, signal) {
    const all = Object.entries(requests)
    for (const [, request] of all) {
      if (!isDeclared(request, capabilities())) {
        throw new ToolError(`This tool needs a client that declares ${KINDS[request.method]}.`)
      }
    }
    const options = { signal, timeout: timeoutSeconds * 1000 }
    const answers = all.map(async ([name, request]) => [name, await send(request, ctx, options)])
    try {
      return Object.fromEntries(await Promise.all(answers))
    } catch {
      if (signal.aborted) throw signal.reason
      throw new ToolError('The client did not answer.') // What it says instead is its own.
    }
  }
}

const KINDS = {
  'elicitation/create': 'elicitation',
  'sampling/createMessage': 'sampling',
  'roots/list': 'roots',
} as const

/** A client that declares elicitation without any mode has that by form (MCP 2025-11-25, Elicitation). */
function isDeclared({ method, params }: InputRequest, declared: ClientCapabilities = {}): boolean {
  if (method === 'roots/list') return declared.roots !== undefined
  if (method === 'sampling/createMessage') return declared.sampling !== undefined
  const { elicitation } = declared
  if (params.mode === 'url') return elicitation?.url !== undefined
  return elicitation !== undefined && (elicitation.form !== undefined || !elicitation.url)
}

function send(
  { method, params }: InputRequest,
  { mcpReq }: ServerContext,
  options: { readonly signal: AbortSignal; readonly timeout: number },
): Promise<unknown> {
  switch (method) {
    case 'roots/list':
      return mcpReq.send({ method }, options)
    case 'sampling/createMessage':
      return mcpReq.send({ method, params }, options)
    case 'elicitation/create': {
      const elicitationId = randomUUID()
      const id = params.mode === 'url' && !params.elicitationId ? { elicitationId } : {}
      return mcpReq.send({ method, params: { ...params, ...id } }, options)
    }
  }
}
