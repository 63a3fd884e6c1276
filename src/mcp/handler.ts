import {
  type AuthInfo,
  createMcpHandler,
  type McpRequestContext,
} from '@modelcontextprotocol/server'
import type { Context } from 'hono'
import type { AppEnv, AppVariables, Era, Message } from '../context.ts'
import type { HttpPolicy } from '../policy.ts'
import type { RawHeaders } from '../raw-headers.ts'
import { eraOf } from './era.ts'
import { plainRefusal } from './refusal.ts'
import { buildServer, type ServerParts } from './server.ts'

export interface McpOptions extends ServerParts {
  readonly protocol: HttpPolicy['protocol']
  /** Age at which a `subscriptions/listen` stream ends, seconds. */
  readonly streamSeconds: number
}

export interface Mcp {
  /** Serves one authorized message. */
  handle(c: Context<AppEnv>): Promise<Response>
  /** The era the SDK will serve a message in. */
  eraOf(message: Message, headers: RawHeaders): Era
  /** Ends open streams. Calls in flight end through `Calls`. */
  close(): Promise<void>
}

/** Interval of keep-alive comments, ms: below the usual idle timeout of proxies. */
const KEEP_ALIVE_MS = 15_000

/**
 * The SDK behind the controls. It is handed the parsed message and the verified identity; the raw
 * token, the body and unauthorized names never reach it.
 */
export function createMcp(options: McpOptions): Mcp {
  const { definitions, protocol, streamSeconds } = options
  /** What the controls left, by the request that the SDK hands back to the factory. */
  const requests = new WeakMap<Request, AppVariables>()

  function factory({ era, requestInfo }: McpRequestContext): ReturnType<typeof buildServer> {
    const vars = requestInfo && requests.get(requestInfo)
    if (vars === undefined) throw new Error('A request reached the SDK without its controls')
    if (vars.era !== era) throw new Error('A request was authorized for one era, served in another')
    return buildServer(options, vars)
  }

  const shared = {
    legacy: protocol.legacy === 'off' ? ('reject' as const) : ('stateless' as const),
    keepAliveMs: KEEP_ALIVE_MS,
  }
  /** Answers with JSON, or as a stream from the first notification on. */
  const plain = createMcpHandler(factory, shared)
  /** Answers as a stream at once, so that proxies see bytes while a silent tool works. */
  const streaming = createMcpHandler(factory, { ...shared, responseMode: 'sse' })

  return {
    async handle(c) {
      const vars = c.var
      const { operation, message } = vars
      const called = message.method === 'tools/call' ? operation?.rule.name : undefined
      const tool = definitions.tools.get(called ?? '')?.tool
      const handler = tool?.longRunning ? streaming : plain
      const request =
        message.method === 'subscriptions/listen' ? endingStream(c, streamSeconds) : c.req.raw
      requests.set(request, vars)
      const response = await handler.fetch(request, {
        parsedBody: message,
        authInfo: authInfoOf(vars),
      })
      // The SDK says keep-alive whatever the client asked for; Node decides (RFC 9112 §9.6).
      response.headers.delete('connection')
      return response.ok ? response : plainRefusal(response)
    },
    eraOf,
    async close() {
      await Promise.all([plain.close(), streaming.close()])
    },
  }
}

/** The request of a stream that ends at its age, or with the credential that opened it. */
function endingStream(c: Context<AppEnv>, streamSeconds: number): Request {
  const { url, method, headers, signal } = c.req.raw
  const { expiresAt } = c.get('identity')
  const leftMs = expiresAt === null ? Number.POSITIVE_INFINITY : expiresAt * 1000 - Date.now()
  const ageMs = Math.max(0, Math.min(streamSeconds * 1000, leftMs))
  const ending = AbortSignal.any([signal, AbortSignal.timeout(ageMs)])
  return new Request(url, { method, headers, signal: ending })
}

/** The identity as the SDK knows it: a digest stands in for the token. */
function authInfoOf({ identity }: AppVariables): AuthInfo {
  const { principal, credentialDigest, expiresAt } = identity
  return {
    token: credentialDigest,
    clientId: principal.client || principal.subject,
    scopes: [...principal.scopes],
    ...(expiresAt === null ? {} : { expiresAt }),
  }
}
