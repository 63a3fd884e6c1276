import type { ServerEvent } from '@modelcontextprotocol/server'

/** Whether a client takes what is written to it. */
export interface Pace {
  isBehind(): boolean
  /** Runs something once when it has caught up; never when it leaves before. */
  whenCaughtUp(run: () => void): void
  /** Resources that it follows. */
  readonly follows: ReadonlySet<unknown>
}

/**
 * Delivers at the pace of the client. The SDK queues without a bound for one that takes less than is
 * written, so what changes meanwhile is held back, each list and each resource that it follows once:
 * that it has changed is all there is to say.
 */
export function paced(
  deliver: (event: ServerEvent) => void,
  { isBehind, whenCaughtUp, follows }: Pace,
): (event: ServerEvent) => void {
  const held = new Map<string, ServerEvent>()

  function flush(): void {
    for (const [name, event] of held) {
      if (isBehind()) {
        whenCaughtUp(flush)
        return
      }
      held.delete(name)
      deliver(event)
    }
  }

  return function paced(event) {
    const uri = event.kind === 'resource_updated' ? event.uri : undefined
    if (uri !== undefined && !follows.has(uri)) return
    if (held.size === 0 && !isBehind()) {
      deliver(event)
      return
    }
    if (held.size === 0) whenCaughtUp(flush)
    held.set(uri ?? event.kind, event)
  }
}
