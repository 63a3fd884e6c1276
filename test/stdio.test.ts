import { readFileSync, writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, describe, expect, it } from 'vitest'
import { META, toolCall } from './app.ts'
import { production } from './production.ts'
import { PRINTING_ENTRIES } from './stdio/printing-tools.ts'
import { policiesWith, type StdioProcess, startStdio, stopProcesses } from './stdio/process.ts'

afterEach(stopProcesses)

const PRINTING = 'test/stdio/printing-server.ts'
const echo = { ...toolCall('echo', { text: 'hi' }), id: 1 }
const started = (server: StdioProcess): Promise<unknown> => server.ask({ ...echo, id: 'started' })

/** Calls a tool that says so by progress when it runs. */
async function running(server: StdioProcess, name: string): Promise<void> {
  server.send({
    jsonrpc: '2.0',
    id: name,
    method: 'tools/call',
    params: { name, arguments: {}, _meta: { ...META, progressToken: name } },
  })
  await server.arrived(({ method }) => method === 'notifications/progress')
}

function printingServer(): StdioProcess {
  return startStdio({ entry: PRINTING, env: { MCP_POLICY_DIR: policiesWith(PRINTING_ENTRIES) } })
}

/** A process with no more rights than it needs, as it runs in production. */
function inProduction(env: Readonly<Record<string, string | undefined>> = {}): {
  readonly server: StdioProcess
  revoke(): void
} {
  const { env: http, key, keysFile, folder, unprivileged } = production(undefined, ['mcp:use'])
  const { MCP_SECRET = '', MCP_API_KEYS_FILE = '' } = http
  const all = {
    NODE_ENV: 'production',
    MCP_AUDIT_FILE: `${folder}/audit.jsonl`,
    MCP_SECRET,
    MCP_API_KEYS_FILE,
    MCP_STDIO_KEY: key,
    ...env,
  }
  return {
    server: startStdio({ env: all, ...unprivileged }),
    revoke() {
      const text = readFileSync(keysFile, 'utf8')
      writeFileSync(
        keysFile,
        text.replace('"revokedAt": null', '"revokedAt": "2026-01-01T00:00:00Z"'),
      )
    },
  }
}

describe('threat: something else on standard output, the host reads it as a message', () => {
  it('keeps what a tool prints off it', async () => {
    const server = printingServer()
    expect(await server.ask({ ...toolCall('printing', {}), id: 1 })).toMatchObject({ result: {} })
    server.child.stdin?.end()
    expect(await server.exited).toBe(0)
    expect(server.received().map(({ id }) => id)).toEqual([1])
    for (const by of ['console.log', 'console.info', 'console.table', 'process.stdout.write']) {
      expect(server.stderr()).toContain(`by ${by}`)
    }
  })

  it('writes the trail to standard error when nothing else is said', async () => {
    const server = startStdio({ env: { MCP_AUDIT_FILE: undefined } })
    await server.ask(echo)
    server.child.stdin?.end()
    expect(await server.exited).toBe(0)
    expect(server.received()).toHaveLength(1)
    expect(server.stderr()).toContain('"event_code":"server.start"')
  })

  it('refuses to send the trail there', async () => {
    const server = startStdio({ env: { MCP_AUDIT_FILE: '/dev/stdout' } })
    expect(await server.exited).toBe(78)
    expect(server.received()).toEqual([])
    expect(server.stderr()).toContain('MCP_AUDIT_FILE: must not be standard output')
  })
})

describe('threat: a key that does not hold any more, the process goes on', () => {
  it('ends by itself, with a line that says why', async () => {
    const { server, revoke } = inProduction()
    await started(server)
    revoke()
    // Nobody sends anything any more.
    expect(await server.exited).toBe(0)
    expect(server.stderr()).toContain('The API key of this process does not hold any more')
  }, 30_000)

  it.each([
    ['without a key', { MCP_STDIO_KEY: undefined }, 'MCP_STDIO_KEY: or MCP_STDIO_KEY_FILE is'],
    ['with a key of nobody', { MCP_STDIO_KEY: 'mcpk_canary' }, 'MCP_STDIO_KEY: is not a live key'],
    ['without a key file', { MCP_API_KEYS_FILE: undefined }, 'MCP_STDIO_KEY: needs MCP_API_KEYS'],
    ['without a secret', { MCP_SECRET: undefined }, 'MCP_SECRET: or MCP_SECRET_FILE is required'],
  ])('does not start %s', async (_name, env, text) => {
    const { server } = inProduction(env)
    expect(await server.exited).toBe(78)
    expect(server.stderr()).toContain(text)
    expect(server.stderr()).not.toContain('canary')
    expect(server.received()).toEqual([])
  })

  it('starts with a key and a secret, whatever other variables say', async () => {
    const { server } = inProduction({ MCP_OF_ANOTHER_SERVER: 'x', HOST: 'nonsense', PORT: 'no' })
    expect(await started(server)).toMatchObject({ result: { structuredContent: { text: 'hi' } } })
    const whoami = await server.ask({ ...toolCall('whoami', {}), id: 2 })
    expect(whoami.result.structuredContent).toMatchObject({ kind: 'api-key', subject: 'ci' })
  })
})

describe('contract: in development the person at the machine needs no key', () => {
  it('runs as the local principal, with the scopes of everything', async () => {
    const server = startStdio()
    const { result } = await server.ask({ ...toolCall('whoami', {}), id: 1 })
    expect(result.structuredContent).toEqual({
      kind: 'local',
      issuer: 'gatehouse',
      client: '',
      subject: 'local',
      scopes: ['documents:process', 'mcp:use', 'reports:delete', 'reports:read'],
      roles: [],
      tenant: null,
    })
  })
})

describe('contract: the end', () => {
  const ENDS: readonly (readonly [string, (server: StdioProcess) => void])[] = [
    ['its input ends', ({ child }) => child.stdin?.end()],
    ['SIGTERM', ({ child }) => child.kill('SIGTERM')],
    ['SIGINT', ({ child }) => child.kill('SIGINT')],
    ['SIGHUP', ({ child }) => child.kill('SIGHUP')],
  ]

  it.each(ENDS)('answers what runs and ends with 0 when %s', async (_name, end) => {
    const server = printingServer()
    await running(server, 'slow')
    end(server)
    expect(await server.exited).toBe(0)
    expect(server.received().at(-1)).toMatchObject({ id: 'slow', result: {} })
    expect(server.audited().map(({ metadata }) => metadata.event_code)).toEqual(
      expect.arrayContaining(['outcome', 'request', 'server.stop', 'audit.checkpoint']),
    )
  })

  it('answers what never ends when the time is over', async () => {
    const server = startStdio({
      entry: PRINTING,
      env: { MCP_POLICY_DIR: policiesWith(PRINTING_ENTRIES), MCP_DRAIN_SECONDS: '1' },
    })
    await running(server, 'endless')
    server.child.stdin?.end()
    expect(await server.exited).toBe(0)
    expect(server.received().at(-1)).toMatchObject({
      id: 'endless',
      result: { isError: true, content: [{ text: expect.stringContaining('shutting down') }] },
    })
  })

  it('ends when its host is gone', async () => {
    const server = printingServer()
    await running(server, 'slow')
    server.child.stdout?.destroy()
    server.send({ ...echo, id: 9 })
    expect(await server.exited).toBe(0)
  })
})

describe('threat: a host that does not read, memory grows with what it is sent', () => {
  it('thins out progress for it, and holds no more than a few messages', async () => {
    const server = printingServer()
    await running(server, 'slow')
    server.child.stdout?.pause()
    const rss = (): number => {
      const pages = readFileSync(`/proc/${server.child.pid}/statm`, 'utf8').split(' ')[1]
      return Number(pages) * 4096
    }
    const before = rss()
    const params = { name: 'chatty', arguments: {}, _meta: { ...META, progressToken: 1 } }
    server.send({ jsonrpc: '2.0', id: 'chatty', method: 'tools/call', params })
    for (let id = 0; id < 5000; id++) {
      const text = 'x'.repeat(10_000)
      server.send({ ...toolCall('echo', { text }), id })
    }
    // Until it takes nothing any more. The answers alone would be 100 MB.
    const unread = (): number => server.child.stdin?.writableLength ?? 0
    for (let before = -1; before !== unread(); await sleep(500)) before = unread()
    expect(unread()).toBeGreaterThan(40_000_000)
    expect(rss() - before).toBeLessThan(64 * 1024 * 1024)
  }, 30_000)
})
