// @hono/mcp 0.3.2, as its README shows it ("Streamable HTTP Transport"): one server and one transport.
// https://www.npmjs.com/package/@hono/mcp/v/0.3.2
import { StreamableHTTPTransport } from '@hono/mcp'
import { serve } from '@hono/node-server'
import { Hono } from 'hono'
import { sdkV1Server } from './sdk-v1-tools.ts'

const app = new Hono()
const mcpServer = sdkV1Server()
const transport = new StreamableHTTPTransport()

app.all('/mcp', async (c) => {
  if (!mcpServer.isConnected()) {
    await mcpServer.connect(transport)
  }
  return transport.handleRequest(c)
})

serve({ fetch: app.fetch, hostname: '127.0.0.1', port: Number(process.env['PORT']) }, () => {
  console.log('listening')
})
