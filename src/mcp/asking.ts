import {
  type InputRequests,
  type InputRequiredResult,
  isInputRequiredResult,
  type ServerContext,
} from '@modelcontextprotocol/server'
import { ToolError } from '../define.ts'
import type { SdkRequest } from './sdk-body.ts'
import type { Served } from './served.ts'

/**
 * Asks the client of a connection and waits for its answers, by the names of the questions.
 *
 * @throws {ToolError} when the client cannot be asked that, or does not answer
 */
export type Ask = (
  requests: InputRequests,
  ctx: ServerContext,
  signal: AbortSignal,
) => Promise<Record<string, unknown>>

/** How often one call may ask. */
const ROUNDS = 8

/**
 * Runs a body until it asks nothing any more, where its client can be asked while the call runs. For a
 * client of 2026-07-28 what it asks is the answer, and the call comes back.
 *
 * @throws {ToolError} when the caller cannot be asked: a 2025 client that is in no session
 */
export async function untilAnswered<Answer>(
  served: Pick<Served, 'vars' | 'ask'>,
  ctx: ServerContext,
  signal: AbortSignal,
  request: SdkRequest,
  run: (request: SdkRequest) => Promise<Answer | InputRequiredResult>,
): Promise<Answer | InputRequiredResult> {
  const { ask } = served
  let answer = await run(request)
  for (let round = 0; isInputRequiredResult(answer); round += 1) {
    mustBeAskable(served)
    if (ask === undefined) return answer
    if (round === ROUNDS) throw new ToolError('The tool asks too often.')
    const { inputRequests = {}, requestState } = answer
    const inputResponses = await ask(inputRequests, ctx, signal)
    const cameBack = (state: string): boolean => state === requestState
    answer = await run({ ...request, inputResponses, cameBack })
  }
  return answer
}

/** @throws {ToolError} when the caller cannot be asked: a 2025 client that is in no session. */
export function mustBeAskable({ vars, ask }: Pick<Served, 'vars' | 'ask'>): void {
  if (vars.era === 'modern' || ask !== undefined) return
  throw new ToolError(
    'This tool asks for confirmation, which needs a client of MCP 2026-07-28 or later.',
  )
}
