import type { Principal } from '../../src/context.ts'
import type { OwnerStore, ToolContext } from '../../src/define.ts'
import { EgressError, type Fetch } from '../../src/fetch.ts'

/** What a tool did with its context. `notifications` are in order, both kinds together. */
export interface FakeContext extends ToolContext {
  readonly notifications: readonly Notification[]
  readonly questions: readonly string[]
  /** URIs that it said have changed; `null` for the list of resources. */
  readonly changed: readonly (string | null)[]
}

type Notification =
  | { readonly kind: 'progress'; readonly done: number; readonly total?: number; message?: string }
  | { readonly kind: 'log'; readonly level: string; readonly message: string }

export const PRINCIPAL: Principal = {
  kind: 'api-key',
  issuer: 'gatehouse',
  client: '',
  subject: 'ann',
  scopes: ['mcp:use', 'documents:process'],
  roles: ['editor'],
  tenant: null,
}

/** The space of one owner: JSON values of at most 256 KiB, as the real one. */
export function fakeStore(): OwnerStore & { readonly ttls: readonly number[] } {
  const values = new Map<string, string>()
  const ttls: number[] = []
  return {
    ttls,
    async get(key) {
      const value = values.get(key)
      return value === undefined ? undefined : JSON.parse(value)
    },
    async put(key, value, { ttlSeconds }) {
      const text = JSON.stringify(value)
      if (Buffer.byteLength(text) > 262_144) throw new RangeError('Too large')
      values.set(key, text)
      ttls.push(ttlSeconds)
    },
    async delete(key) {
      return values.delete(key)
    },
    async list() {
      return [...values.keys()]
    },
  }
}

export interface FakeOptions {
  readonly store?: OwnerStore
  readonly signal?: AbortSignal
  /** What the person answers when asked. */
  readonly agrees?: boolean
  /** What other services answer. Without it nothing may be sent. */
  readonly fetch?: Fetch
  /** Called after each progress notification. */
  readonly onProgress?: (done: number) => void
}

export function fakeContext(options: FakeOptions = {}): FakeContext {
  const notifications: Notification[] = []
  const questions: string[] = []
  const changed: (string | null)[] = []
  return {
    notifications,
    questions,
    changed,
    principal: PRINCIPAL,
    signal: options.signal ?? new AbortController().signal,
    store: options.store ?? fakeStore(),
    fetch: options.fetch ?? (() => Promise.reject(new EgressError('not-allowed'))),
    progress(done, total, message) {
      notifications.push({
        kind: 'progress',
        done,
        ...(total === undefined ? {} : { total }),
        ...(message === undefined ? {} : { message }),
      })
      options.onProgress?.(done)
    },
    log(level, message) {
      notifications.push({ kind: 'log', level, message })
    },
    async confirm(question) {
      questions.push(question)
      return options.agrees ?? false
    },
    resourceUpdated(uri) {
      changed.push(uri)
    },
    resourceListChanged() {
      changed.push(null)
    },
  }
}
