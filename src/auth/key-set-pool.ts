// optional: oauth
import type { KeySet, KeySetOptions } from './key-set.ts'

/** Key sets that outlive a reload, by where they come from. */
export interface KeySetPool {
  /**
   * The set of this source, made when nobody holds it yet. Its `close` gives it back; the last one to
   * do so ends it.
   */
  take(options: KeySetOptions): KeySet
  /** Whether every set that is held has keys that may be used now. */
  available(): boolean
  /** Of every set that is held. For metrics. */
  states(): readonly {
    readonly issuer: string
    readonly usable: boolean
    readonly ageSeconds: number
  }[]
}

interface Held {
  readonly issuer: string
  readonly keys: KeySet
  holders: number
}

/** @param make `createKeySet` with everything but the source */
export function keySetPool(make: (options: KeySetOptions) => KeySet): KeySetPool {
  const held = new Map<string, Held>()

  return {
    take(options) {
      const name = nameOf(options)
      const entry: Held = held.get(name) ?? {
        issuer: options.issuer,
        keys: make(options),
        holders: 0,
      }
      entry.holders += 1
      held.set(name, entry)
      let returned = false
      return {
        ...entry.keys,
        close() {
          if (returned) return
          returned = true
          entry.holders -= 1
          if (entry.holders > 0) return
          held.delete(name)
          entry.keys.close()
        },
      }
    },
    available: () => [...held.values()].every(({ keys }) => keys.available()),
    states: () =>
      [...held.values()].map(({ issuer, keys }) => ({
        issuer,
        usable: keys.available(),
        ageSeconds: keys.ageSeconds(),
      })),
  }
}

/** Only what `KeySetOptions` names: a source may be a whole issuer policy. */
function nameOf(options: KeySetOptions): string {
  const { issuer, jwksUri, algorithms, timeoutMs } = options
  const { cacheSeconds, cooldownSeconds, staleIfErrorSeconds } = options
  return JSON.stringify([
    issuer,
    jwksUri,
    algorithms,
    timeoutMs,
    cacheSeconds,
    cooldownSeconds,
    staleIfErrorSeconds,
  ])
}
