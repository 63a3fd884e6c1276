import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { connectingTools } from './connecting-tools.ts'
import { httpServer, json, type TestServer } from './http-server.ts'
import { type Server, startServer, stopServers } from './server.ts'

let upstream: TestServer
let noted: string
beforeEach(async () => {
  upstream = await httpServer(json({ rate: '1.08' }))
  noted = join(mkdtempSync(join(tmpdir(), 'gatehouse-connections-')), 'connections.jsonl')
})
afterEach(async () => {
  await stopServers()
  await upstream.down()
  rmSync(dirname(noted), { recursive: true })
})

/** A server that may reach the upstream by `asking` alone, and is watched from its first line on. */
function watchedServer(): Promise<Server> {
  return startServer({
    entry: 'test/connecting-server.ts',
    env: {
      NODE_OPTIONS: `--import=${join(import.meta.dirname, 'connections-probe.ts')}`,
      CONNECTIONS_FILE: noted,
    },
    policies: [
      [
        'access.yaml',
        'tools:\n',
        `tools:\n${connectingTools.map(({ name }) => `  ${name}: { scopes: [], why: "for tests" }\n`).join('')}`,
      ],
      [
        'egress.yaml',
        'tools: {}',
        `tools: { asking: [{ origin: "${upstream.origin}", methods: [GET], paths: [/rates], why: "for tests" }] }`,
      ],
    ],
  })
}

function ways(): readonly unknown[] {
  if (!existsSync(noted)) return []
  const lines = readFileSync(noted, 'utf8').trimEnd().split('\n')
  return lines.map((line): unknown => JSON.parse(line))
}

const SHIPPED: readonly (readonly [string, object])[] = [
  ['echo', { text: 'x' }],
  ['whoami', {}],
  ['process_documents', { documents: [{ name: 'a', text: 'b' }] }],
  ['delete_report', { id: 'unknown' }],
]

describe('threat: stolen data, something in the process calls a place that nobody has listed', () => {
  it('opens no connection from its start over all shipped tools to its end', async () => {
    const server = await watchedServer()
    for (const era of ['legacy', 'modern'] as const) {
      for (const [name, args] of SHIPPED) {
        const answer = await server.call(name, args, era)
        expect([name, answer.status]).toEqual([name, 200])
        await answer.text()
      }
    }
    await (await fetch(`${server.adminUrl}/metrics`)).text()
    expect(await server.stop()).toBe(0)
    expect(ways()).toEqual([])
  })

  it('opens one for a listed request, and none for another', async () => {
    const server = await watchedServer()
    await (await server.call('asking', { url: `${upstream.origin}/rates` })).text()
    await (await server.call('asking', { url: `${upstream.origin}/other` })).text()
    await (await server.call('asking', { url: 'https://example.com/rates' })).text()
    expect(ways()).toEqual([{ kind: 'connect', to: `127.0.0.1:${upstream.port}` }])
    expect(upstream.requests.map(({ url }) => url)).toEqual(['/rates'])
  })
})

describe('contract: the probe sees the ways around ctx.fetch', () => {
  it.each(['sneaking', 'tunnelling'])('%s', async (name) => {
    const server = await watchedServer()
    await (await server.call(name, { url: `${upstream.origin}/rates` })).text()
    expect(ways()).toContainEqual({ kind: 'connect', to: `127.0.0.1:${upstream.port}` })
  })
})
