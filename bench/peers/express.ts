// @modelcontextprotocol/sdk 1.32.2 on Express, as its example for a stateless server shows it:
// https://github.com/modelcontextprotocol/typescript-sdk/blob/1.32.2/src/examples/server/simpleStatelessStreamableHttp.ts
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createMcpExpressApp } from '@modelcontextprotocol/sdk/server/express.js'
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js'
import { sdkV1Server } from './sdk-v1-tools.ts'

const app = createMcpExpressApp()

app.post('/mcp', async (req: IncomingMessage & { body: unknown }, res: ServerResponse) => {
  const server = sdkV1Server()
  const transport = new StreamableHTTPServerTransport({})
  await server.connect(transport)
  await transport.handleRequest(req, res, req.body)
  res.on('close', () => {
    transport.close()
    server.close()
  })
})

app.listen(Number(process.env['PORT']), '127.0.0.1', () => console.log('listening'))
