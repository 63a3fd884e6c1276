import { InMemoryServerEventBus, type ServerEventBus } from '@modelcontextprotocol/server'

/** Tells the open `subscriptions/listen` streams what has changed. */
export interface Changes {
  readonly bus: ServerEventBus
  /** The policies have changed, and with them what each caller may see in its lists. */
  listsChanged(): void
}

export function changes(): Changes {
  const bus = new InMemoryServerEventBus()
  return {
    bus,
    listsChanged() {
      bus.publish({ kind: 'tools_list_changed' })
      bus.publish({ kind: 'resources_list_changed' })
      bus.publish({ kind: 'prompts_list_changed' })
    },
  }
}
