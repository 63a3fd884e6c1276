// mcp-handler 2.4.0, as its README shows it ("Quick Start"; "Hono routes using c.req.raw").
// https://www.npmjs.com/package/mcp-handler/v/2.4.0
import { serve } from '@hono/node-server'
import { Hono } from 'hono'
import { createMcpHandler } from 'mcp-handler'
import { registerTools, toolSchemas } from '../servers/sdk-tools.ts'

const handler = createMcpHandler((server) => registerTools(server, toolSchemas()))

const app = new Hono()
app.all('/mcp', (c) => handler(c.req.raw))

serve({ fetch: app.fetch, hostname: '127.0.0.1', port: Number(process.env['PORT']) }, () => {
  console.log('listening')
})
