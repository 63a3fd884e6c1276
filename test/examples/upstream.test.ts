import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { httpServer, json, type TestServer } from '../http-server.ts'
import { type Server, startServer, stopServers } from '../server.ts'

let upstream: TestServer
let folder: string
beforeEach(async () => {
  upstream = await httpServer(json({ rate: 1.08 }))
  folder = mkdtempSync(join(tmpdir(), 'gatehouse-upstream-'))
  writeFileSync(join(folder, 'key'), 'canary-of-the-server\n')
})
afterEach(async () => {
  await stopServers()
  await upstream.down()
  rmSync(folder, { recursive: true })
})

/** A server with the sample, and the entry that it needs. */
function sampleServer(): Promise<Server> {
  const credential = `{ file: "${join(folder, 'key')}" }`
  const entry = `{ origin: "${upstream.origin}", methods: [GET], paths: [/v1/rates/], credential: ${credential}, why: "for tests" }`
  return startServer({
    entry: 'test/examples/upstream-server.ts',
    env: { RATES_SERVICE: upstream.origin },
    policies: [
      ['access.yaml', 'tools:\n', 'tools:\n  exchange_rate: { scopes: [], why: "for tests" }\n'],
      ['egress.yaml', 'tools: {}', `tools: { exchange_rate: [${entry}] }`],
    ],
  })
}

const RATE = { from: 'EUR', to: 'USD' }

describe('contract: the sample asks another service', () => {
  it('answers with what that service says', async () => {
    const server = await sampleServer()
    const answer = await (await server.call('exchange_rate', RATE)).text()
    expect(answer).toContain('"structuredContent":{"rate":1.08}')
    expect(upstream.requests.map(({ url }) => url)).toEqual(['/v1/rates/EUR/USD'])
    const record = await server.recorded(({ metadata }) => metadata.event_code === 'egress')
    expect(record).toMatchObject({
      status_code: 'ok',
      unmapped: { egress: { origin: upstream.origin, http_method: 'GET', http_status: 200 } },
    })
  })
})

describe('threat: a leaked credential goes on being sent after it was replaced', () => {
  it('sends the new one without a restart', async () => {
    const server = await sampleServer()
    await (await server.call('exchange_rate', RATE)).text()
    writeFileSync(join(folder, 'key'), 'the-new-one\n')
    await server.recorded(({ metadata }) => metadata.event_code === 'keys.reload')
    await (await server.call('exchange_rate', RATE)).text()
    const sent = upstream.requests.map(({ headers }) => headers.authorization)
    expect(sent).toEqual(['Bearer canary-of-the-server', 'Bearer the-new-one'])
  })

  it('goes on with the one it has while the file holds none, and says so', async () => {
    const server = await sampleServer()
    writeFileSync(join(folder, 'key'), 'two\nlines\n')
    const record = await server.recorded(({ metadata }) => metadata.event_code === 'keys.reload')
    expect(record.status_code).toBe('refused')
    await (await server.call('exchange_rate', RATE)).text()
    expect(upstream.requests[0]?.headers.authorization).toBe('Bearer canary-of-the-server')
  })
})

describe("threat: token passthrough, a service gets the caller's credential", () => {
  it("sends the server's own credential, and nothing of the caller's", async () => {
    const server = await sampleServer()
    await (await server.call('exchange_rate', RATE)).text()
    const [request] = upstream.requests
    expect(request?.headers.authorization).toBe('Bearer canary-of-the-server')
    expect(JSON.stringify(request?.rawHeaders)).not.toContain(server.key)
  })

  it('shows neither credential to the caller, in an answer or a record', async () => {
    upstream.answer = (_request, response) => response.writeHead(401).end()
    const server = await sampleServer()
    const answer = await (await server.call('exchange_rate', RATE)).text()
    expect(answer).toContain('The tool failed (reference ')
    const written = `${answer}${server.stdout()}${server.stderr()}`
    expect(written).not.toContain('canary-of-the-server')
  })
})
