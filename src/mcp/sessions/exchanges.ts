// optional: legacy-sessions
import type { ServerResponse } from 'node:http'
import type { ServerContext } from '@modelcontextprotocol/server'
import { Denied } from '../../errors.ts'
import { outlives } from '../../when-closed.ts'
import type { Served, ServedOf } from '../served.ts'

type Id = string | number

/** The messages of one session that are with the SDK, and what the controls left of each. */
export interface Exchanges {
  /**
   * Notes a message. A request lasts until it is answered, however its connection fares: so long it
   * keeps its slots and its hold.
   *
   * @throws {Denied} `session-guard.duplicate-id` while another request has its id
   */
  add(request: Request, served: Served, outgoing: ServerResponse): void
  /** The message behind a handler, by the request that brought it. */
  readonly servedOf: ServedOf
  /** @returns the request of this id that is not answered yet */
  about(id: unknown): Served | undefined
  /** Notes that a request is answered, or that nobody waits for its answer any more. */
  settle(id: Id): void
  /** Requests that are not answered yet. */
  running(): number
  /** Notes that none of them will be answered. */
  abandon(): void
}

export function exchanges(): Exchanges {
  const byRequest = new WeakMap<Request, Served>()
  const open = new Map<unknown, { readonly served: Served; readonly answered: () => void }>()

  return {
    add(request, served, outgoing) {
      const { id } = served.vars.message
      if (id !== undefined) {
        if (open.has(id)) throw new Denied('session-guard.duplicate-id')
        const { promise, resolve: answered } = Promise.withResolvers<void>()
        open.set(id, { served, answered })
        outlives(outgoing, promise)
      }
      byRequest.set(request, served)
    },
    servedOf({ http }: ServerContext) {
      const served = http?.req && byRequest.get(http.req)
      if (served === undefined) throw new Error('A request reached the SDK without its controls')
      return served
    },
    about: (id) => open.get(id)?.served,
    settle(id) {
      open.get(id)?.answered()
      open.delete(id)
    },
    running: () => open.size,
    abandon() {
      for (const { answered } of open.values()) answered()
      open.clear()
    },
  }
}
