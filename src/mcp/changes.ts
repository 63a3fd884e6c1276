import { AsyncLocalStorage } from 'node:async_hooks'
import { randomUUID } from 'node:crypto'
import type { ServerEvent, ServerEventBus } from '@modelcontextprotocol/server'
import { z } from 'zod'
import type { Principal } from '../context.ts'
import { ownerSpace } from '../owner-key.ts'
import type { SharedEvents } from '../stores/store.ts'
import { type Pace, paced } from './paced.ts'

/** Whoever opens a stream. */
export interface Listener {
  readonly principal: Principal
  /** Ends a stream that follows resources, and says why; `undefined` for one that does not. */
  readonly end: ((why: 'policies' | 'missed') => void) | undefined
  /** That of its client; without one everything is delivered at once. */
  readonly pace?: Pace | undefined
}

/**
 * Tells open streams what has changed.
 *
 * What one owner has changed is told to streams of that owner alone, (kind, issuer, subject) as for
 * stored objects; what concerns everybody goes to all. Which of it a stream wants is the SDK's filter,
 * and which resources it may name was decided when it was opened (`authorize`).
 *
 * Processes that share a store tell each other, but for policies, which each reads by itself.
 */
export interface Changes {
  /** For the SDK. A listener that was not opened with `heardBy` hears only what concerns everybody. */
  readonly bus: ServerEventBus
  /** What subscribes to the bus in `open`, or after it, does so for this listener. */
  heardBy<Opened>(listener: Listener, open: () => Opened): Opened
  /** @param owner whose event it is; `undefined` when it concerns everybody */
  publish(event: ServerEvent, owner: Principal | undefined): void
  /** What each caller may see in its lists has changed. */
  listsChanged(): void
  /**
   * The same, and what each caller may read: streams that follow resources end, and who opens one again
   * is authorized again.
   */
  policiesChanged(): void
}

/** @param shared reaches the other processes; whatever comes from there is checked like any input */
export function changes(shared?: SharedEvents): Changes {
  const self = randomUUID()
  const listening = new AsyncLocalStorage<Listener>()
  const streams = new Set<{
    readonly owner: string | undefined
    readonly listener: Listener | undefined
    readonly deliver: (event: ServerEvent) => void
  }>()

  /** @param space `undefined` when it concerns everybody */
  function deliver(event: ServerEvent, space: string | undefined): void {
    for (const stream of streams) {
      if (space === undefined || space === stream.owner) stream.deliver(event)
    }
  }

  function publish(event: ServerEvent, owner: Principal | undefined): void {
    const space = owner && ownerSpace(owner)
    deliver(event, space)
    shared?.publish(JSON.stringify({ from: self, event, space }))
  }

  function everythingChanged(why: 'policies' | 'missed'): void {
    for (const event of LISTS) deliver(event, undefined)
    for (const { listener } of streams) listener?.end?.(why)
  }

  // Who was not listening may have missed anything: that is as if everything had changed.
  shared?.listen(
    (text) => {
      const told = toldSchema.safeParse(parse(text))
      if (told.success && told.data.from !== self) deliver(told.data.event, told.data.space)
    },
    () => everythingChanged('missed'),
  )

  return {
    bus: {
      publish: (event) => publish(event, undefined),
      subscribe(handler) {
        const listener = listening.getStore()
        const deliver = listener?.pace === undefined ? handler : paced(handler, listener.pace)
        const owner = listener && ownerSpace(listener.principal)
        const stream = { owner, listener, deliver }
        streams.add(stream)
        return () => streams.delete(stream)
      },
    },
    heardBy: (listener, open) => listening.run(listener, open),
    publish,
    listsChanged() {
      for (const event of LISTS) publish(event, undefined)
    },
    policiesChanged: () => everythingChanged('policies'),
  }
}

const LISTS = [
  { kind: 'tools_list_changed' },
  { kind: 'resources_list_changed' },
  { kind: 'prompts_list_changed' },
] as const satisfies readonly ServerEvent[]

const toldSchema = z.strictObject({
  from: z.uuid(),
  event: z.discriminatedUnion('kind', [
    z.strictObject({ kind: z.literal('tools_list_changed') }),
    z.strictObject({ kind: z.literal('resources_list_changed') }),
    z.strictObject({ kind: z.literal('prompts_list_changed') }),
    z.strictObject({ kind: z.literal('resource_updated'), uri: z.string().max(2048) }),
  ]),
  space: z.string().length(43).optional(),
})

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined // Not one of ours.
  }
}
