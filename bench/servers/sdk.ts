// The SDK alone, behind Hono, with all tools registered for every request, as its documentation has
// it. BENCH_SCHEMAS=hoisted makes the zod objects once, at module scope; otherwise in the factory.
// https://ts.sdk.modelcontextprotocol.io/v2/serving/http
import { serve } from '@hono/node-server'
import { createMcpHandler } from '@modelcontextprotocol/server'
import { Hono } from 'hono'
import { sdkServer, toolSchemas } from './sdk-tools.ts'

const hoisted = process.env['BENCH_SCHEMAS'] === 'hoisted' ? toolSchemas() : undefined

const handler = createMcpHandler(() => sdkServer(hoisted ?? toolSchemas()))

const app = new Hono()
app.all('/mcp', (c) => handler.fetch(c.req.raw))

serve({ fetch: app.fetch, hostname: '127.0.0.1', port: Number(process.env['PORT']) }, () => {
  console.log('listening')
})
