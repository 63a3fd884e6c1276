// The SDK alone, behind Hono: ten tools registered for every request, as its documentation has it.
// BENCH_SCHEMAS=hoisted makes the zod objects once, at module scope; otherwise in the factory.
import { serve } from '@hono/node-server'
import { createMcpHandler, McpServer } from '@modelcontextprotocol/server'
import { Hono } from 'hono'
import type { z } from 'zod'
import { echoInput, sampleInput, sampleName, sampleOutput } from '../sample-tools.ts'

interface Schemas {
  readonly echo: ReturnType<typeof echoInput>
  readonly samples: readonly { readonly input: z.ZodObject; readonly output: z.ZodObject }[]
}

function schemas(): Schemas {
  const samples = Array.from({ length: 9 }, (_, index) => ({
    input: sampleInput(index),
    output: sampleOutput(),
  }))
  return { echo: echoInput(), samples }
}

const hoisted = process.env['BENCH_SCHEMAS'] === 'hoisted' ? schemas() : undefined

const handler = createMcpHandler(() => {
  const { echo, samples } = hoisted ?? schemas()
  const server = new McpServer({ name: 'bench', version: '1' })
  server.registerTool(
    'echo',
    { title: 'Echo', description: 'Returns the text.', inputSchema: echo, outputSchema: echo },
    ({ text }) => ({
      content: [{ type: 'text', text: JSON.stringify({ text }) }],
      structuredContent: { text },
    }),
  )
  for (const [index, { input, output }] of samples.entries()) {
    server.registerTool(
      sampleName(index),
      { title: 'Sample', description: 'Not called.', inputSchema: input, outputSchema: output },
      () => ({ content: [], structuredContent: { ids: [], total: 0 } }),
    )
  }
  return server
})

const app = new Hono()
app.all('/mcp', (c) => handler.fetch(c.req.raw))

serve({ fetch: app.fetch, hostname: '127.0.0.1', port: 0 }, ({ port }) => {
  console.log(`the SDK listens on http://127.0.0.1:${port}`)
})
