import { hash } from 'node:crypto'
import { inspect } from 'node:util'
import { Server, type Transport } from '@modelcontextprotocol/server'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { testApp, toolCall } from '../app.ts'

/** What the SDK is told of callers, as its own servers receive it. */
const told: unknown[] = []
const { connect } = Server.prototype
vi.spyOn(Server.prototype, 'connect').mockImplementation(async function (
  this: Server,
  transport: Transport,
) {
  await connect.call(this, transport)
  const receive = transport.onmessage
  transport.onmessage = (message, extra) => {
    told.push(extra?.authInfo)
    receive?.(message, extra)
  }
})

afterEach(() => {
  told.length = 0
})

describe('threat: the token in what the SDK keeps of a caller, a tool or a log has it', () => {
  it.each([
    ['2026-07-28', 'modern'],
    ['a 2025 revision', 'legacy'],
  ])('has its digest and nothing else of it: %s', async (_name, era) => {
    const app = testApp()
    const legacy = {
      headers: { 'mcp-protocol-version': null, 'mcp-method': null, 'mcp-name': null },
      body: {
        jsonrpc: '2.0',
        id: 1,
        method: 'tools/call',
        params: { name: 'whoami', arguments: {} },
      },
    }
    const answer = await app.send(era === 'modern' ? { body: toolCall('whoami', {}) } : legacy)
    expect(answer.json).toMatchObject({ result: { structuredContent: { kind: 'api-key' } } })
    expect(told).toMatchObject([{ token: hash('sha256', app.key), clientId: expect.any(String) }])
    const secret = /^mcpk_[^_]+_(.{43})_/.exec(app.key)?.[1]
    expect(secret).toBeDefined()
    expect(inspect(told, { depth: 20, showHidden: true })).not.toContain(secret)
    app.close()
  })
})
