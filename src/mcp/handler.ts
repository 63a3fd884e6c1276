import { createMcpHandler, type McpRequestContext } from '@modelcontextprotocol/server'
import type { Context } from 'hono'
import { followedResources } from '../access/target.ts'
import type { AppEnv } from '../context.ts'
import type { HttpPolicy } from '../policy.ts'
import { authInfoOf } from './auth-info.ts'
import type { Changes } from './changes.ts'
import { endingStream } from './ending-stream.ts'
import { plainRefusal, type Refused } from './refusal.ts'
import type { McpPolicies, Served } from './served.ts'
import { requestServer, type ServerParts } from './server.ts'
import { createSessions, type Sessions, type SessionsOptions } from './sessions/handlers.ts' // optional: legacy-sessions

/** What stays while policies come and go. */
export interface McpOptions extends ServerParts {
  readonly legacy: HttpPolicy['protocol']['legacy']
  readonly changes: Changes
  readonly sessions: Omit<SessionsOptions, keyof ServerParts | 'changes'> // optional: legacy-sessions
}

interface Exchange extends Served {
  /** Why there is no server for it: a bug, which the SDK keeps to itself. */
  failure?: unknown
}

/** Serves one authorized message. */
export type Handle = (c: Context<AppEnv>) => Promise<Response>

export interface Mcp {
  /** @returns a handler that serves messages under these policies. */
  under(policies: McpPolicies): Handle
  readonly sessions: Sessions // optional: legacy-sessions
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
  const { definitions, legacy, changes } = options
  /** What the controls left, by the request that the SDK hands back to the factory. */
  const requests = new WeakMap<Request, Exchange>()

  function factory({ era, requestInfo }: McpRequestContext): ReturnType<typeof requestServer> {
    const left = requestInfo && requests.get(requestInfo)
    if (left === undefined) throw new Error('A request reached the SDK without its controls')
    try {
      if (left.vars.era !== era) throw new Error('Authorized for one era, served in another')
      return requestServer(options, left)
    } catch (error) {
      left.failure = error
      throw error
    }
  }

  const shared = {
    legacy: legacy === 'off' ? ('reject' as const) : ('stateless' as const),
    keepAliveMs: KEEP_ALIVE_MS,
    bus: changes.bus,
    maxSubscriptions: Number.POSITIVE_INFINITY, // `call-limit` counts them.
  }
  /** Answers with JSON, or as a stream from the first notification on. */
  const plain = createMcpHandler(factory, shared)
  /** Answers as a stream at once, so that proxies see bytes while a silent tool works. */
  const streaming = createMcpHandler(factory, { ...shared, responseMode: 'sse' })

  const sessions = createSessions({ ...options, ...options.sessions }) // optional: legacy-sessions

  return {
    sessions, // optional: legacy-sessions
    under: (policies) =>
      async function handle(c) {
        const vars = c.var
        const { operation, message } = vars
        const called = message.method === 'tools/call' ? operation?.rule.name : undefined
        const tool = definitions.tools.get(called ?? '')?.tool
        const handler = tool?.longRunning ? streaming : plain
        const stream =
          message.method === 'subscriptions/listen'
            ? endingStream(c, policies.streamSeconds)
            : undefined
        const request = stream?.request ?? c.req.raw
        const refused: Refused = (reason) => c.set('denied', reason)
        const served: Exchange = { vars, policies, refused }
        requests.set(request, served)
        const follows = new Set(followedResources(message))
        const listener = {
          principal: vars.identity.principal,
          end: follows.size > 0 ? stream?.end : undefined,
          pace: stream && {
            isBehind: vars.isBehind,
            whenCaughtUp: (run: () => void) => void c.env.outgoing.once('drain', run),
            follows,
          },
        }
        const answered = changes.heardBy(listener, () =>
          handler.fetch(request, { parsedBody: message, authInfo: authInfoOf(vars.identity) }),
        )
        const response = await answered.finally(() => requests.delete(request))
        // The SDK says keep-alive whatever the client asked for; Node decides (RFC 9112 §9.6).
        response.headers.delete('connection')
        if (response.status < 400) return response
        if (response.status < 500) return plainRefusal(response, refused)
        throw new Error('The SDK failed to serve a message', { cause: served.failure })
      },
    async close() {
      sessions.close() // optional: legacy-sessions
      await Promise.all([plain.close(), streaming.close()])
      await options.tasks?.idle() // optional: tasks
    },
  }
}
