import type { InputRequiredResult, ServerContext } from '@modelcontextprotocol/server'
import type { Operation } from '../context.ts'
import type { Changes } from './changes.ts'
import { bindingOf, questionDigest, type RequestStates } from './request-state.ts'
import type { SdkRequest } from './sdk-body.ts'
import type { Served } from './served.ts'

/** @see defineSdkTool */
export function sdkRequest(
  changes: Pick<Changes, 'listsChanged'>,
  { asked }: Served,
  { facts }: Operation,
  { mcpReq, http }: ServerContext,
): SdkRequest {
  const { _meta, envelope, inputResponses } = mcpReq
  return {
    ...{ _meta, envelope, inputResponses },
    cameBack: (requestState) => asked === questionDigest(stateOf(facts, requestState)),
    closeStream: () => http?.closeSSE?.(),
    listsChanged: changes.listsChanged,
  }
}

/** Its `requestState`, signed. */
export async function signed<Result extends InputRequiredResult>(
  states: RequestStates,
  { vars }: Served,
  operation: Operation,
  result: Result,
): Promise<Result> {
  const { requestState } = result
  if (requestState === undefined) return result
  const binding = bindingOf(vars.identity, operation)
  return {
    ...result,
    requestState: await states.mint(binding, stateOf(operation.facts, requestState)),
  }
}

/** A tool and a prompt may have one name, and a tool may ask a question that reads like a state. */
function stateOf({ method }: Operation['facts'], requestState: string): string {
  return JSON.stringify([method, requestState])
}
