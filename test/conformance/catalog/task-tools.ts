// optional: tasks
import { setTimeout as sleep } from 'node:timers/promises'
import { inputRequired, inputResponse } from '@modelcontextprotocol/server'
import { z } from 'zod'
import { defineTool, type Tool, ToolError } from '../../../src/define.ts'
import { defineSdkTool, type SdkRequest } from '../../../src/mcp/sdk-body.ts'
import { ask, STRING } from './questions.ts'

const base = { annotations: {}, longRunning: false } as const
const empty = z.strictObject({})

function named<Name extends string>(name: Name) {
  const description = `The tool ${name} of the conformance suite.`
  return { ...base, name, title: name, description }
}

/** The answer to a question, as text. */
function answerTo({ inputResponses }: SdkRequest, key: string): string | undefined {
  const view = inputResponse(inputResponses, key)
  return view.kind === 'missing' ? undefined : JSON.stringify(view)
}

/** A tool that asks until every question has an answer. */
function asking(name: string, keys: readonly string[], more: Partial<Tool>): Tool {
  return defineSdkTool({
    ...named(name),
    ...more,
    input: z.strictObject({ filename: z.string().max(255).optional() }),
    async answer(_input, _context, request) {
      const answers = keys.map((key) => answerTo(request, key))
      if (answers.every((text) => text !== undefined)) {
        return { content: [{ type: 'text', text: answers.join(', ') }] }
      }
      const questions = keys.map((key) => [key, ask(`What is ${key}?`, { name: STRING })])
      return inputRequired({ inputRequests: Object.fromEntries(questions), requestState: name })
    },
  })
}

export const TASK_TOOLS: readonly Tool[] = [
  defineTool({
    ...named('greet'),
    input: z.strictObject({ name: z.string().max(255) }),
    run: async ({ name }) => [{ type: 'text', text: `Hello, ${name}!` }],
  }),
  defineTool({
    ...named('slow_compute'),
    task: 'optional',
    input: z.strictObject({
      seconds: z.number().min(0).max(300),
      label: z.string().max(255).optional(),
    }),
    async run({ seconds, label = 'result' }, { signal }) {
      await sleep(seconds * 1000, undefined, { signal })
      return [{ type: 'text', text: `${label} after ${seconds} s` }]
    },
  }),
  defineTool({
    ...named('failing_job'),
    task: 'required',
    input: empty,
    async run(_input, { signal }) {
      await sleep(1000, undefined, { signal })
      throw new ToolError('The job failed.')
    },
  }),
  defineTool({
    ...named('protocol_error_job'),
    task: 'optional',
    input: empty,
    async run() {
      throw new Error('A bug')
    },
  }),
  asking('confirm_delete', ['confirm'], { task: 'optional' }),
  asking('multi_input', ['first', 'second'], { task: 'optional' }),
  asking('test_tool_with_task', ['user_name'], { task: 'required', asksFirst: true }),
]
