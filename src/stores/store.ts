/** What is left of a budget after one hit. */
export interface Budget {
  readonly allowed: boolean
  readonly remaining: number
  /** Until the window starts again, seconds, rounded up. */
  readonly resetSeconds: number
}

/** Counts hits of keys in fixed windows. */
export interface Limiter {
  /** Counts one hit. */
  hit(key: string): Promise<Budget>
}

export interface LimiterOptions {
  /** Name of the limiter; limiters of the same name share their counters. */
  readonly name: string
  /** Hits allowed in one window. */
  readonly limit: number
  readonly windowSeconds: number
}

/**
 * Shared short-lived state behind one port. Memory in one process, Redis between several; both pass
 * the contract test in `test/stores/contract.ts`. Everything expires, everything is bounded.
 *
 * Each operation throws `Denied` `store.unavailable` when the store cannot do it. Only the limits may
 * go on without a store, and only as `insurance.ts` does it.
 */
export interface Store {
  limiter(options: LimiterOptions): Limiter
  /**
   * Marks a value as used. A store that is full refuses; a mark that lives is never forgotten.
   *
   * @param key purpose, colon, name. Purposes are few, fixed words, and each has one `ttlSeconds`:
   *   one that is full leaves the others alone.
   * @returns `true` for the first caller within `ttlSeconds`, `false` for every later one.
   */
  once(key: string, ttlSeconds: number): Promise<boolean>
  /** @returns the value, or `undefined` when it is absent or expired. */
  get(space: string, key: string): Promise<string | undefined>
  /** Keeps a value. A space holds `SPACE_KEYS` keys: one more drops its oldest. */
  put(space: string, key: string, value: string, ttlSeconds: number): Promise<void>
  /** @returns whether there was a value. */
  delete(space: string, key: string): Promise<boolean>
  /** Keys of a space, oldest first. */
  list(space: string): Promise<readonly string[]>
  close(): Promise<void>
  /** What processes have in common beside that. Absent where the store is that of one process. */
  readonly shared?: SharedState
}

export interface SharedState {
  /** Whether the store did what it was asked last. */
  reachable(): boolean
  /** As last read: at most 10 s ago while the store is reachable, longer while it is not. */
  revoked(): Revoked
  /** How old the older of the two lists is, seconds. */
  revokedAgeSeconds(): number
  readonly events: SharedEvents
}

/** Short messages to every process that shares the store, this one included. None is kept. */
export interface SharedEvents {
  /** Sends, and waits for nothing: a store that is away loses it. */
  publish(text: string): void
  /** @param onMissed this process may not have heard everything: its connection was gone meanwhile */
  listen(onEvent: (text: string) => void, onMissed: () => void): void
}

/** Names of credentials (`jti` of a token, id of an API key) and of subjects that are shut out. */
export interface Revoked {
  readonly jti: ReadonlySet<string>
  readonly subjects: ReadonlySet<string>
}

/** The process cannot start without its store. The message names the setting, never its value. */
export class StoreUnreachable extends Error {
  constructor(message: string, options?: { cause?: unknown }) {
    super(message, options)
    this.name = 'StoreUnreachable'
  }
}

/** Keys that one space (one owner) may hold. */
export const SPACE_KEYS = 100
/** Size of one stored value, UTF-8 bytes. */
export const VALUE_BYTES = 262_144
