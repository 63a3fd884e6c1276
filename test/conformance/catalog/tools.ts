import { setTimeout as sleep } from 'node:timers/promises'
import { z } from 'zod'
import type { ToolContext } from '../../../src/define.ts'
import { type ContentBlock, defineTool, type Tool, ToolError } from '../../../src/define.ts'
import { PNG, text, WAV } from './content.ts'

const PAUSE_MS = 50
const NO_INPUT = z.strictObject({})

/** A tool without input that answers these blocks. */
function tool(
  name: string,
  description: string,
  answer: (context: ToolContext) => readonly ContentBlock[] | Promise<readonly ContentBlock[]>,
): Tool {
  return defineTool({
    name,
    title: name,
    description,
    annotations: { readOnlyHint: true },
    input: NO_INPUT,
    longRunning: false,
    run: async (_input, context) => answer(context),
  })
}

const image: ContentBlock = { type: 'image', data: PNG, mimeType: 'image/png' }

const word = z.string().max(255)
/** Zod names the schema of the address by its `id`, and keeps the keywords that it does not know. */
const address = z
  .strictObject({ street: word.optional(), city: word.optional() })
  .meta({ id: 'address', $anchor: 'addressDef' })

const phone = { required: ['phone'] }
const email = { required: ['email'] }

/** What a tool does without the SDK. */
export const plainTools: readonly Tool[] = [
  tool('test_simple_text', 'Answers text.', () => [
    text('This is a simple text response for testing.'),
  ]),
  tool('test_image_content', 'Answers an image.', () => [image]),
  tool('test_audio_content', 'Answers sound.', () => [
    { type: 'audio', data: WAV, mimeType: 'audio/wav' },
  ]),
  tool('test_embedded_resource', 'Answers a resource.', () => [
    {
      type: 'resource',
      resource: {
        uri: 'test://embedded-resource',
        mimeType: 'text/plain',
        content: 'This is an embedded resource content.',
      },
    },
  ]),
  tool('test_multiple_content_types', 'Answers text, an image and a resource.', () => [
    text('Multiple content types test:'),
    image,
    {
      type: 'resource',
      resource: {
        uri: 'test://mixed-content-resource',
        mimeType: 'application/json',
        content: JSON.stringify({ test: 'data', value: 123 }),
      },
    },
  ]),
  tool('test_tool_with_logging', 'Logs as it goes.', async ({ log }) => {
    log('info', 'Tool execution started')
    await sleep(PAUSE_MS)
    log('info', 'Tool processing data')
    await sleep(PAUSE_MS)
    log('info', 'Tool execution completed')
    return [text('Logged.')]
  }),
  tool('test_logging_tool', 'Logs once.', ({ log }) => {
    log('info', 'Logged to whoever asked for it')
    return [text('Logged.')]
  }),
  tool('test_tool_with_progress', 'Tells how far it is.', async ({ progress }) => {
    for (const done of [0, 50, 100]) {
      progress(done, 100)
      await sleep(PAUSE_MS)
    }
    return [text('Done.')]
  }),
  tool('test_error_handling', 'Fails.', () => {
    throw new ToolError('This tool intentionally returns an error for testing')
  }),
  defineTool({
    name: 'test_x_mcp_header',
    title: 'Header',
    description: 'Has a parameter that callers repeat in a header.',
    annotations: { readOnlyHint: true },
    input: z.strictObject({ region: word.meta({ 'x-mcp-header': 'Region' }) }),
    longRunning: false,
    run: async ({ region }) => [text(region)],
  }),
  defineTool({
    name: 'json_schema_2020_12_tool',
    title: 'Schema',
    description: 'Has a schema with much of JSON Schema 2020-12 in it.',
    annotations: { readOnlyHint: true },
    input: z
      .strictObject({
        name: word.optional(),
        address: address.optional(),
        contactMethod: z.enum(['phone', 'email']).optional(),
        phone: word.optional(),
        email: word.optional(),
      })
      .meta({
        allOf: [{ anyOf: [phone, email] }],
        if: { properties: { contactMethod: { const: 'phone' } }, required: ['contactMethod'] },
        // biome-ignore lint/suspicious/noThenProperty: a keyword of JSON Schema
        then: phone,
        else: email,
      }),
    longRunning: false,
    run: async (input) => [text(JSON.stringify(input))],
  }),
]
