import type { ChildProcess } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { z } from 'zod'
import { type DevelopmentServer, startServer, stopServer } from '../development-server.ts'
import { type Documents, startClassicServer } from './server.ts'

/**
 * Runs one job over both protocols and measures what goes over the wire: what, in which order, how many
 * bytes of the bodies. `--write` puts it into README.md.
 */

const README = join(import.meta.dirname, 'README.md')
const MARKED = /(?<=<!-- measured -->\n)[\s\S]*(?=<!-- \/measured -->)/

const DOCUMENTS: Documents = [
  { name: 'one.txt', text: 'Hello from the first document.\n' },
  { name: 'two.txt', text: 'The second document says more.\nIt has two lines.\n' },
  { name: 'three.txt', text: 'The third one is the last.\n' },
]

/** One unit that a client reads: a line of text, or an event. */
interface Piece {
  readonly bytes: number
  readonly meaning: string
}

interface Measured {
  readonly request: string
  readonly requestHeaders: readonly string[]
  readonly requestBytes: number
  readonly contentType: string
  readonly pieces: readonly Piece[]
}

async function exchange(
  url: string,
  headers: Readonly<Record<string, string>>,
  body: string,
  piecesOf: (text: string) => readonly Piece[],
): Promise<Measured> {
  const response = await fetch(url, { method: 'POST', headers, body })
  if (!response.ok) throw new Error(`HTTP ${response.status}`)
  return {
    request: `POST ${new URL(url).pathname}`,
    requestHeaders: Object.keys(headers),
    requestBytes: Buffer.byteLength(body),
    contentType: response.headers.get('content-type') ?? '',
    pieces: piecesOf(await response.text()),
  }
}

function classicPieces(text: string): readonly Piece[] {
  return text.split(/(?<=\n)/).map((line) => ({
    bytes: Buffer.byteLength(line),
    meaning: line.startsWith('{') ? 'a line of JSON' : line.trimEnd(),
  }))
}

const event = z.union([
  z
    .object({
      method: z.literal('notifications/progress'),
      params: z.object({ progress: z.number(), total: z.number(), message: z.string() }),
    })
    .transform(({ params: { progress, total, message } }) => {
      return `progress ${progress} of ${total}: ${message}`
    }),
  z
    .object({
      method: z.literal('notifications/message'),
      params: z.object({ level: z.string(), data: z.string() }),
    })
    .transform(({ params: { level, data } }) => `log, ${level}: ${data}`),
  z.object({ id: z.literal(1), result: z.looseObject({}) }).transform(() => 'result of request 1'),
])

function mcpPieces(text: string): readonly Piece[] {
  return text
    .split(/(?<=\n\n)/)
    .filter((piece) => piece.startsWith('event: '))
    .map((piece) => {
      const [, data = ''] = /^data: (.*)$/m.exec(piece) ?? []
      return { bytes: Buffer.byteLength(piece), meaning: event.parse(JSON.parse(data)) }
    })
}

function overMcp({ url, key }: DevelopmentServer): Promise<Measured> {
  const meta = 'io.modelcontextprotocol/'
  const params = {
    name: 'process_documents',
    arguments: { documents: DOCUMENTS },
    _meta: {
      [`${meta}protocolVersion`]: '2026-07-28',
      [`${meta}clientInfo`]: { name: 'compare', version: '1.0.0' },
      [`${meta}clientCapabilities`]: {},
      [`${meta}logLevel`]: 'info',
      progressToken: 1,
    },
  }
  const headers = {
    authorization: `Bearer ${key}`,
    'content-type': 'application/json',
    accept: 'application/json, text/event-stream',
    'mcp-protocol-version': '2026-07-28',
    'mcp-method': 'tools/call',
    'mcp-name': 'process_documents',
  }
  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params })
  return exchange(url, headers, body, mcpPieces)
}

/** The measured part of README.md. */
function report(classic: Measured, mcp: Measured): string {
  const sum = ({ pieces }: Measured): number =>
    pieces.reduce((total, { bytes }) => total + bytes, 0)
  const row = (name: string, cell: (measured: Measured) => string | number): string =>
    `| ${name} | ${cell(classic)} | ${cell(mcp)} |`
  const order = ({ pieces }: Measured): string =>
    pieces.map(({ bytes, meaning }, index) => `| ${index + 1} | ${bytes} | ${meaning} |`).join('\n')
  const head = '| # | Bytes | What it is |\n| ---: | ---: | --- |'
  return [
    '| | Plain HTTP | MCP |',
    '| --- | --- | --- |',
    row('Request', ({ request }) => `\`${request}\``),
    row('Headers it needs', ({ requestHeaders }) =>
      requestHeaders.length === 0 ? 'none' : requestHeaders.map((name) => `\`${name}\``).join(', '),
    ),
    row('Body of the request, bytes', ({ requestBytes }) => requestBytes),
    row('Answer', ({ contentType }) => `\`${contentType}\``),
    row('Pieces', ({ pieces }) => pieces.length),
    row('Body of the answer, bytes', sum),
    '',
    'Plain HTTP, line by line:',
    '',
    head,
    order(classic),
    '',
    'MCP, event by event:',
    '',
    head,
    order(mcp),
    '',
  ].join('\n')
}

async function measure(folder: string, children: ChildProcess[]): Promise<string> {
  await using classicServer = await startClassicServer()
  const body = JSON.stringify({ documents: DOCUMENTS })
  const classic = await exchange(classicServer.url, {}, body, classicPieces)
  const server = await startServer(join(folder, 'audit.jsonl'), children)
  const mcp = await overMcp(server)
  await stopServer(server)
  return report(classic, mcp)
}

const folder = mkdtempSync(join(tmpdir(), 'gatehouse-compare-'))
const children: ChildProcess[] = []
try {
  const measured = await measure(folder, children)
  if (process.argv.includes('--write')) {
    writeFileSync(
      README,
      readFileSync(README, 'utf8').replace(MARKED, () => `\n${measured}\n`),
    )
  } else process.stdout.write(measured)
} finally {
  for (const child of children) if (child.exitCode === null) child.kill('SIGKILL')
  rmSync(folder, { recursive: true, force: true })
}
