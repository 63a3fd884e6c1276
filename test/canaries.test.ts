import { randomBytes } from 'node:crypto'
import { appendFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { temporaryFolder } from './audit/pipe.ts'
import {
  inspectDevelopmentLog,
  leaksIn,
  noteRequests,
  noteSettings,
  takeLeaks,
} from './canaries.ts'
import { type ServerProcess, startServer, stopServers } from './server.ts'

afterEach(stopServers)

describe('contract: what no record may hold is found in what a server has written', () => {
  it.each([
    ['a word of a test', 'x canary-1 y'],
    ['an API key', `mcpk_abcd1234_${'a'.repeat(43)}_abcdef`],
    ['a token', 'eyJhbGciOiJFUzI1NiJ9'],
    ['a credential', 'authorization: bearer 0123456789abcdef'],
    ['a private key', '-----BEGIN PRIVATE KEY-----'],
    ['a query', '"url":{"path":"/mcp?a=b"}'],
    ['a frame of a stack', 'at run (node:internal/modules/run_main:101:5)'],
    ['a frame of this source', `at ${import.meta.filename}:1:1`],
    ['a path of this machine', `"${import.meta.dirname}"`],
  ])('finds %s', (_name, text) => {
    expect(leaksIn(`before ${text} after`)).not.toEqual([])
  })

  it.each([
    ['the id of a key', '"uid":"abcd1234","type":"API Key"'],
    ['a masked credential', '"path":"/[credential]"'],
    ['a place in the source', '"at":"src/tools/echo.ts:12:3"'],
    ['a refusal', '"status_detail":"authenticate.rejected"'],
    ['a path', '"url":{"path":"/.well-known/oauth-protected-resource/mcp"}'],
  ])('lets %s be', (_name, text) => {
    expect(leaksIn(text)).toEqual([])
  })

  it('knows what was sent by each way to send', async () => {
    const server = await startServer()
    const secrets = ['fetched', 'wired'].map((way) => `${way}-0123456789`)
    await fetch(server.url, { headers: { authorization: `Bearer ${secrets[0]}` } })
    noteRequests(`GET / HTTP/1.1\r\nAuthorization: Bearer ${secrets[1]}\r\n\r\n`)
    for (const secret of secrets) expect(leaksIn(`x${secret}x`)).toHaveLength(1)
    expect(leaksIn('never-sent-0123456789')).toEqual([])
  })

  it('knows root secrets in each form', () => {
    const [old, root] = [randomBytes(32), randomBytes(32)]
    noteSettings({
      MCP_SECRET: `${old.toString('base64')} ${root.toString('base64')}`,
    })
    for (const form of ['base64', 'base64url', 'hex'] as const) {
      expect(leaksIn(`x${root.toString(form)}x`)).not.toEqual([])
    }
  })

  it('lets development print its key once, and show messages of errors', () => {
    const key = `mcpk_abcd1234_${'a'.repeat(43)}_abcdef`
    const log = `list --key ${key}\n{"error":{"name":"Error","message":"a \\"canary-1"},"msg":"x"}\n`
    inspectDevelopmentLog(log)
    expect(takeLeaks()).toEqual([])
    inspectDevelopmentLog(`${log}{"msg":"canary-2"} --key ${key}`)
    expect(takeLeaks()).toHaveLength(2)
  })
})

describe('threat: a record with a secret, everybody who reads the log has it', () => {
  it.each(['stdout', 'stderr'] as const)('is found when a server ends, in %s', async (stream) => {
    const server: ServerProcess = await startServer()
    server.child[stream]?.emit('data', '{"msg":"canary-planted"}\n')
    await server.stop()
    expect(takeLeaks()).toEqual([expect.stringContaining('canary-planted')])
  })

  it.each(['audit.jsonl', 'audit.jsonl.1'])('is found when a server ends, in %s', async (name) => {
    using folder = temporaryFolder()
    const server = await startServer({ env: { MCP_AUDIT_FILE: join(folder.path, 'audit.jsonl') } })
    appendFileSync(join(folder.path, name), 'canary-planted\n')
    await server.stop()
    expect(takeLeaks()).toEqual([expect.stringContaining('canary-planted')])
  })

  it('is one that nobody has looked for, when the file is gone', async () => {
    const folder = temporaryFolder()
    const server = await startServer({ env: { MCP_AUDIT_FILE: join(folder.path, 'audit.jsonl') } })
    folder[Symbol.dispose]()
    await server.stop()
    expect(takeLeaks()).toEqual(['the trail of a server was not looked through'])
  })

  it('is a record that does not follow its schema', async () => {
    const server = await startServer()
    const record = server.stdout().split('\n')[0]?.replace('"unmapped":{', '"unmapped":{"a":1,')
    server.child.stdout?.emit('data', `${record}\n`)
    await server.stop()
    expect(takeLeaks()).toEqual(['server.start unmapped: unrecognized_keys a'])
  })

  it('finds nothing in what a server writes about a call full of secrets', async () => {
    const server = await startServer()
    expect((await server.call('echo', { text: 'canary-argument' })).status).toBe(200)
    expect((await server.call('echo', { wrong: 'canary-argument' })).status).toBe(200)
    expect((await server.call('canary-tool', {})).status).toBe(200)
    await server.stop()
    expect(server.audited().length).toBeGreaterThan(7)
    expect(takeLeaks()).toEqual([])
  })
})
