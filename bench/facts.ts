import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { CONTESTANTS, versionOf } from './contestants.ts'
import { connection } from './http.ts'

/**
 * What each server of the benchmark answers, as its documentation sets it up, to requests that a
 * hardened one refuses. Prints the table of docs/comparison.md.
 */
const ASKED = [
  ['page of a foreign origin', { headers: { Origin: 'https://attacker.example' } }],
  ['foreign `Host`', { headers: { Host: 'attacker.example' } }],
  ['body of 2 MB', { bytes: 2_000_000 }],
  ['body of 6 MB', { bytes: 6_000_000 }],
] as const satisfies readonly (readonly [string, Request])[]

interface Request {
  readonly headers?: Readonly<Record<string, string>>
  /** Length of the name of the client that asks. */
  readonly bytes?: number
}

const folder = mkdtempSync(join(tmpdir(), 'gatehouse-facts-'))
try {
  console.log(`| | ${ASKED.map(([name]) => name).join(' | ')} |`)
  console.log(`| --- |${' --- |'.repeat(ASKED.length)}`)
  for (const contestant of CONTESTANTS) {
    const { id, label, needs, knows } = contestant
    if (knows === 'call' || (needs !== undefined && versionOf(needs) === undefined)) continue
    const place = { folder: join(folder, id), tools: 10, pinned: false }
    const server = await contestant.prepare(place)()
    const ask = (request: Request): Promise<string> =>
      answerTo({ port: server.port, key: server.key }, request)
    if ((await ask({})) !== '200') throw new Error(`${id} does not answer`)
    const cells: string[] = []
    for (const [, request] of ASKED) cells.push(await ask(request))
    console.log(`| ${label} | ${cells.join(' | ')} |`)
    await server.stop()
  }
} finally {
  rmSync(folder, { recursive: true })
}

/** @returns the status, and who may read the answer when that is everybody */
async function answerTo(
  { port, key }: { readonly port: number; readonly key: string | undefined },
  { headers = {}, bytes = 1 }: Request,
): Promise<string> {
  const body = JSON.stringify({
    jsonrpc: '2.0',
    id: 1,
    method: 'initialize',
    params: {
      protocolVersion: '2025-11-25',
      capabilities: {},
      clientInfo: { name: 'x'.repeat(bytes), version: '1' },
    },
  })
  const sent = {
    Host: `127.0.0.1:${port}`,
    Accept: 'application/json, text/event-stream',
    'Content-Type': 'application/json',
    ...(key === undefined ? {} : { Authorization: `Bearer ${key}` }),
    ...headers,
    'Content-Length': String(body.length),
  }
  const lines = Object.entries(sent).map(([name, value]) => `${name}: ${value}`)
  const wire = connection(port)
  const { status, head } = await wire.send(['POST /mcp HTTP/1.1', ...lines, '', body].join('\r\n'))
  wire.close()
  const readable =
    headers['Origin'] !== undefined && /\r\naccess-control-allow-origin: \*/i.test(head)
  return `${status}${readable ? ', readable by every page' : ''}`
}
