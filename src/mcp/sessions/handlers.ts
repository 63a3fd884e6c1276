// optional: legacy-sessions
import { isInitializeRequest } from '@modelcontextprotocol/server'
import type { Context, MiddlewareHandler } from 'hono'
import type { AppEnv } from '../../context.ts'
import type { SessionGuardOptions } from '../../controls/session-guard.ts'
import { Denied } from '../../errors.ts'
import { ownerKey } from '../../owner-key.ts'
import type { HttpPolicy } from '../../policy.ts'
import type { SlotTables } from '../../slots.ts'
import type { TakeStream } from '../../stream-slots.ts'
import { whenClosed } from '../../when-closed.ts'
import { MODERN_REVISIONS, REVISIONS } from '../era.ts'
import type { McpPolicies } from '../served.ts'
import { streamableChannel } from './channel.ts'
import { sessionRegistry } from './registry.ts'
import { createSession, type SessionParts } from './session.ts'
import { openSse, SSE_REVISIONS } from './sse.ts' // optional: legacy-sse

export interface SessionsOptions extends SessionParts {
  readonly http: Pick<HttpPolicy, 'protocol' | 'sessions'>
  readonly slotsOf: SlotTables
}

/** What the app does with requests of sessions, in the order of `app.ts`. */
export interface SessionHandlers {
  readonly guard: Pick<SessionGuardOptions, 'revisions' | 'find'>
  /** GET opens a stream of a session, DELETE ends the session. */
  readonly connect: (c: Context<AppEnv>) => Promise<Response>
  /** GET begins a session of the transport of 2024-11-05. */ // optional: legacy-sse
  readonly open: (c: Context<AppEnv>) => Promise<Response> // optional: legacy-sse
  /** Takes what clients answer to questions. */
  readonly answer: MiddlewareHandler<AppEnv>
  /** Serves messages of sessions, and begins them. What has none goes on. */
  readonly serve: MiddlewareHandler<AppEnv>
}

export interface Sessions {
  /** @returns handlers that serve under these policies. */
  under(policies: McpPolicies, takeStream: TakeStream): SessionHandlers
  /** Ends all sessions. Calls in flight end through `Calls`. */
  close(): void
}

const LEGACY_REVISIONS = REVISIONS.filter((revision) => !MODERN_REVISIONS.includes(revision))

/** The sessions of this process, for clients of the 2025 and 2024 revisions. */
export function createSessions(options: SessionsOptions): Sessions {
  const { http, clock } = options
  const registry = sessionRegistry(http.sessions, options.slotsOf, clock)
  const budget = { used: 0 }
  const revisions = new Map<string, readonly string[]>()
  if (http.protocol.legacy === 'sessions') revisions.set('/mcp', LEGACY_REVISIONS)
  if (http.protocol.httpSse) revisions.set('/sse', SSE_REVISIONS) // optional: legacy-sse
  if (http.protocol.httpSse) revisions.set('/messages', SSE_REVISIONS) // optional: legacy-sse

  function ownerOf(c: Context<AppEnv>): string {
    return ownerKey(c.get('identity').principal)
  }

  /** Takes a place for a stream in place of one for a call. */
  function asStream(c: Context<AppEnv>, takeStream: TakeStream): Context<AppEnv> {
    takeStream(ownerOf(c), (run) => whenClosed(c.env.outgoing, run))
    c.get('release')()
    return c
  }

  async function begin(c: Context<AppEnv>, policies: McpPolicies): Promise<Response> {
    const session = await registry.begin(ownerOf(c), (bounds) =>
      createSession(options, c, {
        ...bounds,
        path: '/mcp',
        channel: streamableChannel(bounds.id, http.sessions.eventsPerStream, budget, clock),
        revisions: LEGACY_REVISIONS,
      }),
    )
    session.use(c)
    let status: number | undefined
    try {
      const response = await session.serve(c, policies)
      status = response.status
      return response
    } finally {
      if (status !== 200) session.cut() // It was refused, so nobody will ever know its id.
    }
  }

  return {
    under: (policies, takeStream) => ({
      guard: { revisions, find: registry.find },
      async connect(c) {
        const session = c.get('session')
        if (session === undefined) throw new Denied('session-guard.missing')
        if (c.env.incoming.method === 'DELETE') {
          session.cut()
          return new Response(null, { status: 204 })
        }
        asStream(c, takeStream)
        return session.stream(c, policies.streamSeconds)
      },
      open: async (c) => openSse(asStream(c, takeStream), options, registry, policies), // optional: legacy-sse
      async answer(c, next) {
        if (c.get('reply') === undefined) return next()
        return c.get('session')?.answer(c)
      },
      async serve(c, next) {
        const session = c.get('session')
        if (session !== undefined) return session.serve(c, policies)
        if (c.get('era') === 'modern' || !revisions.has(c.get('path'))) return next()
        const message = c.get('message')
        if (message.method !== 'initialize') throw new Denied('session-guard.missing')
        // Without the parameters that it must have it begins nothing: it is answered as it is elsewhere.
        return isInitializeRequest(message) ? begin(c, policies) : next()
      },
    }),
    close: registry.close,
  }
}
