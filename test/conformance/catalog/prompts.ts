import { acceptedContent, inputRequired } from '@modelcontextprotocol/server'
import { z } from 'zod'
import { definePrompt, type Prompt } from '../../../src/define.ts'
import { defineSdkPrompt } from '../../../src/mcp/sdk-body.ts'
import { PNG, text } from './content.ts'
import { ask, STRING } from './questions.ts'

const word = z.string().max(1024)
const NO_INPUT = z.strictObject({})

export const prompts: readonly Prompt[] = [
  definePrompt({
    name: 'test_simple_prompt',
    title: 'Simple',
    description: 'A prompt without arguments.',
    input: NO_INPUT,
    render: async () => 'This is a simple prompt for testing.',
  }),
  definePrompt({
    name: 'test_prompt_with_arguments',
    title: 'Arguments',
    description: 'A prompt with two arguments.',
    input: z.strictObject({ arg1: word.describe('The first'), arg2: word.describe('The second') }),
    render: async ({ arg1, arg2 }) => `Prompt with arguments: arg1='${arg1}', arg2='${arg2}'`,
    complete: async (_argument, value) =>
      ['paris', 'park', 'party'].filter((one) => one.startsWith(value)),
  }),
  definePrompt({
    name: 'test_prompt_with_embedded_resource',
    title: 'Resource',
    description: 'A prompt with a resource in it.',
    input: z.strictObject({ resourceUri: word.describe('Where the resource is') }),
    render: async ({ resourceUri: uri }) => [
      {
        role: 'user',
        content: {
          type: 'resource',
          resource: {
            uri,
            mimeType: 'text/plain',
            content: 'Embedded resource content for testing.',
          },
        },
      },
      { role: 'user', content: text('Please process the embedded resource above.') },
    ],
  }),
  definePrompt({
    name: 'test_prompt_with_image',
    title: 'Image',
    description: 'A prompt with an image in it.',
    input: NO_INPUT,
    render: async () => [
      { role: 'user', content: { type: 'image', data: PNG, mimeType: 'image/png' } },
      { role: 'user', content: text('Please analyze the image above.') },
    ],
  }),
  defineSdkPrompt({
    name: 'test_input_required_result_prompt',
    title: 'Question',
    description: 'A prompt that asks before it is rendered.',
    input: NO_INPUT,
    async answer(_input, _context, { inputResponses }) {
      const answer = acceptedContent<{ context: string }>(inputResponses, 'user_context')
      if (answer === undefined) {
        const user_context = ask('What context should the prompt use?', { context: STRING })
        return inputRequired({ inputRequests: { user_context } })
      }
      const content = { type: 'text' as const, text: `Context: ${answer.context}` }
      return { messages: [{ role: 'user', content }] }
    },
  }),
]
