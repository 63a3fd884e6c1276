import {
  LOG_LEVEL_META_KEY,
  StreamableHTTPClientTransport as ModernHttpTransport,
  Client as ModernSdkClient,
  SSEClientTransport as ModernSseTransport,
} from '@modelcontextprotocol/client'
import { StdioClientTransport as ModernStdioTransport } from '@modelcontextprotocol/client/stdio'
import { Client as FirstSdkClient } from '@modelcontextprotocol/sdk/client/index.js'
import { SSEClientTransport as FirstSseTransport } from '@modelcontextprotocol/sdk/client/sse.js'
import { StdioClientTransport as FirstStdioTransport } from '@modelcontextprotocol/sdk/client/stdio.js'
import { StreamableHTTPClientTransport as FirstHttpTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import {
  ElicitRequestSchema,
  LoggingMessageNotificationSchema,
} from '@modelcontextprotocol/sdk/types.js'
import type { MatrixClient } from './probes.ts'

const INFO = { name: 'matrix', version: '1.0.0' }
const ASKABLE = { capabilities: { elicitation: { form: {} } } }
const AGREES = { action: 'accept' as const, content: { confirm: true } }

/** How a client reaches its server. */
export type Way =
  | { readonly transport: 'http' | 'sse'; readonly url: string; readonly key: string }
  | {
      readonly transport: 'stdio'
      readonly args: readonly string[]
      readonly env: Readonly<Record<string, string>>
    }

function headers(key: string): { requestInit: RequestInit } {
  return { requestInit: { headers: { authorization: `Bearer ${key}` } } }
}

/** Whatever the server says on standard error is of no interest here. */
function command({ args, env }: Extract<Way, { transport: 'stdio' }>) {
  const stderr = 'ignore' as const
  return { command: process.execPath, args: [...args], env: { ...env }, stderr }
}

/** A client of the SDK that most programs are built with. */
export async function firstSdk(way: Way): Promise<MatrixClient> {
  const client = new FirstSdkClient(INFO, ASKABLE)
  client.setRequestHandler(ElicitRequestSchema, () => AGREES)
  const transport =
    way.transport === 'stdio'
      ? new FirstStdioTransport(command(way))
      : way.transport === 'sse'
        ? new FirstSseTransport(new URL(way.url), headers(way.key))
        : new FirstHttpTransport(new URL(way.url), headers(way.key))
  let version: string | undefined
  Object.assign(transport, {
    setProtocolVersion(agreed: string) {
      version = agreed
    },
  })
  await client.connect(transport)
  return {
    isModern: false,
    version: () => version,
    tools: async () => (await client.listTools()).tools.map(({ name }) => name),
    call: (name, args, { onprogress, signal } = {}) =>
      client.callTool({ name, arguments: args }, undefined, {
        ...(onprogress && { onprogress: ({ progress }) => onprogress(progress) }),
        ...(signal && { signal }),
      }),
    async setLevel(level) {
      await client.setLoggingLevel(level)
    },
    onLog(listener) {
      client.setNotificationHandler(LoggingMessageNotificationSchema, ({ params }) =>
        listener(params.level),
      )
    },
    close: () => client.close(),
  }
}

/** A client of the SDK that speaks 2026-07-28, or as its default the revisions of 2025. */
export async function secondSdk(mode: 'legacy' | 'auto', way: Way): Promise<MatrixClient> {
  const client = new ModernSdkClient(INFO, { ...ASKABLE, versionNegotiation: { mode } })
  client.setRequestHandler('elicitation/create', () => AGREES)
  const transport =
    way.transport === 'stdio'
      ? new ModernStdioTransport(command(way))
      : way.transport === 'sse'
        ? new ModernSseTransport(new URL(way.url), headers(way.key))
        : new ModernHttpTransport(new URL(way.url), headers(way.key))
  await client.connect(transport)
  return {
    isModern: mode === 'auto',
    version: () => client.getNegotiatedProtocolVersion(),
    tools: async () => (await client.listTools()).tools.map(({ name }) => name),
    call: (name, args, { onprogress, signal, level } = {}) =>
      client.callTool(
        { name, arguments: args, ...(level && { _meta: { [LOG_LEVEL_META_KEY]: level } }) },
        {
          ...(onprogress && { onprogress: ({ progress }) => onprogress(progress) }),
          ...(signal && { signal }),
        },
      ),
    async setLevel(level) {
      await client.setLoggingLevel(level)
    },
    onLog(listener) {
      client.setNotificationHandler('notifications/message', ({ params }) => listener(params.level))
    },
    close: () => client.close(),
  }
}
