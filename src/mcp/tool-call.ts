import { hash } from 'node:crypto'
import {
  type CallToolResult,
  type InputRequest,
  type InputRequiredResult,
  inputRequired,
  inputResponse,
  isInputRequiredResult,
  type ServerContext,
} from '@modelcontextprotocol/server'
import type { Operation, Parsed, Principal } from '../context.ts'
import { type LogLevel, type Tool, type ToolContext, ToolError } from '../define.ts'
import type { FetchOf } from '../egress.ts'
import { Denied } from '../errors.ts'
import { ownerSpace } from '../owner-key.ts'
import { ownerStore } from '../stores/owner-store.ts'
import type { Store } from '../stores/store.ts'
import { mustBeAskable, untilAnswered } from './asking.ts'
import { CallEnded, type Calls, type Ending, type Result } from './calls.ts'
import type { Changes } from './changes.ts'
import { faultOf, type ReportFailure, UnfitResult } from './code-faults.ts'
import { type Notifier, notifier } from './notifier.ts'
import { bindingOf, questionDigest, type RequestStates } from './request-state.ts'
import type { ResourceChanges } from './resource-changes.ts'
import { toolBody } from './sdk-body.ts'
import { sdkRequest, signed } from './sdk-request.ts'
import type { Served } from './served.ts'
import { type Checked, resultOf, sdkResultOf } from './tool-result.ts'

export interface ToolCallParts {
  readonly calls: Calls
  readonly store: Store
  readonly states: RequestStates
  readonly reportFailure: ReportFailure
  readonly fetchOf: FetchOf
  readonly changes: Changes
  readonly changesOf: (caller: Principal) => ResourceChanges
  /** What `logging/setLevel` has asked for, on a connection that lasts. */
  readonly logLevel?: () => LogLevel
}

/** Thrown by `confirm` to end the first run of a tool: the question travels to the caller. */
class Question extends Error {
  readonly text: string

  constructor(text: string) {
    super('The tool asked for confirmation')
    this.name = 'Question'
    this.text = text
  }
}

type Answer = CallToolResult | InputRequiredResult

/**
 * One call of a tool, from its frozen input to the result that is sent. An error reaches the caller
 * only when it is a `ToolError`: any other message may hold secrets (the SDK would send it).
 *
 * A tool does not run when nothing can be said of the state that its request brought.
 */
export function callTool(
  parts: ToolCallParts,
  tool: Tool,
  operation: Operation,
  served: Served,
  ctx: ServerContext,
): Promise<Answer> {
  const { calls, store, states, reportFailure } = parts
  const { vars, policies, asked } = served
  const { identity, hold, outlives } = vars
  const { principal } = identity
  const { parsed } = operation
  if (parsed.issues !== undefined) {
    return Promise.resolve(failure(wrongArguments(tool, parsed.issues)))
  }
  const input = parsed.value
  const notify = notifier(ctx.mcpReq, { isBehind: vars.isBehind, logLevel: parts.logLevel })
  const changed = parts.changesOf(principal)

  async function confirm(question: string, signal: AbortSignal): Promise<boolean> {
    mustBeAskable(served)
    const agreed = isAgreed(ctx.mcpReq.inputResponses)
    if (asked === questionDigest(question) && agreed !== undefined) return agreed
    if (served.ask === undefined) throw new Question(question)
    return isAgreed(await served.ask({ [CONFIRM]: elicitation(question) }, ctx, signal)) === true
  }

  async function work(signal: AbortSignal): Promise<Checked<Answer>> {
    if (asked instanceof Denied) throw asked
    const context: ToolContext = {
      principal,
      signal,
      progress: notify.progress,
      log: notify.log,
      confirm: (question) => confirm(question, signal),
      store: ownerStore(store, ownerSpace(principal)),
      fetch: parts.fetchOf(policies.egress, operation.facts, signal),
      resourceUpdated: changed.resourceUpdated,
      resourceListChanged: changed.resourceListChanged,
    }
    const body = toolBody(tool)
    if (body === undefined) {
      const output = await tool.run(input, context)
      return calls.inTurn(() => resultOf(tool, output, policies.resultBytes))
    }
    const request = sdkRequest(parts.changes, served, operation, ctx)
    const answer = await untilAnswered(served, ctx, signal, request, (again) =>
      body.answer(input, context, again),
    )
    return calls.inTurn(() => sdkResultOf(answer, policies.resultBytes))
  }

  async function conclude(result: Result<Checked<Answer>>): Promise<[Answer, Ending]> {
    await notify.flush()
    changed.flush()
    if ('value' in result) {
      const { answer, text } = result.value
      if (isInputRequiredResult(answer)) {
        return [await signed(states, served, operation, answer), endingOf('asked', notify)]
      }
      return [answer, endingOf(answer.isError === true ? 'failed' : 'ok', notify, text)]
    }
    const { error } = result
    if (error instanceof Question) {
      const state = await states.mint(bindingOf(identity, operation), error.text)
      return [ask(error.text, state), endingOf('asked', notify)]
    }
    const outcome = error instanceof CallEnded ? error.end : 'failed'
    if (!(error instanceof CallEnded || error instanceof ToolError)) {
      reportFailure(operation.facts, faultOf(error), error)
    }
    return [failure(errorText(error, operation)), endingOf(outcome, notify)]
  }

  return calls.run(operation, { signal: ctx.mcpReq.signal, hold, outlives }, work, conclude)
}

const CONFIRM = 'confirm'

function failure(text: string): CallToolResult {
  return { content: [{ type: 'text', text }], isError: true }
}

/** @returns `undefined` when nothing was answered */
function isAgreed(responses: Record<string, unknown> | undefined): boolean | undefined {
  const response = inputResponse(responses, CONFIRM)
  if (response.kind !== 'elicit') return undefined
  return response.action === 'accept' && response.content?.[CONFIRM] === true
}

function elicitation(message: string): InputRequest {
  const requestedSchema = {
    type: 'object' as const,
    properties: { [CONFIRM]: { type: 'boolean' as const, title: 'Confirm' } },
    required: [CONFIRM],
  }
  return inputRequired.elicit({ message, requestedSchema })
}

function ask(question: string, requestState: string): InputRequiredResult {
  return inputRequired({ inputRequests: { [CONFIRM]: elicitation(question) }, requestState })
}

/** Issues that one answer names. A body can hold more mistakes than an answer should hold words. */
const MAX_ISSUES = 10

/**
 * What is wrong with arguments, in the words of the SDK: places and rules of our schema, but neither
 * names nor values of the caller.
 */
function wrongArguments({ name }: Tool, issues: NonNullable<Parsed['issues']>): string {
  const problems = issues.slice(0, MAX_ISSUES).map(({ code, path, message }) => {
    const rule = code === 'unrecognized_keys' ? 'Unrecognized keys' : message
    return path.length === 0 ? rule : `${path.map(String).join('.')}: ${rule}`
  })
  return `Input validation error: Invalid arguments for tool ${name}: ${problems.join(', ')}`
}

const MESSAGE_LENGTH = 1024

function errorText(error: unknown, { facts, rule }: Operation): string {
  if (error instanceof ToolError) return error.message.slice(0, MESSAGE_LENGTH)
  const reference = `(reference ${facts.requestId})`
  if (error instanceof UnfitResult && error.fault === 'too-large') return 'The result is too large.'
  if (error instanceof Denied) return `The server cannot do this now; call again ${reference}`
  if (!(error instanceof CallEnded)) return `The tool failed ${reference}`
  if (error.end === 'shut-down') return `The server is shutting down; call again ${reference}`
  if (error.end === 'revoked') return `The credential of this call was revoked ${reference}`
  if (error.end === 'cancelled') return `The call was cancelled ${reference}`
  return `The tool did not finish within ${rule.timeoutSeconds} seconds ${reference}`
}

function endingOf(outcome: Ending['outcome'], notify: Notifier, text?: string): Ending {
  return {
    outcome,
    resultSha256: text === undefined ? undefined : hash('sha256', text),
    progressCount: notify.count(),
  }
}
