/** Counts what is in use at the same time, by key. */
export interface Slots {
  /** Slots of one key. */
  readonly limit: number
  /**
   * Takes a slot.
   *
   * @returns its release, which may be called more than once, or `undefined` when all are taken.
   */
  take(key: string): (() => void) | undefined
}

/** Slots by name. Those of one name share their counts, so that a reload forgets nothing in use. */
export interface SlotTables {
  (name: string, limit: number): Slots
  /** @returns the slots of a name that are taken, by all keys */
  taken(name: string): number
}

export function slotTables(): SlotTables {
  const tables = new Map<string, Map<string, number>>()

  function slotsOf(name: string, limit: number): Slots {
    const taken = tables.get(name) ?? new Map<string, number>()
    tables.set(name, taken)
    return slots(limit, taken)
  }

  return Object.assign(slotsOf, {
    taken: (name: string) =>
      tables
        .get(name)
        ?.values()
        .reduce((sum, count) => sum + count, 0) ?? 0,
  })
}

/**
 * @param limit slots of one key
 * @param taken counts by key
 */
export function slots(limit: number, taken = new Map<string, number>()): Slots {
  return {
    limit,
    take(key) {
      const count = taken.get(key) ?? 0
      if (count >= limit) return undefined
      taken.set(key, count + 1)
      let released = false
      return function release() {
        if (released) return
        released = true
        const left = (taken.get(key) ?? 1) - 1
        if (left === 0) taken.delete(key)
        else taken.set(key, left)
      }
    },
  }
}
