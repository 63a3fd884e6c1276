import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs, styleText } from 'node:util'
import { startServer } from '../development-server.ts'
import { printableLines } from '../format.ts'
import { mayCarrySecrets } from '../secure-url.ts'
import { issuerOrigins } from './issuers.ts'
import { startPageServer } from './page-server.ts'

const USAGE = `Usage: npm run demo:browser -- [options]

Serves the browser client on loopback, with a server of its own unless one is named.

  --server URL       an MCP endpoint that allows this page's origin (policies/http.yaml)
  --client-id ID     the page as a public client at the issuer; redirect URI: the page's /callback
  --connect ORIGIN   one more origin that the page may talk to; may be repeated
  --port PORT        of the page; a free one when left out
  --help`

interface Options {
  readonly server: string | undefined
  readonly clientId: string | null
  readonly connect: readonly string[]
  readonly port: number
}

/** @returns `undefined` when the usage was asked for. @throws {TypeError} for what it does not know. */
function readOptions(): Options | undefined {
  const { values } = parseArgs({
    options: {
      server: { type: 'string' },
      'client-id': { type: 'string' },
      connect: { type: 'string', multiple: true },
      port: { type: 'string' },
      help: { type: 'boolean' },
    },
  })
  if (values.help) return undefined
  const { server, connect = [], port = '0' } = values
  for (const url of [...(server === undefined ? [] : [server]), ...connect]) {
    const parsed = URL.parse(url)
    if (parsed === null || !mayCarrySecrets(parsed)) {
      throw new TypeError('URLs are https, or http on this machine.')
    }
  }
  if (!/^\d{1,5}$/.test(port) || Number(port) > 65_535) throw new TypeError('--port is a number.')
  return {
    server,
    clientId: values['client-id'] ?? null,
    connect: connect.map((url) => new URL(url).origin),
    port: Number(port),
  }
}

/** Serves until it is told to stop. */
async function demo(
  options: Options,
  folder: string,
  children: ChildProcess[],
  stopped: Promise<unknown>,
): Promise<void> {
  const own =
    options.server === undefined
      ? await startServer(join(folder, 'audit.jsonl'), children)
      : undefined
  const server = options.server ?? own?.url ?? ''
  const issuers = await issuerOrigins(server)
  const connect = [...new Set([new URL(server).origin, ...issuers, ...options.connect])]
  await using page = await startPageServer({ ...options, server, connect })

  print(`\n${styleText('bold', 'Open')}    ${page.url}`)
  print(`Server  ${server}`)
  if (own !== undefined) print(`API key ${own.key}`)
  print(styleText('dim', `\nCtrl+C ends ${own === undefined ? 'it' : 'both'}.`))
  const ended = own === undefined ? [] : [once(own.process, 'close')]
  await Promise.race([stopped, ...ended])
}

function print(text: string): void {
  process.stdout.write(`${text}\n`)
}

async function main(): Promise<number> {
  let options: Options | undefined
  try {
    options = readOptions()
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : error}\n\n${USAGE}\n`)
    return 2
  }
  if (options === undefined) {
    print(USAGE)
    return 0
  }

  const folder = mkdtempSync(join(tmpdir(), 'gatehouse-browser-'))
  const children: ChildProcess[] = []
  const { promise: stopped, resolve: stop } = Promise.withResolvers<void>()
  const end = (): void => {
    for (const child of children) if (child.exitCode === null) child.kill('SIGKILL')
    stop()
  }
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, end)
  try {
    await demo(options, folder, children, stopped)
    return 0
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error)
    process.stderr.write(`\nThe demo failed: ${printableLines(text)}\n`)
    return 1
  } finally {
    end()
    rmSync(folder, { recursive: true, force: true })
  }
}

process.exitCode = await main()
