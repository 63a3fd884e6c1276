import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { connect } from '../raw-http.ts'
import { callOf, type Server, startServer, stopServers } from '../server.ts'
import { ACCEPT, CREDENTIAL, filled, HOST, head, POST, TYPE } from '../wire.ts'
import { expectNeutral, HOSTILE } from './hostile-text.ts'
import { temporaryFolder } from './pipe.ts'

const folder = temporaryFolder()
const log = join(folder.path, 'audit.jsonl')
let server: Server
beforeAll(async () => {
  server = await startServer({
    env: { MCP_AUDIT_FILE: log, MCP_TRUSTED_PROXIES: '127.0.0.1/32' },
  })
})
afterAll(async () => {
  await stopServers()
  folder[Symbol.dispose]()
})

const SOON = { timeout: 10_000 } as const
const LONG = 'x'.repeat(5000)
/** What the parser of Node lets through in a line: bytes beyond ASCII, C1 controls among them. */
const HOSTILE_LINE = [...HOSTILE].filter((one) => one > '"' && one !== '\u007f').join('')
const message = (members: object): string => JSON.stringify({ jsonrpc: '2.0', id: 1, ...members })

/** Start line and headers, and the body if it is not a good call. */
type Field = readonly [name: string, lines: readonly string[], body?: string]
const FIELDS: readonly Field[] = [
  ['the path', [`POST /${HOSTILE_LINE} HTTP/1.1`, HOST]],
  ['the path, with control characters', [`POST /${HOSTILE} HTTP/1.1`, HOST]],
  ['the path, long', [`POST /${LONG} HTTP/1.1`, HOST]],
  ['the target, with a secret user', ['POST HTTP://u:canary-pw@127.0.0.1/mcp HTTP/1.1', HOST]],
  ['the target, of another scheme', ['POST ftp://u:canary-pw@a/mcp#canary-a HTTP/1.1', HOST]],
  ['the query', ['POST /mcp?canary-query HTTP/1.1', HOST]],
  ['the HTTP method', [`P${HOSTILE_LINE} /mcp HTTP/1.1`, HOST]],
  ['another HTTP method', ['PROPFIND /mcp HTTP/1.1', HOST]],
  ['Host', [POST, `Host: ${HOSTILE_LINE}`]],
  ['Origin', [POST, HOST, `Origin: https://${HOSTILE_LINE}`]],
  ['traceparent', [POST, HOST, `traceparent: 00-${HOSTILE_LINE}`]],
  ['X-Forwarded-For', [POST, HOST, `X-Forwarded-For: ${HOSTILE_LINE}`]],
  ['User-Agent', [POST, HOST, `User-Agent: ${HOSTILE_LINE}`]],
  ['Mcp-Method', [POST, HOST, `Mcp-Method: ${HOSTILE_LINE}`]],
  ['Authorization', [POST, HOST, `Authorization: Bearer ${HOSTILE_LINE}`]],
  ['the method', [POST, HOST], message({ method: HOSTILE })],
  ['the method, long', [POST, HOST], message({ method: LONG })],
  ['the id', [POST, HOST], callOf('echo', { text: 'a' }, HOSTILE)],
  ['the id, long', [POST, HOST], callOf('echo', { text: 'a' }, LONG)],
  ['the name of a tool', [POST, HOST], callOf(HOSTILE, {})],
  ['an argument', [POST, HOST], callOf('echo', { text: HOSTILE, [HOSTILE]: HOSTILE })],
  ['a URI', [POST, HOST], message({ method: 'resources/read', params: { uri: HOSTILE } })],
  ['the metadata', [POST, HOST], callOf('echo', { text: 'a' }, 1, { [HOSTILE]: HOSTILE })],
]

describe('threat: text of a caller in the trail, it forges records or takes over a terminal', () => {
  it.each(FIELDS.map((field) => [field[0], field] as const))(
    'is neutral in %s',
    async (_name, field) => {
      const [, lines, body = callOf('echo', { text: 'a' })] = field
      const before = readFileSync(log).length
      const written = (): string => readFileSync(log).toString('utf8', before)
      using connection = connect(server)
      const credential = lines.some((line) => line.startsWith('Authorization')) ? [] : [CREDENTIAL]
      const rest = [...credential, TYPE, ACCEPT, `Content-Length: ${Buffer.byteLength(body)}`]
      connection.write(filled(head(...lines, ...rest), server) + body)
      const { headers } = await connection.answer()
      const id = headers.get('x-request-id') ?? 'none'
      await expect.poll(written, SOON).toContain(id)
      expectNeutral(readFileSync(log))
    },
  )

  it('keeps what can be read', async () => {
    const id = 'plain: "é\\" \u4e2d'
    using connection = connect(server)
    const body = callOf('echo', { text: 'a' }, id)
    const length = `Content-Length: ${Buffer.byteLength(body)}`
    connection.write(filled(head(POST, HOST, CREDENTIAL, TYPE, ACCEPT, length), server) + body)
    expect(await connection.answer()).toMatchObject({ status: 200 })
    const escaped = JSON.stringify(id)
    await expect.poll(() => readFileSync(log, 'utf8'), SOON).toContain(`"rpc_id":${escaped}`)
    expect(readFileSync(log, 'utf8')).toContain(`"operation":"${'x'.repeat(256)}"`)
  })
})
