import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js'
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
import { result } from '../servers/sdk-tools.ts'

/** A server of the SDK, v1, with the tools of the benchmark. */
export function sdkV1Server(): McpServer {
  const server = new McpServer({ name: 'bench', version: '1' })
  const echo = echoInput()
  server.registerTool(
    'echo',
    { title: 'Echo', description: 'Returns the text.', inputSchema: echo, outputSchema: echo },
    async ({ text }) => result({ text }),
  )
  const count = countInput()
  server.registerTool(
    'count',
    { title: 'Count', description: 'Reports progress.', inputSchema: count, outputSchema: count },
    async ({ steps }, extra) => {
      const progressToken = extra._meta?.progressToken ?? ''
      for (let progress = 1; progress <= steps; progress += 1) {
        const params = { progressToken, progress, total: steps }
        await extra.sendNotification({ method: 'notifications/progress', params })
        await new Promise(setImmediate)
      }
      return result({ steps })
    },
  )
  const hold = holdInput()
  server.registerTool(
    'hold',
    { title: 'Hold', description: 'Waits.', inputSchema: hold, outputSchema: hold },
    async ({ text }, extra) => {
      const progressToken = extra._meta?.progressToken ?? ''
      const params = { progressToken, progress: 1 }
      await extra.sendNotification({ method: 'notifications/progress', params })
      await untilGone(extra.signal)
      return result({ text })
    },
  )
  for (const index of samples()) {
    server.registerTool(
      sampleName(index),
      {
        title: 'Sample',
        description: 'Not called.',
        inputSchema: sampleInput(index),
        outputSchema: sampleOutput(),
      },
      async () => result({ ids: [], total: 0 }),
    )
  }
  return server
}
