import {
  Client,
  type ElicitRequest,
  type ElicitResult,
  type FetchLike,
  LOG_LEVEL_META_KEY,
  type RequestOptions,
  StreamableHTTPClientTransport,
} from '@modelcontextprotocol/client'
import { type Arguments, LEVELS, readArguments, USAGE, UsageError } from './arguments.ts'
import { EXIT, type Exchange, explain } from './failures.ts'
import { isRecord, pretty, printable } from './format.ts'
import { jsonTerminal, peopleTerminal, type Terminal } from './terminal.ts'

async function main(): Promise<number> {
  let options: Arguments | undefined
  try {
    options = readArguments(process.argv.slice(2), process.env)
  } catch (error) {
    if (!(error instanceof UsageError)) throw error
    process.stderr.write(`${error.message}\nTry: npm run client -- --help\n`)
    return EXIT.usage
  }
  if (options === undefined) {
    process.stdout.write(`${USAGE}\n`)
    return EXIT.ok
  }

  const terminal = options.json ? jsonTerminal() : peopleTerminal()
  const cancel = new AbortController()
  process.on('SIGINT', () => {
    if (cancel.signal.aborted) process.exit(EXIT.cancelled)
    cancel.abort()
  })

  const exchange: Exchange = {}
  const client = createClient(options, terminal, cancel.signal)
  try {
    await client.connect(createTransport(options, exchange), {
      signal: cancel.signal,
      timeout: options.timeoutMs,
    })
    return await run(client, options, terminal, cancel.signal)
  } catch (error) {
    const failure = cancel.signal.aborted
      ? { exitCode: EXIT.cancelled, text: 'Cancelled.' }
      : explain(error, exchange, options)
    terminal.fail(failure)
    return failure.exitCode
  } finally {
    terminal.end()
    await client.close()
  }
}

/** Declares what this client can do for a server: show log messages and ask for confirmation. */
function createClient(options: Arguments, terminal: Terminal, signal: AbortSignal): Client {
  const client = new Client(
    { name: 'gatehouse-terminal-client', version: '1.0.0' },
    {
      capabilities: { elicitation: { form: {} } },
      versionNegotiation: { mode: options.era },
    },
  )
  client.setNotificationHandler('notifications/message', ({ params: { level, data } }) => {
    // 2025 servers without sessions cannot keep a level, so it is applied here as well.
    if (LEVELS.indexOf(level) < LEVELS.indexOf(options.level)) return
    terminal.log(level, typeof data === 'string' ? data : pretty(data), data)
  })
  client.setRequestHandler('elicitation/create', async ({ params }) => {
    const content = consent(params)
    if (content === undefined) return { action: 'decline' }
    const agreed = options.yes || (await terminal.ask(params.message, signal))
    return agreed ? { action: 'accept', content } : { action: 'decline' }
  })
  return client
}

/** What "yes" means for a form: its switches on. `undefined` for one that needs more than that. */
function consent(params: ElicitRequest['params']): ElicitResult['content'] {
  if (params.mode === 'url') return undefined
  const { properties, required = [] } = params.requestedSchema
  const switches = Object.keys(properties).filter((name) => properties[name]?.type === 'boolean')
  if (!required.every((name) => switches.includes(name))) return undefined
  return Object.fromEntries(switches.map((name) => [name, true]))
}

function createTransport(options: Arguments, exchange: Exchange): StreamableHTTPClientTransport {
  const watchedFetch: FetchLike = async (url, init) => {
    if (init?.method !== 'POST') return fetch(url, init)
    delete exchange.response
    exchange.response = await fetch(url, init)
    return exchange.response
  }
  const headers = options.key === undefined ? {} : { authorization: `Bearer ${options.key}` }
  return new StreamableHTTPClientTransport(options.url, {
    fetch: watchedFetch,
    requestInit: { headers },
  })
}

/** @returns the exit code. */
async function run(
  client: Client,
  options: Arguments,
  terminal: Terminal,
  signal: AbortSignal,
): Promise<number> {
  const { command, target: name, input, level } = options
  const request: RequestOptions = {
    signal,
    timeout: options.timeoutMs,
    resetTimeoutOnProgress: true,
    onprogress(progress) {
      // The SDK reports each question of the server as progress too; the question itself is shown.
      if (!progress.message?.startsWith('Fulfilling input required')) terminal.progress(progress)
    },
  }

  if (command === 'list') {
    const { tools } = await client.listTools({}, request)
    const { resources } = await client.listResources({}, request)
    const { resourceTemplates } = await client.listResourceTemplates({}, request)
    const { prompts } = await client.listPrompts({}, request)
    const sections = [
      section('Tools', tools),
      section('Resources', [
        ...resourceTemplates.map((entry) => ({ ...entry, name: entry.uriTemplate })),
        ...resources.map((entry) => ({ ...entry, name: entry.uri })),
      ]),
      section('Prompts', prompts),
    ]
    terminal.result({ tools, resourceTemplates, resources, prompts }, sections.join('\n\n'))
    return EXIT.ok
  }
  if (command === 'read') {
    const result = await client.readResource({ uri: name }, request)
    terminal.result(result, result.contents.map(textOf).join('\n'))
    return EXIT.ok
  }
  if (command === 'prompt') {
    const strings = Object.fromEntries(
      Object.entries(input).map(([key, value]) => [key, `${value}`]),
    )
    const result = await client.getPrompt({ name, arguments: strings }, request)
    const messages = result.messages.map(({ role, content }) => `${role}: ${textOf(content)}`)
    terminal.result(result, messages.join('\n\n'))
    return EXIT.ok
  }

  // The level travels with the call (MCP 2026-07-28); 2025 servers with sessions keep it instead.
  if (client.getProtocolEra() === 'legacy' && client.getServerCapabilities()?.logging) {
    await client.setLoggingLevel(level, request)
  }
  const params = { name, arguments: { ...input }, _meta: { [LOG_LEVEL_META_KEY]: level } }
  const result = await client.callTool(params, request)
  const text =
    result.structuredContent === undefined
      ? result.content.map(textOf).join('\n')
      : pretty(result.structuredContent)
  terminal.result(result, result.isError ? `The tool failed: ${text}` : text)
  return result.isError ? EXIT.failed : EXIT.ok
}

interface Entry {
  readonly name: string
  readonly description?: string | undefined
}

function section(title: string, entries: readonly Entry[]): string {
  const width = Math.max(0, ...entries.map(({ name }) => name.length))
  const lines = entries.map(({ name, description = '' }) =>
    `  ${name.padEnd(width)}  ${printable(description)}`.trimEnd(),
  )
  return [title, ...(lines.length > 0 ? lines : ['  none'])].join('\n')
}

/** The text of a content block or of resource contents; what is not text is only named. */
function textOf(content: unknown): string {
  if (!isRecord(content)) return ''
  if (typeof content['text'] === 'string') return content['text']
  if (isRecord(content['resource'])) return textOf(content['resource'])
  return `[${content['type'] ?? 'binary'} ${content['mimeType'] ?? content['uri'] ?? ''}]`
}

process.exitCode = await main()
