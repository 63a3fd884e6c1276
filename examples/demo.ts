import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { styleText } from 'node:util'
import { type DevelopmentServer, startServer, stopServer } from './development-server.ts'
import { isRecord, printableLines, table } from './format.ts'

/**
 * The main job in a few seconds: the server on loopback, the terminal client with a folder of
 * documents, the report that stays, and the audit records all of it left.
 */

const ROOT = join(import.meta.dirname, '..')
const FILES = 'examples/documents/*.md'
const EXCERPT_LINES = 10

async function demo(folder: string, children: ChildProcess[]): Promise<void> {
  const auditFile = join(folder, 'audit.jsonl')

  heading('The server', 'loopback, a free port, a key that ends with it')
  const server = await startServer(auditFile, children)
  print(`Listens on ${server.url}`)

  heading('A folder of documents', `call process_documents --files '${FILES}'`)
  const call = ['call', 'process_documents', '--files', FILES]
  const answer = await runClient(server, call, children, (text) => process.stdout.write(text))
  const id = /^reportId: (\S+)$/m.exec(answer)?.[1]
  if (id === undefined) throw new Error('The answer names no report')

  heading('Its report, for its owner only', `read report://${id}`)
  const report = await runClient(server, ['read', `report://${id}`], children)
  print(excerpt(report))

  await stopServer(server)
  heading('The audit trail', 'who did what, each record chained to the one before by its MAC')
  print(table(auditRows(readFileSync(auditFile, 'utf8'))))
}

function heading(title: string, what: string): void {
  print(`\n${styleText('bold', title)}  ${styleText('dim', what)}\n`)
}

function print(text: string): void {
  process.stdout.write(`${text}\n`)
}

/**
 * Runs the terminal client; its progress and log lines go straight to the terminal.
 *
 * @param onText sees its standard output as it comes
 * @returns its standard output
 * @throws {Error} when it does not end well
 */
async function runClient(
  { url, key }: DevelopmentServer,
  line: readonly string[],
  children: ChildProcess[],
  onText: (text: string) => void = () => {},
): Promise<string> {
  const child = spawn(process.execPath, ['examples/client.ts', url, ...line], {
    cwd: ROOT,
    env: { ...process.env, GATEHOUSE_KEY: key },
    stdio: ['inherit', 'pipe', 'inherit'],
  })
  children.push(child)
  let output = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text
    onText(text)
  })
  await once(child, 'close')
  if (child.exitCode !== 0) throw new Error(`The client ended with ${child.exitCode}`)
  return output
}

function excerpt(text: string): string {
  const lines = printableLines(text).trimEnd().split('\n')
  const rest = lines.length - EXCERPT_LINES
  const shown = lines.slice(0, EXCERPT_LINES)
  return [...shown, ...(rest > 0 ? [`… and ${rest} lines more`] : [])].join('\n')
}

/** A row for each OCSF record, with the fields that tell the story. */
function auditRows(text: string): Readonly<Record<string, unknown>>[] {
  const decisions = new Map<unknown, string>([
    [1, 'allowed'],
    [2, 'denied'],
  ])
  return text
    .trimEnd()
    .split('\n')
    .map((line): unknown => JSON.parse(line))
    .map((record) => {
      const mcp = member(record, 'unmapped', 'mcp')
      const subject = member(mcp, 'tool') ?? member(mcp, 'resource') ?? member(mcp, 'prompt')
      return {
        time: new Date(Number(member(record, 'time'))).toISOString().slice(11, 23),
        event: member(record, 'metadata', 'event_code'),
        operation: member(record, 'api', 'operation'),
        on: subject,
        decision: decisions.get(member(record, 'action_id')),
        status: member(record, 'status_code'),
        principal: member(record, 'actor', 'user', 'uid'),
        mac: String(member(record, 'unmapped', 'chain', 'mac')).slice(0, 12),
      }
    })
}

function member(value: unknown, ...path: readonly string[]): unknown {
  return path.reduce((inner, name) => (isRecord(inner) ? inner[name] : undefined), value)
}

async function main(): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), 'gatehouse-demo-'))
  const children: ChildProcess[] = []
  let interrupted = false
  const end = (): void => {
    for (const child of children) if (child.exitCode === null) child.kill('SIGKILL')
  }
  for (const name of ['SIGINT', 'SIGTERM'] as const) {
    process.once(name, () => {
      interrupted = true
      end()
    })
  }
  try {
    await demo(folder, children)
    return 0
  } catch (error) {
    if (interrupted) return 130
    const text = error instanceof Error ? error.message : String(error)
    process.stderr.write(`\nThe demo failed: ${printableLines(text)}\n`)
    return 1
  } finally {
    end()
    rmSync(folder, { recursive: true, force: true })
  }
}

process.exitCode = await main()
