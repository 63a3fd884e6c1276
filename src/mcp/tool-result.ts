import {
  type CallToolResult,
  type InputRequiredResult,
  isCallToolResult,
  isInputRequiredResult,
} from '@modelcontextprotocol/server'
import { z } from 'zod'
import type { Tool } from '../define.ts'
import { UnfitResult } from './code-faults.ts'
import { wireBlock } from './content.ts'

/** A result that is known to serialize and to fit. */
export interface Checked<Answer> {
  readonly answer: Answer
  /** What of it the tool made, as JSON: the digest on record is over this. */
  readonly text: string
}

/**
 * The result of a tool as its schema says, or its content blocks: no cycle, no BigInt, within the
 * bound. What is sent is read back from the JSON text, because a `toJSON` or a getter need not do the
 * same twice.
 *
 * @throws {UnfitResult} otherwise; the author of the tool finds out in the log.
 */
export function resultOf(tool: Tool, output: unknown, maxBytes: number): Checked<CallToolResult> {
  if (tool.output === undefined) {
    const text = bounded(wireBlocks(output), maxBytes)
    return { answer: { content: JSON.parse(text) }, text }
  }
  const { success, data, error } = tool.output.safeParse(output)
  if (!success) throw new UnfitResult('wrong-shape', z.prettifyError(error), { cause: error })
  const text = bounded(data, maxBytes)
  return {
    answer: { content: [{ type: 'text', text }], structuredContent: JSON.parse(text) },
    text,
  }
}

/** The same for what was made for the SDK. */
export function sdkResultOf(
  result: unknown,
  maxBytes: number,
): Checked<CallToolResult | InputRequiredResult> {
  const text = bounded(result, maxBytes)
  const answer: unknown = JSON.parse(text)
  if (isInputRequiredResult(answer) || isCallToolResult(answer)) return { answer, text }
  throw new UnfitResult('wrong-shape', 'The result is not one of a tool')
}

/** @throws {UnfitResult} when it is no JSON, or too much of it */
export function bounded(value: unknown, maxBytes: number): string {
  const text = json(value)
  if (Buffer.byteLength(text) > maxBytes) {
    throw new UnfitResult('too-large', `The result has more than ${maxBytes} bytes`)
  }
  return text
}

function json(value: unknown): string {
  try {
    return JSON.stringify(value)
  } catch (cause) {
    throw new UnfitResult('not-json', 'The result is not JSON', { cause })
  }
}

function wireBlocks(output: unknown): readonly object[] {
  if (!Array.isArray(output))
    throw new UnfitResult('wrong-shape', 'The result is no list of content')
  try {
    return output.map(wireBlock)
  } catch (cause) {
    throw new UnfitResult('wrong-shape', 'The result has a block that is no content', { cause })
  }
}
