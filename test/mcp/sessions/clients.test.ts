// optional: legacy-sse
import {
  Client as ModernSdkClient,
  SSEClientTransport as ModernSse,
  StreamableHTTPClientTransport as ModernStreamable,
} from '@modelcontextprotocol/client'
import { Client as FirstSdkClient } from '@modelcontextprotocol/sdk/client/index.js'
import { SSEClientTransport as FirstSse } from '@modelcontextprotocol/sdk/client/sse.js'
import { StreamableHTTPClientTransport as FirstStreamable } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import {
  ElicitRequestSchema,
  LoggingMessageNotificationSchema,
  ResourceUpdatedNotificationSchema,
  ToolListChangedNotificationSchema,
} from '@modelcontextprotocol/sdk/types.js'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Endpoint } from '../endpoint.ts'
import { startSessions, until } from './peer.ts'
import { type SessionTools, sessionTools } from './tools.ts'

/** What the tests do with a client, whichever library and transport it is made of. */
interface TestClient {
  names(): Promise<string[]>
  call(
    name: string,
    args: Record<string, unknown>,
    options?: { onprogress?: (progress: { progress: number }) => void; signal?: AbortSignal },
    // biome-ignore lint/suspicious/noExplicitAny: results are inspected by the tests
  ): Promise<any>
  setLevel(level: 'error'): Promise<unknown>
  close(): Promise<void>
  /** The client closes its session, where its transport can. */
  terminate(): Promise<void>
}

/** What a client heard, and how it answers. */
interface Heard {
  readonly logs: unknown[]
  readonly changes: unknown[]
  readonly questions: string[]
}

type Connect = (
  endpoint: Endpoint,
  fetch: typeof globalThis.fetch,
  heard: Heard,
) => Promise<TestClient>

const INFO = { name: 'test', version: '1.0.0' }
const CAPABILITIES = { capabilities: { elicitation: { form: {} } } }
const YES = { action: 'accept' as const, content: { confirm: true } }
const sse = (endpoint: Endpoint): URL => new URL('/sse', endpoint.url)

function first(
  transportOf: (...args: [URL, typeof globalThis.fetch, URL]) => FirstStreamable | FirstSse,
): Connect {
  return async (endpoint, fetch, heard) => {
    const client = new FirstSdkClient(INFO, CAPABILITIES)
    const transport = transportOf(new URL(endpoint.url), fetch, sse(endpoint))
    client.setRequestHandler(ElicitRequestSchema, ({ params }) => {
      heard.questions.push(params.message)
      return YES
    })
    client.setNotificationHandler(LoggingMessageNotificationSchema, ({ params }) => {
      heard.logs.push(params.level)
    })
    client.setNotificationHandler(ToolListChangedNotificationSchema, ({ method }) => {
      heard.changes.push(method)
    })
    client.setNotificationHandler(ResourceUpdatedNotificationSchema, ({ params }) => {
      heard.changes.push(params.uri)
    })
    await client.connect(transport)
    return {
      names: async () => (await client.listTools()).tools.map(({ name }) => name),
      call: (name, args, options) => client.callTool({ name, arguments: args }, undefined, options),
      setLevel: (level) => client.setLoggingLevel(level),
      close: () => client.close(),
      terminate: async () => {
        if (transport instanceof FirstStreamable) await transport.terminateSession()
      },
    }
  }
}

function second(
  transportOf: (...args: [URL, typeof globalThis.fetch, URL]) => ModernStreamable | ModernSse,
): Connect {
  return async (endpoint, fetch, heard) => {
    const client = new ModernSdkClient(INFO, CAPABILITIES)
    const transport = transportOf(new URL(endpoint.url), fetch, sse(endpoint))
    client.setRequestHandler('elicitation/create', ({ params }) => {
      heard.questions.push(params.message)
      return YES
    })
    client.setNotificationHandler('notifications/message', ({ params }) => {
      heard.logs.push(params.level)
    })
    client.setNotificationHandler('notifications/tools/list_changed', ({ method }) => {
      heard.changes.push(method)
    })
    await client.connect(transport)
    return {
      names: async () => (await client.listTools()).tools.map(({ name }) => name),
      call: (name, args, options) => client.callTool({ name, arguments: args }, options),
      setLevel: (level) => client.setLoggingLevel(level),
      close: () => client.close(),
      terminate: async () => {
        if (transport instanceof ModernStreamable) await transport.terminateSession()
      },
    }
  }
}

const CLIENTS: readonly (readonly [string, Connect])[] = [
  ['SDK 1, Streamable HTTP', first((url, fetch) => new FirstStreamable(url, { fetch }))],
  [
    'SDK 1, HTTP+SSE',
    first((_url, fetch, old) => new FirstSse(old, { fetch, eventSourceInit: { fetch } })),
  ],
  ['SDK 2, Streamable HTTP', second((url, fetch) => new ModernStreamable(url, { fetch }))],
  [
    'SDK 2, HTTP+SSE',
    second((_url, fetch, old) => new ModernSse(old, { fetch, eventSourceInit: { fetch } })),
  ],
]

let endpoint: Endpoint
let steps: SessionTools
beforeAll(async () => {
  steps = sessionTools()
  endpoint = await startSessions({
    catalog: { tools: steps.tools },
    sessions: { perPrincipal: 50 },
  })
})
afterAll(() => endpoint[Symbol.asyncDispose]())

/** Sends the key, and can cut a connection from below. */
function network(): { readonly fetch: typeof globalThis.fetch; cut(): void } {
  const open = new Set<AbortController>()
  return {
    async fetch(input, init) {
      const headers = new Headers(init?.headers)
      headers.set('authorization', `Bearer ${endpoint.key()}`)
      const cutting = new AbortController()
      const signals = init?.signal ? [init.signal, cutting.signal] : [cutting.signal]
      open.add(cutting)
      return fetch(input, { ...init, headers, signal: AbortSignal.any(signals) })
    },
    cut() {
      for (const cutting of open) cutting.abort()
      open.clear()
    },
  }
}

async function connectedBy(connect: Connect) {
  const heard: Heard = { logs: [], changes: [], questions: [] }
  const wire = network()
  return { heard, wire, client: await connect(endpoint, wire.fetch, heard) }
}

describe.each(CLIENTS)('contract: %s', (_name, connect) => {
  const connected = () => connectedBy(connect)

  it('lists, calls, and hears progress', async () => {
    const { client } = await connected()
    expect(await client.names()).toContain('process_documents')
    const seen: number[] = []
    const documents = [{ name: 'a', text: 'hello' }]
    const result = await client.call(
      'process_documents',
      { documents },
      { onprogress: ({ progress }) => seen.push(progress) },
    )
    expect(result.structuredContent.documents).toHaveLength(1)
    expect(seen[0]).toBe(0)
    await client.close()
  })

  it('hears the levels that it asked for', async () => {
    const { client, heard } = await connected()
    await client.setLevel('error')
    await client.call('every_level', {})
    await until(() => heard.logs.includes('emergency'))
    expect(heard.logs).toEqual(['error', 'critical', 'alert', 'emergency'])
    await client.call('chatter', {})
    await until(() => heard.logs.length > 4)
    expect(heard.logs.slice(4)).toEqual(['error'])
    await client.close()
  })

  it('is asked, and its answer reaches the tool', async () => {
    const { client, heard } = await connected()
    const { structuredContent } = await client.call('ask', {})
    expect([heard.questions, structuredContent]).toEqual([['Shall I?'], { said: 'yes' }])
    await client.close()
  })

  it('hears that lists have changed', async () => {
    const { client, heard } = await connected()
    await until(() => {
      // Its stream opens some time after it has connected.
      endpoint.lasting.changes.listsChanged()
      return heard.changes.length > 0
    })
    await client.close()
  })

  it('cancels, and the tool stops', async () => {
    const { client } = await connected()
    const before = steps.stopped.length
    const cancelling = new AbortController()
    const call = client.call(
      'steps',
      {},
      { signal: cancelling.signal, onprogress: () => cancelling.abort() },
    )
    await expect(call).rejects.toThrow()
    await until(() => steps.stopped.length === before + 1)
    await client.close()
  })
})

describe.each(CLIENTS.filter(([name]) => name.endsWith('Streamable HTTP')))(
  'contract: %s, with a session',
  (_name, connect) => {
    const connected = () => connectedBy(connect)

    it('resumes a call after a broken connection', async () => {
      const { client, wire } = await connected()
      const seen: number[] = []
      const call = client.call('steps', {}, { onprogress: ({ progress }) => seen.push(progress) })
      await until(() => seen.length === 1)
      wire.cut()
      steps.next()
      await until(() => seen.length === 2)
      steps.next()
      await until(() => seen.length === 3)
      steps.next()
      expect((await call).structuredContent).toEqual({ said: 'done' })
      expect(seen).toEqual([1, 2, 3])
      await client.close()
    })

    it('ends its session', async () => {
      const { client } = await connected()
      await client.terminate()
      await expect(client.names()).rejects.toThrow()
      await client.close()
    })
  },
)
