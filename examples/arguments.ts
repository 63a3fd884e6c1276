import { globSync, readFileSync, statSync } from 'node:fs'
import { homedir } from 'node:os'
import { dirname, isAbsolute, join, relative } from 'node:path'
import { parseArgs } from 'node:util'
import {
  isHttpsUrl,
  type LoggingLevel,
  type VersionNegotiationMode,
} from '@modelcontextprotocol/client'
import { isRecord } from './format.ts'
import type { ClientIdentity } from './login.ts'
import { mayCarrySecrets } from './secure-url.ts'

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

const COMMANDS = ['list', 'call', 'read', 'prompt', 'login', 'logout'] as const
type Command = (typeof COMMANDS)[number]

export interface Arguments {
  readonly url: URL
  readonly command: Command
  /** Name of the tool or prompt, URI of the resource; empty for the other commands. */
  readonly target: string
  readonly input: Readonly<Record<string, unknown>>
  readonly key: string | undefined
  readonly json: boolean
  readonly era: VersionNegotiationMode
  readonly level: LoggingLevel
  readonly timeoutMs: number
  readonly yes: boolean
  /** `undefined`: when there is a terminal. */
  readonly stepUp: boolean | undefined
  /** Scopes that `login` asks for, separated by spaces. */
  readonly scope: string | undefined
  readonly identity: ClientIdentity
  /** 0 for a free one. */
  readonly redirectPort: number
  /** Whether a browser is opened, and the command for that; `undefined` for the one of the system. */
  readonly opensBrowser: boolean
  readonly browser: string | undefined
  /** Where logins are kept. */
  readonly loginFolder: string
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

  const [address = '', name, target = '', ...rest] = positionals
  const url = URL.parse(address)
  if (url === null || !/^https?:$/.test(url.protocol)) {
    throw new UsageError('The first argument is the URL of the server, such as https://host/mcp')
  }
  const command = COMMANDS.find((known) => known === name)
  if (command === undefined) {
    throw new UsageError(`The second argument is a command: ${COMMANDS.join(', ')}`)
  }
  const takesName = command === 'call' || command === 'read' || command === 'prompt'
  if ((target !== '') !== takesName || rest.length > 0) {
    throw new UsageError(`"${command}" takes ${takesName ? 'one name' : 'no name'}`)
  }
  const isAccount = command === 'login' || command === 'logout'
  if (isAccount && values.key !== undefined) throw new UsageError(`"${command}" takes no key`)
  const key = isAccount ? undefined : (values.key ?? environment['GATEHOUSE_KEY'])
  if ((key !== undefined || command === 'login') && !mayCarrySecrets(url)) {
    throw new UsageError('A key or token over plain http can be read on its way: use https')
  }
  const stray = LOGIN_OPTIONS.find((option) => values[option] !== undefined)
  if (command !== 'login' && stray !== undefined) {
    throw new UsageError(`--${stray} is an option of login`)
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
    stepUp: values['step-up'],
    scope: values.scope,
    identity: readIdentity(values),
    redirectPort: readPort(values['redirect-port']),
    opensBrowser: values.browser,
    browser: environment['BROWSER'],
    loginFolder: join(configFolder(environment), 'gatehouse'),
  }
}

const LOGIN_OPTIONS = ['scope', 'client-id', 'client-secret-file', 'client-metadata-url'] as const

function readIdentity(
  values: Readonly<Partial<Record<(typeof LOGIN_OPTIONS)[number], string | undefined>>>,
): ClientIdentity {
  const { 'client-id': id, 'client-secret-file': secretFile } = values
  const metadataUrl = values['client-metadata-url']
  if (metadataUrl !== undefined && !isHttpsUrl(metadataUrl)) {
    throw new UsageError('--client-metadata-url is an https URL with a path')
  }
  if (id === undefined) {
    if (secretFile === undefined) return { metadataUrl }
    throw new UsageError('--client-secret-file needs --client-id')
  }
  if (secretFile === undefined) return { given: { client_id: id }, metadataUrl }
  return { given: { client_id: id, client_secret: readText(secretFile).trim() }, metadataUrl }
}

function readPort(text: string): number {
  if (/^\d{1,5}$/.test(text) && Number(text) < 65_536) return Number(text)
  throw new UsageError('--redirect-port is a number from 1 to 65535, or 0 for a free port')
}

/** XDG Base Directory Specification: a path that is not absolute is ignored. */
function configFolder(environment: Readonly<Record<string, string | undefined>>): string {
  const configured = environment['XDG_CONFIG_HOME'] ?? ''
  return isAbsolute(configured) ? configured : join(homedir(), '.config')
}

function parse(line: readonly string[]) {
  try {
    return parseArgs({
      args: [...line],
      allowPositionals: true,
      allowNegative: true,
      options: {
        key: { type: 'string' },
        args: { type: 'string', default: '{}' },
        files: { type: 'string', multiple: true, default: [] },
        json: { type: 'boolean', default: false },
        era: { type: 'string', default: 'auto' },
        'log-level': { type: 'string', default: 'info' },
        timeout: { type: 'string', default: '120' },
        yes: { type: 'boolean', default: false },
        'step-up': { type: 'boolean' },
        scope: { type: 'string' },
        'client-id': { type: 'string' },
        'client-secret-file': { type: 'string' },
        'client-metadata-url': { type: 'string' },
        'redirect-port': { type: 'string', default: '0' },
        browser: { type: 'boolean', default: true },
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
