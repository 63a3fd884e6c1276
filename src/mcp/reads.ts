import { hash } from 'node:crypto'
import {
  type CompleteResult,
  type GetPromptResult,
  type InputRequiredResult,
  isInputRequiredResult,
  ProtocolError,
  ProtocolErrorCode,
  type ReadResourceResult,
  type Server,
  type ServerContext,
} from '@modelcontextprotocol/server'
import type { Operation } from '../context.ts'
import type { Prompt, PromptMessage, ReadContext } from '../define.ts'
import { Denied } from '../errors.ts'
import { untilAnswered } from './asking.ts'
import { CallEnded, type Ending, type Result } from './calls.ts'
import type { Changes } from './changes.ts'
import { faultOf } from './code-faults.ts'
import { wireBlock, wireContents } from './content.ts'
import type { ListParts } from './lists.ts'
import { readContext } from './read-context.ts'
import { NOT_FOUND } from './refusal.ts'
import type { RequestStates } from './request-state.ts'
import { promptBody } from './sdk-body.ts'
import { sdkRequest, signed } from './sdk-request.ts'
import type { Served, ServedOf } from './served.ts'
import { bounded, type Checked } from './tool-result.ts'

export interface ReadParts extends ListParts {
  readonly states: RequestStates
  readonly changes: Changes
}

type Input = Readonly<Record<string, unknown>>

export const READ_METHODS = ['resources/read', 'prompts/get', 'completion/complete'] as const

/** Answers a method that reads: what the one resource or prompt of the request says. */
export function serveRead(
  server: Server,
  parts: ReadParts,
  method: (typeof READ_METHODS)[number],
  servedOf: ServedOf,
): void {
  const { resources, prompts } = parts.definitions

  switch (method) {
    case 'resources/read':
      server.setRequestHandler('resources/read', ({ params: { uri } }, ctx) => {
        const served = servedOf(ctx)
        const resource = resources.get(nameOf(served))?.resource
        return guarded(parts, served, ctx, NOT_FOUND.resource, async (input, context) => {
          const content = await resource?.read(input, context)
          if (resource === undefined || content === undefined) return undefined
          const { mimeType } = resource
          const result: ReadResourceResult = {
            contents: [wireContents({ uri, mimeType, content })],
          }
          return result
        })
      })
      break
    case 'prompts/get':
      server.setRequestHandler('prompts/get', async (_request, ctx) => {
        const served = servedOf(ctx)
        const prompt = prompts.get(nameOf(served))?.prompt
        return guarded(
          parts,
          served,
          ctx,
          NOT_FOUND.prompt,
          (input, context, operation) =>
            prompt && rendered(parts, prompt, { served, operation, ctx }, input, context),
        )
      })
      break
    case 'completion/complete':
      server.setRequestHandler('completion/complete', (_request, ctx) => {
        const served = servedOf(ctx)
        const { kind, name } = served.vars.operation?.rule ?? {}
        const item = kind === 'prompt' ? prompts.get(name ?? '')?.prompt : undefined
        const complete = (item ?? resources.get(name ?? '')?.resource)?.complete
        return guarded(parts, served, ctx, NOT_FOUND.completion, async (input, context) => {
          const [[argument = '', value] = []] = Object.entries(input)
          const all = (await complete?.(argument, String(value), context)) ?? []
          const values = all.slice(0, MAX_VALUES)
          const result: CompleteResult = {
            completion: { values, total: all.length, hasMore: all.length > values.length },
          }
          return result
        })
      })
  }
}

/** MCP 2026-07-28 Completion: "maximum 100 items per response". */
const MAX_VALUES = 100

interface Call {
  readonly served: Served
  readonly operation: Operation
  readonly ctx: ServerContext
}

async function rendered(
  { changes }: ReadParts,
  prompt: Prompt,
  { served, operation, ctx }: Call,
  input: Input,
  context: ReadContext,
): Promise<GetPromptResult | InputRequiredResult | undefined> {
  const body = promptBody(prompt)
  if (body === undefined) {
    const messages = await prompt.render(input, context)
    return messages === undefined ? undefined : { messages: messagesOf(messages).map(wireMessage) }
  }
  const request = sdkRequest(changes, served, operation, ctx)
  return untilAnswered(served, ctx, context.signal, request, (again) =>
    body.answer(input, context, again),
  )
}

function messagesOf(messages: string | readonly PromptMessage[]): readonly PromptMessage[] {
  if (typeof messages !== 'string') return messages
  return [{ role: 'user', content: { type: 'text', text: messages } }]
}

function wireMessage({ role, content }: PromptMessage): GetPromptResult['messages'][number] {
  return { role, content: wireBlock(content) }
}

function nameOf({ vars }: Served): string {
  return vars.operation?.rule.name ?? ''
}

/**
 * Reads as guarded as a tool call: deadline, abort, outcome record, bound.
 *
 * @throws {ProtocolError} -32602 `notFound` for whatever is not there for this caller: unknown,
 *   expired and foreign look alike; -32603 for anything else. The SDK sends what it catches, so both
 *   texts are fixed.
 */
async function guarded<Answer extends object>(
  { calls, states, store, reportFailure }: ReadParts,
  served: Served,
  ctx: ServerContext,
  notFound: string,
  read: (
    input: Input,
    context: ReadContext,
    operation: Operation,
  ) => Promise<Answer | undefined> | undefined,
): Promise<Answer> {
  const { vars, policies, asked } = served
  const { operation, identity, hold, outlives } = vars
  const nothing = new ProtocolError(ProtocolErrorCode.InvalidParams, notFound)
  const input = operation?.parsed.value
  if (operation === undefined || input === undefined) throw nothing
  const { facts } = operation

  const work = async (signal: AbortSignal): Promise<Checked<Answer> | undefined> => {
    if (asked instanceof Denied) throw asked
    const answer = await read(input, readContext(store, identity, signal), operation)
    if (answer === undefined) return undefined
    return calls.inTurn(() => {
      const text = bounded(answer, policies.resultBytes)
      return { answer: JSON.parse(text), text }
    })
  }
  const conclude = async (
    result: Result<Checked<Answer> | undefined>,
  ): Promise<[Answer | ProtocolError, Ending]> => {
    if ('error' in result) {
      const { error } = result
      const failed = new ProtocolError(ProtocolErrorCode.InternalError, 'Internal error')
      if (error instanceof CallEnded) return [failed, ending(error.end)]
      reportFailure(facts, faultOf(error), error)
      return [failed, ending('failed')]
    }
    if (result.value === undefined) return [nothing, ending('failed')]
    const { answer, text } = result.value
    return isInputRequiredResult(answer)
      ? [await signed(states, served, operation, answer), ending('asked')]
      : [answer, ending('ok', text)]
  }
  const caller = { signal: ctx.mcpReq.signal, hold, outlives }
  const answer = await calls.run(operation, caller, work, conclude)
  if (answer instanceof ProtocolError) throw answer
  return answer
}

function ending(outcome: Ending['outcome'], text?: string): Ending {
  const resultSha256 = text === undefined ? undefined : hash('sha256', text)
  return { outcome, resultSha256, progressCount: 0 }
}
