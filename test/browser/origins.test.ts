import type { Page } from 'playwright-core'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { z } from 'zod'
import { httpServer, type TestServer } from '../http-server.ts'
import {
  type AuditRecord,
  callOf,
  type PolicyEdit,
  type Server,
  startServer,
  stopServers,
} from '../server.ts'
import { describeInChromium } from './chromium.ts'
import { type Forwarder, forwardTo } from './forwarder.ts'

/** A page of somebody else. */
let site: TestServer
beforeAll(async () => {
  site = await httpServer((_request, response) => {
    response
      .writeHead(200, { 'content-type': 'text/html' })
      .end('<!doctype html><title>A page</title>')
  })
})
afterAll(async () => {
  await site.down()
  await stopServers()
})

const seen = z.union([
  z.object({ status: z.int(), headers: z.record(z.string(), z.string()), text: z.string() }),
  z.object({ error: z.string() }),
])

/** What a script in the page gets to see of an answer. */
async function fetchIn(page: Page, url: string, init: object): Promise<z.output<typeof seen>> {
  const script = `fetch(${JSON.stringify(url)}, ${JSON.stringify(init)}).then(
    async (answer) => ({
      status: answer.status,
      headers: Object.fromEntries(answer.headers),
      text: await answer.text(),
    }),
    (error) => ({ error: error.name }),
  )`
  return seen.parse(await page.evaluate(script))
}

/** A call of `echo` as the script of a page sends it. */
function callWith(key: string): { method: string; headers: Record<string, string>; body: string } {
  return {
    method: 'POST',
    headers: {
      authorization: `Bearer ${key}`,
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      'mcp-protocol-version': '2026-07-28',
      'mcp-method': 'tools/call',
      'mcp-name': 'echo',
    },
    body: callOf('echo', { text: 'hello' }, 1, {
      'io.modelcontextprotocol/protocolVersion': '2026-07-28',
      'io.modelcontextprotocol/clientInfo': { name: 'page', version: '1.0.0' },
      'io.modelcontextprotocol/clientCapabilities': {},
    }),
  }
}

const decisions = (server: Server): readonly AuditRecord[] =>
  server.audited().filter((record) => record.metadata.event_code === 'decision')

function refusedAs(server: Server, reason: string): Promise<AuditRecord> {
  return server.recorded(
    (record) => record.metadata.event_code === 'request' && record.status_detail === reason,
  )
}

const origins = (...hosts: readonly string[]): PolicyEdit => [
  'http.yaml',
  'origins: []',
  `origins: ${JSON.stringify(hosts.map((host) => ({ value: `http://${host}`, why: 'of the test' })))}`,
]

describeInChromium(
  'threat: a foreign page, it calls tools with the network position of its visitor',
  (chromium) => {
    it.each<[string, (url: string, key: string) => string]>([
      [
        'a call as an honest page would send it',
        (url, key) => `fetch('${url}', ${JSON.stringify(callWith(key))})`,
      ],
      [
        'a call without a preflight',
        (url, key) => {
          const headers = { 'content-type': 'text/plain' }
          return `fetch('${url}', ${JSON.stringify({ ...callWith(key), headers, mode: 'no-cors' })})`
        },
      ],
      [
        'a form',
        (url) => `(() => {
          const form = document.createElement('form')
          Object.assign(form, { method: 'POST', action: '${url}', enctype: 'text/plain' })
          const field = document.createElement('input')
          Object.assign(field, { name: '{"jsonrpc":"2.0","x":"', value: '"}' })
          form.append(field)
          document.body.append(form)
          form.submit()
        })()`,
      ],
      ['a picture', (url) => `(() => { new Image().src = '${url}' })()`],
    ])('stops %s, and nothing ran', async (name, script) => {
      const server = await startServer({ policies: [origins(`app.test:${site.port}`)] })
      await using at = await chromium.open(`http://evil.test:${site.port}/`)
      await at.page.evaluate(`Promise.resolve(${script(server.url, server.key)}).catch(() => {})`)
      const reason = name === 'a picture' ? 'origin-guard.cross-site' : 'origin-guard.not-allowed'
      await refusedAs(server, reason)
      expect(decisions(server)).toEqual([])
    })

    it('cannot read a thing, where the page of an allowed origin can', async () => {
      const server = await startServer({ policies: [origins(`app.test:${site.port}`)] })
      const init = callWith(server.key)
      {
        await using evil = await chromium.open(`http://evil.test:${site.port}/`)
        expect(await fetchIn(evil.page, server.url, init)).toEqual({ error: 'TypeError' })
        await refusedAs(server, 'origin-guard.not-allowed')
        expect(decisions(server)).toEqual([])
      }
      await using app = await chromium.open(`http://app.test:${site.port}/`)
      const answer = await fetchIn(app.page, server.url, init)
      expect(answer).toMatchObject({ status: 200, text: expect.stringContaining('hello') })
      expect(decisions(server)).toHaveLength(1)
    })
  },
  ['app.test', 'evil.test'],
)

describeInChromium(
  'threat: DNS rebinding, the name of a page comes to mean this server',
  (chromium) => {
    // Page and server have the same name and port, so to the browser they are one: CORS does not apply.
    let name: Forwarder
    beforeAll(async () => {
      name = await forwardTo(site.port)
    })
    afterAll(() => name.close())

    it.each<[string, () => readonly PolicyEdit[], string | undefined]>([
      ['is stopped by the Host check', () => [], 'host-guard.not-allowed'],
      [
        'is stopped by the Origin check, were the name allowed',
        () => [['http.yaml', 'hosts: []', `hosts: ["rebound.test:${name.port}"]`]],
        'origin-guard.not-allowed',
      ],
      [
        'does reach the server: with both allowed it is an ordinary client',
        () => [
          ['http.yaml', 'hosts: []', `hosts: ["rebound.test:${name.port}"]`],
          origins(`rebound.test:${name.port}`),
        ],
        undefined,
      ],
    ])('%s', async (_name, policies, reason) => {
      const server = await startServer({ policies: policies() })
      name.leadTo(site.port)
      await using at = await chromium.open(`http://rebound.test:${name.port}/`)
      name.leadTo(server.port)
      const url = `http://rebound.test:${name.port}/mcp`
      const answer = await fetchIn(at.page, url, callWith(server.key))
      if (reason === undefined) {
        expect(answer).toMatchObject({ status: 200, text: expect.stringContaining('hello') })
        expect(decisions(server)).toHaveLength(1)
      } else {
        expect(answer).toMatchObject({ status: reason.startsWith('host') ? 421 : 403 })
        await refusedAs(server, reason)
        expect(decisions(server)).toEqual([])
      }
    })
  },
  ['rebound.test'],
)

describeInChromium('contract: a page reads what it needs to act on', (chromium) => {
  const openSite = () => chromium.open(`http://127.0.0.1:${site.port}/`)

  it('sends a preflight that names the Mcp-* headers, and it is allowed', async () => {
    const server = await startServer()
    await using at = await openSite()
    const session = await at.page.context().newCDPSession(at.page)
    await session.send('Network.enable')
    const asked: string[] = []
    session.on('Network.requestWillBeSentExtraInfo', ({ headers }) => {
      const names = headers['Access-Control-Request-Headers']
      if (names !== undefined) asked.push(...names.split(','))
    })
    const answer = await fetchIn(at.page, server.url, callWith(server.key))
    expect(answer).toMatchObject({ status: 200 })
    expect(asked).toEqual(
      expect.arrayContaining(['authorization', 'mcp-method', 'mcp-name', 'mcp-protocol-version']),
    )
    const preflight = await server.recorded(
      (record) => record.http_request?.http_method === 'OPTIONS',
    )
    expect(preflight.http_response.code).toBe(204)
  })

  it('reads a 401: the challenge, and the id to ask the operator about', async () => {
    const server = await startServer()
    await using at = await openSite()
    const answer = await fetchIn(at.page, server.url, callWith('wrong'))
    expect(answer).toMatchObject({
      status: 401,
      headers: {
        'www-authenticate': expect.stringMatching(/^Bearer .*resource_metadata="http/),
        'x-request-id': expect.stringMatching(/^[0-9a-f-]{36}$/),
      },
    })
  })

  it('reads a 429: when to come again', async () => {
    const few: PolicyEdit = ['limits.yaml', 'requestsPerMinute: 1200', 'requestsPerMinute: 1']
    const server = await startServer({ policies: [few] })
    await using at = await openSite()
    const init = callWith(server.key)
    expect(await fetchIn(at.page, server.url, init)).toMatchObject({ status: 200 })
    expect(await fetchIn(at.page, server.url, init)).toMatchObject({
      status: 429,
      headers: {
        'retry-after': expect.stringMatching(/^\d+$/),
        ratelimit: expect.stringMatching(/^"principal"/),
        'ratelimit-policy': expect.stringMatching(/^"principal"/),
      },
    })
  })
})
