import { globSync, readFileSync, statSync } from 'node:fs'
import { dirname, relative } from 'node:path'
import { parseArgs } from 'node:util'
import type { LoggingLevel, VersionNegotiationMode } from '@modelcontextprotocol/client'
import { isRecord } from './format.ts'

export const USAGE = `Usage: npm run client -- URL COMMAND [options]

Commands
  list            tools, resources and prompts of the server
  call TOOL       calls a tool; shows its progress and log messages as they arrive
  read URI        reads a resource
  prompt NAME     renders a prompt

Options
  --key KEY           API key or access token; better in the environment: GATEHOUSE_KEY
  --args JSON         arguments of the tool or prompt, a JSON object
  --files PATTERN     text files, such as 'docs/*.md', as the argument "documents"; repeatable
  --json              one JSON line for each notification as it arrives, and for the result
  --era ERA           auto (default), modern (2026-07-28), legacy (2025 revisions)
  --log-level LEVEL   least severe log message to show: debug, info (default), … emergency
  --timeout SECONDS   give up when nothing arrives for so long (default 120)
  --yes               answers yes when a tool asks for confirmation
  --help              shows this

Exit codes
  0 ok   1 the tool or the server answered with an error   2 usage   3 cannot connect
  4 refused (401, 403)   5 limited (429)   130 cancelled with Ctrl-C`

/** Least to most severe. */
export const LEVELS = [
  'debug',
  'info',
  'notice',
  'warning',
  'error',
  'critical',
  'alert',
  'emergency',
] as const satisfies readonly LoggingLevel[]

const ERAS = new Map<string, VersionNegotiationMode>([
  ['auto', 'auto'],
  ['modern', { pin: '2026-07-28' }],
  ['legacy', 'legacy'],
])

export interface Arguments {
  readonly url: URL
  readonly command: 'list' | 'call' | 'read' | 'prompt'
  /** Name of the tool or prompt, URI of the resource; empty for `list`. */
  readonly target: string
  readonly input: Readonly<Record<string, unknown>>
  readonly key: string | undefined
  readonly json: boolean
  readonly era: VersionNegotiationMode
  readonly level: LoggingLevel
  readonly timeoutMs: number
  readonly yes: boolean
}

/** The command line does not make sense. The message says what to change. */
export class UsageError extends Error {}

/**
 * @returns `undefined` when help was asked for.
 * @throws {UsageError}
 */
export function readArguments(
  line: readonly string[],
  environment: Readonly<Record<string, string | undefined>>,
): Arguments | undefined {
  const { values, positionals } = parse(line)
  if (values.help) return undefined

  const [address = '', command, target = '', ...rest] = positionals
  const url = URL.parse(address)
  if (url === null || !/^https?:$/.test(url.protocol)) {
    throw new UsageError('The first argument is the URL of the server, such as https://host/mcp')
  }
  if (command !== 'list' && command !== 'call' && command !== 'read' && command !== 'prompt') {
    throw new UsageError('The second argument is a command: list, call, read or prompt')
  }
  if ((target === '') !== (command === 'list') || rest.length > 0) {
    throw new UsageError(`"${command}" takes ${command === 'list' ? 'no name' : 'one name'}`)
  }
  const key = values.key ?? environment['GATEHOUSE_KEY']
  if (key !== undefined && url.protocol === 'http:' && !isLoopback(url)) {
    throw new UsageError('A key over plain http can be read on its way: use https')
  }
  const era = ERAS.get(values.era)
  if (era === undefined) throw new UsageError('--era is auto, modern or legacy')
  const level = LEVELS.find((name) => name === values['log-level'])
  if (level === undefined) throw new UsageError(`--log-level is one of ${LEVELS.join(', ')}`)
  const timeoutMs = Number(values.timeout) * 1000
  if (!(timeoutMs > 0 && timeoutMs < 2 ** 31))
    throw new UsageError('--timeout is a number of seconds')

  return {
    url,
    command,
    target,
    input: readInput(values.args, values.files),
    key,
    json: values.json,
    era,
    level,
    timeoutMs,
    yes: values.yes,
  }
}

function parse(line: readonly string[]) {
  try {
    return parseArgs({
      args: [...line],
      allowPositionals: true,
      options: {
        key: { type: 'string' },
        args: { type: 'string', default: '{}' },
        files: { type: 'string', multiple: true, default: [] },
        json: { type: 'boolean', default: false },
        era: { type: 'string', default: 'auto' },
        'log-level': { type: 'string', default: 'info' },
        timeout: { type: 'string', default: '120' },
        yes: { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
      },
    })
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : 'The options do not parse')
  }
}

function readInput(json: string, patterns: readonly string[]): Readonly<Record<string, unknown>> {
  const input = parseJson(json)
  if (!isRecord(input))
    throw new UsageError('--args is a JSON object, such as \'{"text":"hello"}\'')
  return patterns.length === 0 ? input : { ...input, documents: patterns.flatMap(readFiles) }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** Files of a pattern in order of their names, each named relative to the fixed part of the pattern. */
function readFiles(pattern: string): { name: string; text: string }[] {
  const wildcard = pattern.search(/[*?[{]/)
  const folder = dirname(wildcard === -1 ? pattern : `${pattern.slice(0, wildcard)}*`)
  const paths = globSync(pattern).filter((path) => statSync(path).isFile())
  if (paths.length === 0) throw new UsageError(`No file matches ${pattern}`)
  return paths.sort().map((path) => ({ name: relative(folder, path), text: readText(path) }))
}

function readText(path: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(readFileSync(path))
  } catch (cause) {
    throw new UsageError(`Not a readable UTF-8 text file: ${path}`, { cause })
  }
}

function isLoopback({ hostname }: URL): boolean {
  return hostname === 'localhost' || hostname === '[::1]' || /^127(\.\d{1,3}){3}$/.test(hostname)
}
