import { z } from 'zod'
import { defineTool } from '../define.ts'

export const echo = defineTool({
  name: 'echo',
  title: 'Echo',
  description: 'Returns the text it is given. Use it to see whether the connection works.',
  annotations: { readOnlyHint: true, idempotentHint: true, openWorldHint: false },
  input: z.strictObject({ text: z.string().max(65_536).describe('Text to return.') }),
  output: z.strictObject({ text: z.string().max(65_536).describe('The same text.') }),
  longRunning: false,

  async run({ text }) {
    return { text }
  },
})
