import {
  ProtocolError,
  ProtocolErrorCode,
  type Server,
  type ServerContext,
  type ServerEvent,
} from '@modelcontextprotocol/server'
import { MAX_FOLLOWED } from '../access/target.ts'
import { CallEnded, type Calls } from './calls.ts'
import { NOT_FOUND } from './refusal.ts'
import type { ServedOf } from './served.ts'

/** What the client of a connection has asked to hear, in revisions that ask by `resources/subscribe`. */
export interface Following {
  /** Whether it is to be told: of every list, and of a resource while it follows that one. */
  hears(event: ServerEvent): boolean
}

/**
 * Answers `resources/subscribe` and `resources/unsubscribe`, for a connection that lasts.
 *
 * `authorize` has decided as for `resources/read` by the time they come here. What follows a resource
 * ends with its connection, and with `forget` when the policies have changed. The client cannot be told
 * that: it is told that the resource has changed, reads it again and finds out what it may.
 */
export function serveFollowing(
  server: Server,
  { calls }: { readonly calls: Calls },
  servedOf: ServedOf,
): Following & { all(): readonly string[]; forget(): void } {
  const followed = new Set<string>()

  /** @throws {ProtocolError} -32602 for a URI of no resource, and for one too many */
  function change(ctx: ServerContext, apply: () => boolean): Promise<object> {
    const { operation, hold } = servedOf(ctx).vars
    const caller = { signal: ctx.mcpReq.signal, hold }
    const refused = new ProtocolError(ProtocolErrorCode.InvalidParams, NOT_FOUND.resource)
    if (operation?.parsed.value === undefined) return Promise.reject(refused)
    return calls
      .run<boolean, boolean>(
        operation,
        caller,
        async () => apply(),
        async (result) => {
          const done = 'value' in result && result.value
          const ended = 'error' in result && result.error instanceof CallEnded
          const outcome = done ? 'ok' : ended ? result.error.end : 'failed'
          return [done, { outcome, resultSha256: undefined, progressCount: 0 }]
        },
      )
      .then((done) => {
        if (done) return {}
        throw refused
      })
  }

  server.setRequestHandler('resources/subscribe', ({ params: { uri } }, ctx) =>
    change(ctx, () => {
      if (followed.size >= MAX_FOLLOWED && !followed.has(uri)) return false
      followed.add(uri)
      return true
    }),
  )
  server.setRequestHandler('resources/unsubscribe', ({ params: { uri } }, ctx) =>
    change(ctx, () => {
      followed.delete(uri)
      return true
    }),
  )
  return {
    hears: (event) => event.kind !== 'resource_updated' || followed.has(event.uri),
    all: () => [...followed],
    forget: () => followed.clear(),
  }
}
