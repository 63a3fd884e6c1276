// The floor: Hono parses one JSON body and answers one of the right shape. No protocol, no checks.
import { serve } from '@hono/node-server'
import { Hono } from 'hono'

const app = new Hono()

app.post('/mcp', async (c) => {
  const { id, params } = await c.req.json()
  const { text } = params.arguments
  const content = [{ type: 'text', text: JSON.stringify({ text }) }]
  return c.json({ jsonrpc: '2.0', id, result: { content, structuredContent: { text } } })
})

serve({ fetch: app.fetch, hostname: '127.0.0.1', port: Number(process.env['PORT']) }, () => {
  console.log('listening')
})
