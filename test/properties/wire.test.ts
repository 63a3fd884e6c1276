// optional: api-key
import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { eventOf } from '../identity/attempt.ts'
import { production } from '../production.ts'
import { connect } from '../raw-http.ts'
import { type Server, startServer, stopServers } from '../server.ts'
import { ACCEPT, BODY, CHUNKED, CHUNKS, chunk, HOST, head, LENGTH, POST, TYPE } from '../wire.ts'
import { forgedKey } from './forged-key.ts'

/** Connections that send bytes. Each waits for the server to close: dozens at a time, so it goes fast. */
const RUNS = Math.ceil(Number(process.env['FUZZ_RUNS'] ?? 20_000) / 40)
const AT_ONCE = 20

let server: Server
let forged: string
beforeAll(async () => {
  const { env, key, unprivileged } = production()
  forged = forgedKey(key)
  server = await startServer({
    env: { ...env, MCP_PUBLIC_URL: 'https://mcp.example.com/mcp' },
    policies: [
      ['limits.yaml', 'requestsPerMinute: 600', 'requestsPerMinute: 1000000'],
      ['limits.yaml', 'headersMs: 8000', 'headersMs: 1000'],
      ['limits.yaml', 'requestMs: 15000', 'requestMs: 1000'],
    ],
    ...unprivileged,
  })
})
afterAll(stopServers)

/** Requests as they should be, but that nobody has the key. */
const credential = 'Authorization: Bearer KEY'
const GOOD = [
  `${head(POST, HOST, credential, TYPE, ACCEPT, LENGTH)}${BODY}`,
  `${head(POST, HOST, credential, TYPE, ACCEPT, CHUNKED)}${CHUNKS}`,
  `${head(POST, HOST, TYPE, ACCEPT, LENGTH)}${BODY}`,
  head('GET /.well-known/oauth-protected-resource HTTP/1.1', HOST),
  head(
    'OPTIONS /mcp HTTP/1.1',
    HOST,
    'Origin: https://evil.example',
    'Access-Control-Request-Method: POST',
  ),
  head('GET /mcp HTTP/1.1', HOST, 'Connection: Upgrade', 'Upgrade: websocket'),
  head('CONNECT example.com:443 HTTP/1.1', HOST),
  head(POST, HOST, credential, TYPE, LENGTH, 'Expect: 100-continue'),
]

/** What parsers are confused by. */
const PIECES = [
  '\r\n',
  '\n',
  '\r',
  ' ',
  '\t',
  '\0',
  ':',
  ';',
  ',',
  '\u00a0',
  '\u000b',
  'Transfer-Encoding: chunked\r\n',
  'Transfer-Encoding: chunked, identity\r\n',
  'Transfer-Encoding:\tchunked\r\n',
  'Transfer-Encoding : chunked\r\n',
  'Content-Length: 0\r\n',
  'Content-Length: 5\r\nContent-Length: 6\r\n',
  'Content-Length: +5\r\n',
  'Host: evil.example\r\n',
  'Connection: close\r\n',
  'Connection: keep-alive\r\n',
  ' HTTP/1.0',
  ' HTTP/2.0',
  'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
  '0\r\n\r\n',
  'ffffffffffffffff\r\n',
  chunk('x', ';a="\u0001'),
  'X: a\r\n b\r\n',
  'GET /mcp HTTP/1.1\r\n\r\n',
  '\u0016\u0003\u0001\u0002\u0000\u0001',
  'a'.repeat(20_000),
  '/../',
  '%2e%2e',
  'http://evil.example/',
]

type Edit = readonly [kind: number, at: number, length: number, piece: string]

const edit: fc.Arbitrary<Edit> = fc.tuple(
  fc.nat(4),
  fc.nat(4000),
  fc.nat(30),
  fc.oneof(fc.constantFrom(...PIECES), fc.string({ unit: 'binary', maxLength: 20 })),
)

function edited(text: string, [kind, at, length, piece]: Edit): string {
  const index = at % (text.length + 1)
  const [before, after] = [text.slice(0, index), text.slice(index)]
  if (kind === 0) return before + piece + after
  if (kind === 1) return before + after.slice(length)
  if (kind === 2) return before + piece + after.slice(length)
  if (kind === 3) return before + after.slice(0, length).repeat(3) + after
  return before
}

/** One to three requests, each with a few edits, on one connection. */
const conversation = fc
  .array(fc.tuple(fc.constantFrom(...GOOD), fc.array(edit, { maxLength: 4 })), {
    minLength: 1,
    maxLength: 3,
  })
  .map((requests) => requests.map(([text, edits]) => edits.reduce(edited, text)).join(''))

/** Statuses that `errors.ts` and the preflight have, besides the public documents. */
const KNOWN = new Set([
  100, 200, 204, 400, 401, 403, 404, 405, 408, 413, 415, 417, 421, 429, 431, 503,
])

async function statusesOf(bytes: string): Promise<readonly number[]> {
  using connection = connect(server)
  connection.write(Buffer.from(bytes, 'latin1'))
  connection.socket.end()
  const answer = await connection.closed()
  return [...answer.matchAll(/^HTTP\/1\.1 (\d{3})/gm)].map(([, status]) => Number(status))
}

function rssOf({ child }: Server): number {
  return (
    Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8'))?.[1]) * 1024
  )
}

describe('threat: bytes that nobody foresaw, a parser and a control read them differently', () => {
  it('runs nothing, does not fail, and writes records and log lines that are JSON', async () => {
    const authority = 'mcp.example.com'
    const wire = (text: string): string =>
      text.replaceAll('AUTHORITY', authority).replaceAll('KEY', forged)
    const seen = new Set<number>()
    const before = rssOf(server)
    await fc.assert(
      fc.asyncProperty(
        fc.array(conversation, { minLength: AT_ONCE, maxLength: AT_ONCE }),
        async (all) => {
          const answers = await Promise.all(all.map((text) => statusesOf(wire(text))))
          for (const status of answers.flat()) {
            expect(KNOWN).toContain(status)
            seen.add(status)
          }
        },
      ),
      // A seed of the run is printed with a failure; FUZZ_SEED repeats it.
      { numRuns: Math.ceil(RUNS / AT_ONCE), ...seeded() },
    )
    expect(seen).toContain(401)
    expect(seen).toContain(400)
    // It still serves, and what it served to nobody is not among it.
    expect(await statusesOf(wire(GOOD[3] ?? ''))).toEqual([200])
    const events = new Set(server.audited().map(eventOf))
    expect(events).toContain('request')
    for (const event of ['decision', 'outcome', 'fault']) expect(events).not.toContain(event)
    const log = server.stderr().trimEnd().split('\n')
    for (const line of log) expect(() => JSON.parse(line)).not.toThrow()
    expect(rssOf(server) - before).toBeLessThan(150 * 1024 * 1024)
    expect(await server.stop()).toBe(0)
  }, 600_000)
})

function seeded(): { readonly seed?: number } {
  const seed = process.env['FUZZ_SEED']
  return seed === undefined ? {} : { seed: Number(seed) }
}
