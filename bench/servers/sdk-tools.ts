import { McpServer } from '@modelcontextprotocol/server'
import type { z } from 'zod'
import {
  countInput,
  echoInput,
  holdInput,
  sampleInput,
  sampleName,
  sampleOutput,
  samples,
  untilGone,
} from '../sample-tools.ts'

export interface ToolSchemas {
  readonly echo: ReturnType<typeof echoInput>
  readonly count: ReturnType<typeof countInput>
  readonly hold: ReturnType<typeof holdInput>
  readonly samples: readonly { readonly input: z.ZodObject; readonly output: z.ZodObject }[]
}

export function toolSchemas(): ToolSchemas {
  return {
    echo: echoInput(),
    count: countInput(),
    hold: holdInput(),
    samples: samples().map((index) => ({ input: sampleInput(index), output: sampleOutput() })),
  }
}

/** A server of the SDK, v2, with the tools of the benchmark. */
export function sdkServer(schemas: ToolSchemas): McpServer {
  const server = new McpServer({ name: 'bench', version: '1' })
  registerTools(server, schemas)
  return server
}

/** Registers the tools of the benchmark. */
export function registerTools(
  server: Pick<McpServer, 'registerTool'>,
  { echo, count, hold, samples: others }: ToolSchemas,
): void {
  server.registerTool(
    'echo',
    { title: 'Echo', description: 'Returns the text.', inputSchema: echo, outputSchema: echo },
    ({ text }) => result({ text }),
  )
  server.registerTool(
    'count',
    { title: 'Count', description: 'Reports progress.', inputSchema: count, outputSchema: count },
    async ({ steps }, ctx) => {
      const progressToken = ctx.mcpReq._meta?.progressToken ?? ''
      for (let progress = 1; progress <= steps; progress += 1) {
        const params = { progressToken, progress, total: steps }
        await ctx.mcpReq.notify({ method: 'notifications/progress', params })
        await new Promise(setImmediate)
      }
      return result({ steps })
    },
  )
  server.registerTool(
    'hold',
    { title: 'Hold', description: 'Waits.', inputSchema: hold, outputSchema: hold },
    async ({ text }, ctx) => {
      const progressToken = ctx.mcpReq._meta?.progressToken ?? ''
      const params = { progressToken, progress: 1 }
      await ctx.mcpReq.notify({ method: 'notifications/progress', params })
      await untilGone(ctx.mcpReq.signal)
      return result({ text })
    },
  )
  for (const [index, { input, output }] of others.entries()) {
    server.registerTool(
      sampleName(index),
      { title: 'Sample', description: 'Not called.', inputSchema: input, outputSchema: output },
      () => result({ ids: [], total: 0 }),
    )
  }
}

/** @returns a structured result with its text, as the specification asks for */
export function result<T extends Record<string, unknown>>(
  structuredContent: T,
): { content: { type: 'text'; text: string }[]; structuredContent: T } {
  return { content: [{ type: 'text', text: JSON.stringify(structuredContent) }], structuredContent }
}
