import { execFile } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { type Server, startServer, stopServers } from '../server.ts'
import { ROOT } from '../source-tree.ts'

const FOLDER = join(ROOT, 'test/clients/inspector')
const CLI = join(FOLDER, 'node_modules/@modelcontextprotocol/inspector')
const INSTALL = 'npm ci --prefix test/clients/inspector'
const isInstalled = existsSync(CLI)

const listed = z.object({ tools: z.array(z.object({ name: z.string() })) })
const called = z.object({ structuredContent: z.unknown() })

// It is a tool of people and nothing here depends on it, so a machine without it only says so.
describe.runIf(!isInstalled)('contract: the MCP Inspector', () => {
  it.skip(`is not installed: ${INSTALL}`)
})

describe.runIf(isInstalled)('contract: the MCP Inspector', () => {
  let server: Server
  let home: string
  beforeAll(async () => {
    home = mkdtempSync(join(tmpdir(), 'gatehouse-inspector-'))
    server = await startServer()
  })
  afterAll(async () => {
    await stopServers()
    rmSync(home, { recursive: true, force: true })
  })

  async function inspector(target: readonly string[], ...args: string[]): Promise<unknown> {
    const bin = join(FOLDER, 'node_modules/.bin/mcp-inspector')
    const { stdout } = await promisify(execFile)(
      process.execPath,
      [bin, '--cli', ...target, ...args],
      { cwd: ROOT, env: { PATH: process.env['PATH'], HOME: home } },
    )
    return JSON.parse(stdout)
  }
  const echo = ['--method', 'tools/call', '--tool-name', 'echo', '--tool-arg', 'text=hello']
  const http = (): readonly string[] => [
    ...[server.url, '--transport', 'http'],
    ...['--header', `Authorization: Bearer ${server.key}`],
  ]
  const stdio = [process.execPath, 'src/stdio.ts', '-e', 'NODE_ENV=development']

  it('lists the tools over Streamable HTTP', async () => {
    const { tools } = listed.parse(await inspector(http(), '--method', 'tools/list'))
    expect(tools.map(({ name }) => name)).toEqual([
      'echo',
      'whoami',
      'process_documents',
      'delete_report',
    ])
  }, 60_000)

  it('calls a tool over Streamable HTTP', async () => {
    const { structuredContent } = called.parse(await inspector(http(), ...echo))
    expect(structuredContent).toEqual({ text: 'hello' })
  }, 60_000)

  it('calls a tool over stdio', async () => {
    const { structuredContent } = called.parse(await inspector(stdio, ...echo))
    expect(structuredContent).toEqual({ text: 'hello' })
  }, 60_000)
})
