import { type Client, LOG_LEVEL_META_KEY, type RequestOptions } from '@modelcontextprotocol/client'
import type { Arguments } from './arguments.ts'
import { EXIT } from './failures.ts'
import { isRecord, pretty, printable } from './format.ts'
import type { Terminal } from './terminal.ts'

/**
 * What is asked of the server.
 *
 * @returns the exit code.
 */
export async function run(
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

  if (command === 'login') {
    // A server may answer anybody until the first request that is about something.
    await client.listTools({}, request)
    return EXIT.ok
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
  // Which arguments travel as headers too is told by the list alone (2026-07-28, `x-mcp-header`).
  if (client.getProtocolEra() === 'modern') await client.listTools({}, request)
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
