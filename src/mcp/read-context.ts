import type { Identity } from '../context.ts'
import type { ReadContext } from '../define.ts'
import { ownerSpace } from '../owner-key.ts'
import { ownerStore } from '../stores/owner-store.ts'
import type { Store } from '../stores/store.ts'

/** What a resource, a prompt or a list of resources may use: the caller's own space. */
export function readContext(
  store: Store,
  { principal }: Identity,
  signal: AbortSignal,
): ReadContext {
  return { principal, signal, store: ownerStore(store, ownerSpace(principal)) }
}
