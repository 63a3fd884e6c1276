import { afterEach, describe, expect, it } from 'vitest'
import { largeResults, misbehavingAccess } from './misbehaving-tools.ts'
import { connect } from './raw-http.ts'
import { callOf, type Server, startServer, stopServers } from './server.ts'
import { callWith, filled, LENGTH, post } from './wire.ts'

afterEach(stopServers)

/** Longer than any test may take, as is what else would end the slow clients. */
const LONG = { MCP_DRAIN_SECONDS: '120' }

function misbehaving(): Promise<Server> {
  return startServer({
    entry: 'test/misbehaving-server.ts',
    env: LONG,
    policies: [
      misbehavingAccess,
      largeResults,
      ['limits.yaml', 'requestMs: 15000', 'requestMs: 30000'],
    ],
  })
}

async function draining({ adminUrl }: Server): Promise<void> {
  const said = async (): Promise<string> => (await fetch(`${adminUrl}/readyz`)).text()
  await expect.poll(said, { interval: 20 }).toContain('"drain":"draining"')
}

const LISTEN = {
  jsonrpc: '2.0',
  id: 7,
  method: 'subscriptions/listen',
  params: {
    notifications: { toolsListChanged: true },
    _meta: {
      'io.modelcontextprotocol/protocolVersion': '2026-07-28',
      'io.modelcontextprotocol/clientInfo': { name: 'test', version: '1.0.0' },
      'io.modelcontextprotocol/clientCapabilities': {},
    },
  },
}
const LISTEN_HEADERS = ['MCP-Protocol-Version: 2026-07-28', 'Mcp-Method: subscriptions/listen']

describe('contract: a second signal ends the process in a second or two, and still loses nothing', () => {
  it('cuts whoever holds it up, answers calls, and ends streams with their result', async () => {
    const server = await misbehaving()
    using stalled = connect(server)
    stalled.socket.pause()
    stalled.write(filled(callWith(callOf('large', { bytes: 4_000_000 })), server))
    using half = connect(server)
    half.write(filled(post(LENGTH), server))
    using stream = connect(server)
    stream.write(filled(callWith(JSON.stringify(LISTEN), ...LISTEN_HEADERS), server))
    const streamed = stream.answer()
    const answered = server.call('deaf', { seconds: 600 }).then((response) => response.text())
    const decisions = (): number =>
      server.audited().filter(({ metadata }) => metadata.event_code === 'decision').length
    await server.recorded(() => decisions() === 2)
    await server.recorded(({ metadata }) => metadata.event_code === 'outcome')

    server.child.kill('SIGTERM')
    await draining(server)
    expect(await server.stop()).toBe(0) // Else the test runs out of time: the drain is longer.
    expect(await answered).toContain('shutting down')
    expect((await streamed).body).toMatch(/"id":7,"result":\{"resultType":"complete".*\}\n\n$/)
    const records = server.audited().map(({ metadata }) => metadata.event_code)
    expect(records.filter((code) => code === 'outcome')).toHaveLength(2)
    expect(records.at(-2)).toBe('server.stop')
  })
})
