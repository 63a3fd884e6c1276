import { hash } from 'node:crypto'
import {
  ProtocolError,
  ProtocolErrorCode,
  type Server,
  type ServerContext,
} from '@modelcontextprotocol/server'
import type { ReadContext } from '../define.ts'
import { CallEnded, type Ending, type Result } from './calls.ts'
import type { ListParts } from './lists.ts'
import { readContext } from './read-context.ts'
import { NOT_FOUND } from './refusal.ts'
import type { Served, ServedOf } from './served.ts'

type Input = Readonly<Record<string, unknown>>
type Read = (input: Input, context: ReadContext) => Promise<string | undefined>

export const READ_METHODS = ['resources/read', 'prompts/get'] as const

/** Answers `resources/read` or `prompts/get` with the one text that the request is about. */
export function serveRead(
  server: Server,
  parts: ListParts,
  method: (typeof READ_METHODS)[number],
  servedOf: ServedOf,
): void {
  const { resources, prompts } = parts.definitions

  if (method === 'resources/read') {
    server.setRequestHandler('resources/read', async ({ params }, ctx) => {
      const served = servedOf(ctx)
      const resource = resources.get(nameOf(served))?.resource
      const text = await guarded(parts, served, ctx, NOT_FOUND.resource, resource?.read)
      return { contents: [{ uri: params.uri, mimeType: resource?.mimeType, text }] }
    })
  } else {
    server.setRequestHandler('prompts/get', async (_request, ctx) => {
      const served = servedOf(ctx)
      const prompt = prompts.get(nameOf(served))?.prompt
      const text = await guarded(parts, served, ctx, NOT_FOUND.prompt, prompt?.render)
      return { messages: [{ role: 'user', content: { type: 'text', text } }] }
    })
  }
}

function nameOf({ vars }: Served): string {
  return vars.operation?.rule.name ?? ''
}

/**
 * Reads a text as guarded as a tool call: deadline, abort, outcome record, bound.
 *
 * @throws {ProtocolError} -32602 `notFound` for whatever is not there for this caller: unknown,
 *   expired and foreign look alike; -32603 for anything else. The SDK sends what it catches, so both
 *   texts are fixed.
 */
async function guarded(
  { calls, store, reportFailure }: ListParts,
  { vars, policies }: Served,
  ctx: ServerContext,
  notFound: string,
  read: Read | undefined,
): Promise<string> {
  const { operation, identity, hold } = vars
  const nothing = new ProtocolError(ProtocolErrorCode.InvalidParams, notFound)
  const input = operation?.parsed.value
  if (operation === undefined || input === undefined || read === undefined) throw nothing
  const { facts } = operation

  const work = async (signal: AbortSignal): Promise<string | undefined> => {
    const text = await read(input, readContext(store, identity, signal))
    if (Buffer.byteLength(text ?? '') > policies.resultBytes) {
      throw new RangeError('The text is too large')
    }
    return text
  }
  const conclude = async (
    result: Result<string | undefined>,
  ): Promise<[string | ProtocolError, Ending]> => {
    if ('error' in result) {
      const { error } = result
      const failed = new ProtocolError(ProtocolErrorCode.InternalError, 'Internal error')
      if (error instanceof CallEnded) return [failed, ending(error.end)]
      reportFailure(facts, error)
      return [failed, ending('failed')]
    }
    const { value } = result
    return value === undefined ? [nothing, ending('failed')] : [value, ending('ok', value)]
  }
  const caller = { signal: ctx.mcpReq.signal, hold }
  const answer = await calls.run(operation, caller, work, conclude)
  if (answer instanceof ProtocolError) throw answer
  return answer
}

function ending(outcome: Ending['outcome'], text?: string): Ending {
  const resultSha256 = text === undefined ? undefined : hash('sha256', text)
  return { outcome, resultSha256, progressCount: 0 }
}
