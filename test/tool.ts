import type { z } from 'zod'
import type { ContentBlock, Tool } from '../src/define.ts'
import { type FakeContext, type FakeOptions, fakeContext } from './tools/context.ts'

/** What a tool made of its input. */
export interface ToolRun<Result>
  extends Pick<FakeContext, 'notifications' | 'questions' | 'changed'> {
  readonly result: Result
}

/**
 * Runs a tool as the server does, without one: on input that its schema has parsed, with a result that
 * its schema allows. Deadlines, masked errors and thinned notifications are the server's, and are not here.
 *
 * @throws {z.ZodError} when the input is refused, which the tool then never sees, or the result is.
 */
export function runTool<O extends z.ZodObject>(
  tool: Tool & { readonly output: O },
  input: unknown,
  options?: FakeOptions,
): Promise<ToolRun<z.output<O>>>
/** Runs a tool that returns content blocks. */
export function runTool(
  tool: Tool,
  input: unknown,
  options?: FakeOptions,
): Promise<ToolRun<Record<string, unknown> | readonly ContentBlock[]>>
export async function runTool(
  tool: Tool,
  input: unknown,
  options: FakeOptions = {},
): Promise<ToolRun<unknown>> {
  const context = fakeContext(options)
  const returned = await tool.run(Object.freeze(tool.input.parse(input)), context)
  const { notifications, questions, changed } = context
  const result = tool.output === undefined ? returned : tool.output.parse(returned)
  return { result, notifications, questions, changed }
}
