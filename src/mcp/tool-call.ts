import { hash } from 'node:crypto'
import {
  type CallToolResult,
  type InputRequiredResult,
  inputRequired,
  inputResponse,
  type ServerContext,
} from '@modelcontextprotocol/server'
import type { Operation, Parsed } from '../context.ts'
import { type Tool, ToolError } from '../define.ts'
import { Denied } from '../errors.ts'
import { ownerSpace } from '../owner-key.ts'
import { ownerStore } from '../stores/owner-store.ts'
import type { Store } from '../stores/store.ts'
import { CallEnded, type Calls, type Ending, type ReportFailure, type Result } from './calls.ts'
import { type Notifier, notifier } from './notifier.ts'
import { bindingOf, questionDigest, type RequestStates } from './request-state.ts'
import type { Served } from './served.ts'

export interface ToolCallParts {
  readonly calls: Calls
  readonly store: Store
  readonly states: RequestStates
  readonly reportFailure: ReportFailure
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
  { vars, policies, asked }: Served,
  ctx: ServerContext,
): Promise<Answer> {
  const { calls, store, states, reportFailure } = parts
  const { identity, hold } = vars
  const { principal } = identity
  const { parsed } = operation
  if (parsed.issues !== undefined) {
    return Promise.resolve(failure(wrongArguments(tool, parsed.issues)))
  }
  const input = parsed.value
  const notify = notifier(ctx.mcpReq, vars.isBehind)

  async function confirm(question: string): Promise<boolean> {
    if (operation.facts.era === 'legacy') {
      throw new ToolError(
        'This tool asks for confirmation, which needs a client of MCP 2026-07-28 or later.',
      )
    }
    const response = inputResponse(ctx.mcpReq.inputResponses, CONFIRM)
    if (asked !== questionDigest(question) || response.kind !== 'elicit') {
      throw new Question(question)
    }
    return response.action === 'accept' && response.content?.[CONFIRM] === true
  }

  async function work(signal: AbortSignal): Promise<Output> {
    if (asked instanceof Denied) throw asked
    const output = await tool.run(input, {
      principal,
      signal,
      progress: notify.progress,
      log: notify.log,
      confirm,
      store: ownerStore(store, ownerSpace(principal)),
    })
    return outputOf(tool, output, policies.resultBytes)
  }

  async function conclude(result: Result<Output>): Promise<[Answer, Ending]> {
    await notify.flush()
    if ('value' in result) {
      const { text, structuredContent } = result.value
      const content = [{ type: 'text' as const, text }]
      return [{ content, structuredContent }, endingOf('ok', notify, text)]
    }
    const { error } = result
    if (error instanceof Question) {
      const state = await states.mint(bindingOf(identity, operation), error.text)
      return [ask(error.text, state), endingOf('asked', notify)]
    }
    const outcome = error instanceof CallEnded ? error.end : 'failed'
    if (!(error instanceof CallEnded || error instanceof ToolError)) {
      reportFailure(operation.facts, error)
    }
    return [failure(errorText(error, operation)), endingOf(outcome, notify)]
  }

  return calls.run(operation, { signal: ctx.mcpReq.signal, hold }, work, conclude)
}

const CONFIRM = 'confirm'

interface Output {
  readonly text: string
  readonly structuredContent: Record<string, unknown>
}

/**
 * The result as its schema says and as JSON text: no cycle, no BigInt, within the bound. What is sent
 * is read back from that text, because a `toJSON` or a getter need not do the same twice.
 *
 * @throws {Error} otherwise; the author of the tool finds out in the log.
 */
function outputOf(tool: Tool, output: unknown, maxBytes: number): Output {
  const { success, data, error } = tool.output.safeParse(output)
  if (!success) throw new TypeError('The result does not match the output schema', { cause: error })
  const text = JSON.stringify(data)
  if (Buffer.byteLength(text) > maxBytes) throw new ToolError('The result is too large.')
  return { text, structuredContent: JSON.parse(text) }
}

function failure(text: string): CallToolResult {
  return { content: [{ type: 'text', text }], isError: true }
}

function ask(question: string, requestState: string): InputRequiredResult {
  const requestedSchema = {
    type: 'object' as const,
    properties: { [CONFIRM]: { type: 'boolean' as const, title: 'Confirm' } },
    required: [CONFIRM],
  }
  const elicit = inputRequired.elicit({ message: question, requestedSchema })
  return inputRequired({ inputRequests: { [CONFIRM]: elicit }, requestState })
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
