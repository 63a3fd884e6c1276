import { findResource } from '../access/target.ts'
import type { Principal } from '../context.ts'
import type { Resource, ToolContext } from '../define.ts'
import type { Changes } from './changes.ts'

/** Resources that one call may say have changed. */
const MAX_UPDATED = 100

/** What one call says has changed, told when it has ended: a flood of it is as much as one of each. */
export interface ResourceChanges
  extends Pick<ToolContext, 'resourceUpdated' | 'resourceListChanged'> {
  /** Tells those who listen. What is said after that is not told. */
  flush(): void
}

/** @returns for each call, by its caller */
export function resourceChanges(
  changes: Pick<Changes, 'publish'>,
  resources: readonly Resource[],
): (caller: Principal) => ResourceChanges {
  const find = findResource(resources)

  return function resourceChanges(caller) {
    /** By URI; whether everybody is told. */
    const updated = new Map<string, boolean>()
    let listChanged = false
    let flushed = false

    return {
      resourceUpdated(uri) {
        const found = find(uri)
        // Nobody may follow what nobody may read, so nothing else can be said to have changed.
        if (found === undefined || !found.resource.params.safeParse(found.variables).success) {
          throw new RangeError('There is no such resource')
        }
        if (!updated.has(uri) && updated.size === MAX_UPDATED) {
          throw new RangeError(`One call tells of at most ${MAX_UPDATED} resources`)
        }
        updated.set(uri, found.resource.shared ?? false)
      },
      resourceListChanged() {
        listChanged = true
      },
      flush() {
        if (flushed) return
        flushed = true
        for (const [uri, shared] of updated) {
          changes.publish({ kind: 'resource_updated', uri }, shared ? undefined : caller)
        }
        if (listChanged) changes.publish({ kind: 'resources_list_changed' }, caller)
      },
    }
  }
}
