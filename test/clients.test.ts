import { setTimeout as sleep } from 'node:timers/promises'
import {
  LOG_LEVEL_META_KEY,
  Client as ModernSdkClient,
  StreamableHTTPClientTransport as ModernSdkTransport,
} from '@modelcontextprotocol/client'
import { Client as FirstSdkClient } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport as FirstSdkTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import {
  type LoggingMessageNotification,
  LoggingMessageNotificationSchema,
} from '@modelcontextprotocol/sdk/types.js'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { z } from 'zod'
import { defineTool, LOG_LEVELS, type LogLevel, ToolError } from '../src/define.ts'
import { type Endpoint, startEndpoint } from './mcp/endpoint.ts'

const SECRET = 'postgres://admin:hunter2@db'
const empty = z.strictObject({})
const base = { annotations: {}, input: empty, output: empty, longRunning: false } as const

/** When each run of `hang` was told to stop, ms. */
const stopped: number[] = []
let hanging = 0

const TOOLS = [
  defineTool({
    ...base,
    name: 'every_level',
    title: 'Every level',
    description: 'Logs once at each level.',
    async run(_input, { log }) {
      for (const level of LOG_LEVELS) log(level, `at ${level}`)
      return {}
    },
  }),
  defineTool({
    ...base,
    name: 'hang',
    title: 'Hang',
    description: 'Waits until it is told to stop.',
    async run(_input, { signal }) {
      hanging += 1
      await sleep(60_000, undefined, { signal }).finally(() => stopped.push(performance.now()))
      return {}
    },
  }),
  defineTool({
    ...base,
    name: 'out_of_paper',
    title: 'Out of paper',
    description: 'Fails with a text for the caller.',
    async run() {
      throw new ToolError('The printer is out of paper.')
    },
  }),
  defineTool({
    ...base,
    name: 'leaky',
    title: 'Leaky',
    description: 'Fails with a secret in its error.',
    async run() {
      throw new Error(`Cannot connect to ${SECRET}`)
    },
  }),
]

interface Progress {
  readonly progress: number
  readonly total?: number | undefined
  readonly message?: string | undefined
}

interface Logged {
  readonly level: string
  readonly data: unknown
}

interface CallOptions {
  readonly onprogress?: (progress: Progress) => void
  readonly signal?: AbortSignal
  readonly level?: LogLevel
}

/** What the tests do with a client, whichever library it is made of. */
interface TestClient {
  version(): string | undefined
  names(): Promise<{ tools: string[]; templates: string[]; prompts: string[] }>
  resources(): Promise<string[]>
  // biome-ignore lint/suspicious/noExplicitAny: results are inspected by the tests
  call(name: string, args: Record<string, unknown>, options?: CallOptions): Promise<any>
  read(uri: string): Promise<string>
  prompt(name: string, args: Record<string, string>): Promise<unknown>
  onLog(listener: (logged: Logged) => void): void
  close(): Promise<void>
}

type Connect = (url: string, key: string) => Promise<TestClient>

const INFO = { name: 'test', version: '1.0.0' }
const headersOf = (key: string): { requestInit: RequestInit } => ({
  requestInit: { headers: { authorization: `Bearer ${key}` } },
})

const firstSdk: Connect = async (url, key) => {
  const client = new FirstSdkClient(INFO)
  const transport = new FirstSdkTransport(new URL(url), headersOf(key))
  await client.connect(transport)
  return {
    version: () => transport.protocolVersion,
    names: async () => ({
      tools: (await client.listTools()).tools.map(({ name }) => name),
      templates: (await client.listResourceTemplates()).resourceTemplates.map((r) => r.uriTemplate),
      prompts: (await client.listPrompts()).prompts.map(({ name }) => name),
    }),
    resources: async () => (await client.listResources()).resources.map(({ uri }) => uri),
    call: (name, args, { onprogress, signal } = {}) =>
      client.callTool({ name, arguments: args }, undefined, {
        ...(onprogress && { onprogress }),
        ...(signal && { signal }),
      }),
    read: async (uri) => textOf((await client.readResource({ uri })).contents[0]),
    prompt: async (name, args) =>
      (await client.getPrompt({ name, arguments: args })).messages[0]?.content,
    onLog(listener) {
      client.setNotificationHandler(
        LoggingMessageNotificationSchema,
        ({ params }: LoggingMessageNotification) => listener(params),
      )
    },
    close: () => client.close(),
  }
}

const secondSdk =
  (mode: 'legacy' | 'auto'): Connect =>
  async (url, key) => {
    const client = new ModernSdkClient(INFO, { versionNegotiation: { mode } })
    await client.connect(new ModernSdkTransport(new URL(url), headersOf(key)))
    return {
      version: () => client.getNegotiatedProtocolVersion(),
      names: async () => ({
        tools: (await client.listTools()).tools.map(({ name }) => name),
        templates: (await client.listResourceTemplates()).resourceTemplates.map(
          (r) => r.uriTemplate,
        ),
        prompts: (await client.listPrompts()).prompts.map(({ name }) => name),
      }),
      resources: async () => (await client.listResources()).resources.map(({ uri }) => uri),
      call: (name, args, { onprogress, signal, level } = {}) =>
        client.callTool(
          { name, arguments: args, ...(level && { _meta: { [LOG_LEVEL_META_KEY]: level } }) },
          { ...(onprogress && { onprogress }), ...(signal && { signal }) },
        ),
      read: async (uri) => textOf((await client.readResource({ uri })).contents[0]),
      prompt: async (name, args) =>
        (await client.getPrompt({ name, arguments: args })).messages[0]?.content,
      onLog(listener) {
        client.setNotificationHandler('notifications/message', ({ params }) => listener(params))
      },
      close: () => client.close(),
    }
  }

function textOf(content: object | undefined): string {
  return content !== undefined && 'text' in content ? String(content.text) : ''
}

const CLIENTS = [
  { name: 'SDK 1', connect: firstSdk, version: '2025-11-25', modern: false, asks: false },
  {
    name: 'SDK 2, legacy',
    connect: secondSdk('legacy'),
    version: '2025-11-25',
    modern: false,
    asks: true,
  },
  {
    name: 'SDK 2, modern',
    connect: secondSdk('auto'),
    version: '2026-07-28',
    modern: true,
    asks: true,
  },
] as const

const DOCUMENTS = Array.from({ length: 5 }, (_, index) => ({
  name: `${index + 1}.md`,
  text: `Text number ${index + 1} about firewalls`,
}))

describe.each(CLIENTS)('contract: $name', ({ connect, version, modern, asks }) => {
  let endpoint: Endpoint
  let client: TestClient

  beforeAll(async () => {
    endpoint = await startEndpoint({ catalog: { tools: TOOLS } })
    client = await connect(endpoint.url, endpoint.key())
  })
  afterAll(async () => {
    await client.close()
    await endpoint[Symbol.asyncDispose]()
  })

  it(`agrees on ${version}`, () => {
    expect(client.version()).toBe(version)
  })

  it('lists tools, resource templates and prompts in the order of the catalog', async () => {
    expect(await client.names()).toEqual({
      tools: ['echo', 'whoami', 'process_documents', 'delete_report', ...TOOLS.map((t) => t.name)],
      templates: ['report://{id}'],
      prompts: ['summarize_report'],
    })
  })

  it('calls a tool', async () => {
    expect(await client.call('echo', { text: 'héllo' })).toMatchObject({
      content: [{ type: 'text', text: '{"text":"héllo"}' }],
      structuredContent: { text: 'héllo' },
    })
  })

  it('shows progress as it happens, and keeps a report', async () => {
    const progress: (Progress & { atMs: number })[] = []
    const logs: Logged[] = []
    client.onLog((logged) => logs.push(logged))
    const startedMs = performance.now()
    const result = await client.call(
      'process_documents',
      { documents: DOCUMENTS },
      { level: 'info', onprogress: (p) => progress.push({ ...p, atMs: performance.now() }) },
    )
    const totalMs = performance.now() - startedMs

    const texts = DOCUMENTS.map(({ name }, index) => `Processing document ${index + 1}/5: ${name}`)
    const expected = [...texts, 'Processing complete!']
    expect(progress.map(({ message }) => message)).toEqual(expected)
    expect(progress.map((p) => p.progress)).toEqual([0, 1, 2, 3, 4, 5])
    expect(logs).toMatchObject(expected.map((data) => ({ level: 'info', data })))
    const firstMs = (progress[0]?.atMs ?? Number.POSITIVE_INFINITY) - startedMs
    expect(totalMs - firstMs).toBeGreaterThan(totalMs / 2)

    const { reportId } = result.structuredContent
    const uri = `report://${reportId}`
    expect(await client.resources()).toEqual([uri])
    expect(JSON.parse(await client.read(uri))).toMatchObject({
      id: reportId,
      documents: DOCUMENTS.map(({ name }) => ({ name })),
    })
    expect(await client.prompt('summarize_report', { id: reportId })).toMatchObject({
      type: 'text',
      text: expect.stringContaining(reportId),
    })
  })

  it.each([
    [undefined, modern ? [] : LOG_LEVELS],
    ['debug', LOG_LEVELS],
    ['warning', asks ? LOG_LEVELS.slice(3) : LOG_LEVELS],
    ['emergency', asks ? LOG_LEVELS.slice(7) : LOG_LEVELS],
  ] as const)('gets log notifications for the level %s', async (level, expected) => {
    const logs: Logged[] = []
    client.onLog((logged) => logs.push(logged))
    await client.call('every_level', {}, level === undefined ? {} : { level })
    expect(logs.map((logged) => logged.level)).toEqual(expected)
  })

  it.each([
    ['echo', { text: 'x', canary: 1 }, 'Input validation error: Invalid arguments for tool echo: '],
    ['echo', { text: 5 }, 'text: Invalid input: expected string, received number'],
    ['out_of_paper', {}, 'The printer is out of paper.'],
  ])('is told what went wrong with %s %j', async (name, args, text) => {
    const result = await client.call(name, args)
    expect(result).toMatchObject({
      isError: true,
      content: [{ text: expect.stringContaining(text) }],
    })
    expect(JSON.stringify(result)).not.toContain('canary')
  })

  it('is told that a tool is not known', async () => {
    await expect(client.call('canary', {})).rejects.toMatchObject({
      code: -32602,
      message: expect.stringContaining('Unknown tool'),
    })
  })

  it('is told nothing of an error that is not meant for it', async () => {
    const { isError, content } = await client.call('leaky', {})
    const reference = endpoint.outcomes().at(-1)?.requestId
    expect({ isError, content }).toEqual({
      isError: true,
      content: [{ type: 'text', text: `The tool failed (reference ${reference})` }],
    })
    expect(endpoint.written()).not.toContain('hunter2')
  })

  it('cancels a call by leaving, within a second', async () => {
    const other = await connect(endpoint.url, endpoint.key())
    await expectCancelled(endpoint, async (running) => {
      const call = other.call('hang', {})
      const ended = expect(call).rejects.toThrow()
      await running()
      await other.close()
      await ended
    })
  })

  it.runIf(modern)('cancels a call by its signal, within a second', async () => {
    await expectCancelled(endpoint, async (running) => {
      const cancel = new AbortController()
      const ended = expect(client.call('hang', {}, { signal: cancel.signal })).rejects.toThrow()
      await running()
      cancel.abort()
      await ended
    })
  })

  // Request ids of 2025 clients are not unique for a principal, so their notification stops nothing.
  it.runIf(!modern)(
    'runs on after `notifications/cancelled`, until the client leaves',
    async () => {
      const other = await connect(endpoint.url, endpoint.key())
      await expectCancelled(endpoint, async (running) => {
        const cancel = new AbortController()
        const ended = expect(other.call('hang', {}, { signal: cancel.signal })).rejects.toThrow()
        await running()
        cancel.abort()
        await ended
        await vi.waitFor(() =>
          expect(endpoint.audited).toContainEqual(
            expect.objectContaining({ method: 'notifications/cancelled', status: 202 }),
          ),
        )
        expect(endpoint.lasting.calls.running()).toBe(1)
        await other.close()
      })
    },
  )
})

async function expectCancelled(
  endpoint: Endpoint,
  run: (running: () => Promise<void>) => Promise<void>,
): Promise<void> {
  const cancelled = (): number =>
    endpoint.outcomes().filter(({ outcome }) => outcome === 'cancelled').length
  const before = { hanging, stopped: stopped.length, cancelled: cancelled() }
  let startedMs = 0
  await run(async () => {
    await vi.waitFor(() => expect(hanging).toBe(before.hanging + 1))
    startedMs = performance.now()
  })
  await vi.waitFor(() => expect(cancelled()).toBe(before.cancelled + 1))
  expect(stopped).toHaveLength(before.stopped + 1)
  expect((stopped.at(-1) ?? Number.POSITIVE_INFINITY) - startedMs).toBeLessThan(1000)
  expect(endpoint.lasting.calls.running()).toBe(0)
}
