import type {
  CallToolResult,
  GetPromptResult,
  InputRequiredResult,
  ServerContext,
} from '@modelcontextprotocol/server'
import type { z } from 'zod'
import type { Prompt, ReadContext, Tool, ToolContext } from '../define.ts'

/**
 * What the SDK knows of the request. Left out is what would get around the bounds of a call (`send`,
 * `notify`, `log`) and the HTTP request, whose headers hold the credential.
 */
export interface SdkRequest {
  readonly _meta: ServerContext['mcpReq']['_meta']
  readonly envelope: ServerContext['mcpReq']['envelope']
  readonly inputResponses: ServerContext['mcpReq']['inputResponses']
  /** Whether this state came back, verified: the one that the body returned as `requestState`. */
  cameBack(requestState: string): boolean
  /** Ends the stream of this answer in a session, from where a client resumes it; else nothing. */
  closeStream(): void
  /** Tells every stream that the lists of tools, resources and prompts have changed. */
  listsChanged(): void
}

/** What takes the place of `run` or `render`. */
interface Body<Context, Result, Input = Readonly<Record<string, unknown>>> {
  answer(input: Input, context: Context, request: SdkRequest): Promise<Result | InputRequiredResult>
}

const toolBodies = new WeakMap<Tool, Body<ToolContext, CallToolResult>>()
const promptBodies = new WeakMap<Prompt, Body<ReadContext, GetPromptResult>>()

export const toolBody: (tool: Tool) => Body<ToolContext, CallToolResult> | undefined = (tool) =>
  toolBodies.get(tool)
export const promptBody: (prompt: Prompt) => Body<ReadContext, GetPromptResult> | undefined = (
  prompt,
) => promptBodies.get(prompt)

/**
 * A tool for forks that need what the `ToolContext` does not offer: sampling, roots, questions of
 * several rounds, `_meta`. It answers what the SDK sends, in the same bounds as any other tool:
 * deadline, masked errors, size of the result, decision and outcome records. A `requestState` that it
 * answers travels as a signed digest, bound to caller, tool and arguments, and comes back once.
 */
export function defineSdkTool<I extends z.ZodObject>(
  tool: Omit<Tool, 'input' | 'output' | 'run'> &
    Body<ToolContext, CallToolResult, z.output<I>> & { readonly input: I },
): Tool {
  const defined: Tool = { ...tool, run: unused }
  toolBodies.set(defined, tool)
  return defined
}

/** The same for a prompt. */
export function defineSdkPrompt<I extends z.ZodObject>(
  prompt: Omit<Prompt, 'input' | 'render'> &
    Body<ReadContext, GetPromptResult, z.output<I>> & { readonly input: I },
): Prompt {
  const defined: Prompt = { ...prompt, render: unused }
  promptBodies.set(defined, prompt)
  return defined
}

function unused(): Promise<never> {
  return Promise.reject(new Error('It is answered with the SDK'))
}
