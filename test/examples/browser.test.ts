import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it, onTestFinished } from 'vitest'
import { issuerOrigins } from '../../examples/browser/issuers.ts'
import { startPageServer } from '../../examples/browser/page-server.ts'
import { httpServer, json } from '../http-server.ts'
import { connect } from '../raw-http.ts'

const ROOT = join(import.meta.dirname, '../..')
const PAGE = join(ROOT, 'examples/browser/page')
const temporary = mkdtempSync(join(tmpdir(), 'browser-demo-'))
afterAll(() => rmSync(temporary, { recursive: true }))

interface Demo {
  readonly child: ChildProcess
  readonly closed: Promise<unknown>
  output(): string
  /** Resolves with the groups of what it has said; fails when it ends without. */
  says(text: RegExp): Promise<Partial<Record<string, string>>>
}

function startDemo(...args: readonly string[]): Demo {
  const child = spawn(process.execPath, ['examples/browser/main.ts', ...args], {
    cwd: ROOT,
    env: { PATH: process.env['PATH'], TMPDIR: temporary },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  onTestFinished(() => void child.kill('SIGKILL'))
  const closed = once(child, 'close')
  let text = ''
  let look = (): void => {}
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk
      look()
    })
  }
  return {
    child,
    closed,
    output: () => text,
    async says(pattern) {
      const { promise, resolve, reject } = Promise.withResolvers<Partial<Record<string, string>>>()
      look = () => {
        const found = pattern.exec(text)
        if (found !== null) resolve(found.groups ?? {})
      }
      look()
      closed.then(() => reject(new Error(`It ended:\n${text}`)))
      return promise
    },
  }
}

const READY = /Open +(?<page>http:\/\/127\.0\.0\.1:\d+\/)\nServer +(?<server>\S+)\n/
const READY_WITH_KEY = new RegExp(`${READY.source}API key (?<key>\\S+)\\n`)

describe('contract: npm run demo:browser', () => {
  it('starts a server and the page, and Ctrl+C ends both', async () => {
    const demo = startDemo()
    const { page = '', server = '', key = '' } = await demo.says(READY_WITH_KEY)
    const config = await (await fetch(`${page}config.json`)).json()
    expect(config).toEqual({ server, clientId: null })
    const preflight = await fetch(server, {
      method: 'OPTIONS',
      headers: { origin: new URL(page).origin, 'access-control-request-method': 'POST' },
    })
    expect(preflight.headers.get('access-control-allow-origin')).toBe(new URL(page).origin)
    expect(key).toMatch(/^mcpk_/)

    demo.child.kill('SIGINT')
    await demo.closed
    expect(demo.child.exitCode).toBe(0)
    await expect(fetch(page)).rejects.toThrow('fetch failed')
    await expect(fetch(server)).rejects.toThrow('fetch failed')
    expect(readdirSync(temporary)).toEqual([])
  })

  it('serves the page alone for a server that is named', async () => {
    const other = await httpServer(json({}))
    const demo = startDemo('--server', `${other.origin}/mcp`, '--client-id', 'page')
    const { page = '' } = await demo.says(READY)
    const config = await (await fetch(`${page}config.json`)).json()
    expect(config).toEqual({ server: `${other.origin}/mcp`, clientId: 'page' })
    expect(demo.output()).not.toContain('API key')
    demo.child.kill('SIGINT')
    await demo.closed
    await other.down()
  })

  it.each([
    ['an option that it does not know', ['--nope']],
    ['a server over an open network', ['--server', 'http://mcp.example.com/mcp']],
    ['a server that is no URL', ['--server', 'mcp']],
    ['an origin over an open network', ['--connect', 'http://auth.example.com']],
    ['a port that is none', ['--port', '70000']],
  ])('refuses %s', async (_name, args) => {
    const demo = startDemo(...args)
    await demo.closed
    expect(demo.child.exitCode).toBe(2)
    expect(demo.output()).toContain('Usage: npm run demo:browser')
  })

  it('says how it is used', async () => {
    const demo = startDemo('--help')
    await demo.closed
    expect(demo.child.exitCode).toBe(0)
    expect(demo.output()).toMatch(/^Usage: npm run demo:browser/)
  })
})

describe('contract: the server of the page', () => {
  const options = { server: 'https://mcp.example.com/mcp', clientId: null, port: 0 } as const

  it('serves every file of the page, and the packages that it imports', async () => {
    await using page = await startPageServer({ ...options, connect: [] })
    const own = readdirSync(PAGE).map((name) => (name === 'index.html' ? '' : name))
    const vendor = [
      'oauth4webapi.js',
      'eventsource-parser/stream.js',
      'eventsource-parser/index.js',
    ]
    for (const path of [...own, 'callback', ...vendor.map((name) => `vendor/${name}`)]) {
      const response = await fetch(page.url + path)
      expect(response.status, path).toBe(200)
      expect((await response.text()).length, path).toBeGreaterThan(0)
    }
  })

  it('lets the page talk to the named origins alone, and runs no inline script', async () => {
    await using page = await startPageServer({
      ...options,
      connect: ['https://mcp.example.com', 'https://auth.example.com'],
    })
    const { headers } = await fetch(page.url)
    expect(headers.get('content-security-policy')?.split('; ')).toEqual([
      "default-src 'none'",
      "script-src 'self'",
      "style-src 'self'",
      "img-src 'self'",
      "connect-src 'self' https://mcp.example.com https://auth.example.com",
      "base-uri 'none'",
      "form-action 'none'",
      "frame-ancestors 'none'",
      "require-trusted-types-for 'script'",
      "trusted-types 'none'",
    ])
    expect(headers.get('referrer-policy')).toBe('no-referrer')
    expect(headers.get('x-content-type-options')).toBe('nosniff')
    expect(headers.get('access-control-allow-origin')).toBeNull()
  })

  it('goes to the issuers that the server names, unless a secret must not go there', async () => {
    const servers = ['https://auth.example.com/tenant', 'http://127.0.0.1:9', 'http://evil.example']
    const server = await httpServer(json({ authorization_servers: servers }))
    expect(await issuerOrigins(`${server.origin}/mcp`)).toEqual([
      'https://auth.example.com',
      'http://127.0.0.1:9',
    ])
    expect(server.requests[0]?.url).toBe('/.well-known/oauth-protected-resource/mcp')
    await server.down()
    expect(await issuerOrigins(`${server.origin}/mcp`)).toEqual([])
  })
})

describe('threat: a file beside the page, somebody on this machine reads it', () => {
  it.each([
    '/page-server.ts',
    '/../page-server.ts',
    '/..%2fpage-server.ts',
    '/%2e%2e/page-server.ts',
    '/./main.js',
    '//main.js',
    '/vendor/../../../package.json',
    '/constructor',
    '/__proto__',
    '/etc/passwd',
    'http://127.0.0.1/etc/passwd',
  ])('finds nothing at %s', async (target) => {
    await using page = await startPageServer({
      server: 'https://mcp.example.com/mcp',
      clientId: null,
      port: 0,
      connect: [],
    })
    using connection = connect({ port: Number(new URL(page.url).port) })
    connection.write(`GET ${target} HTTP/1.1\r\nHost: x\r\n\r\n`)
    expect(await connection.answer()).toMatchObject({ status: 404, body: '' })
    connection.write('GET /main.js?x HTTP/1.1\r\nHost: x\r\n\r\n')
    expect(await connection.answer()).toMatchObject({ status: 200 })
    connection.write('POST /main.js HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n')
    expect(await connection.answer()).toMatchObject({ status: 405, body: '' })
  })
})
