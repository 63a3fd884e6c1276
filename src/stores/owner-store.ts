import type { OwnerStore } from '../define.ts'
import { type Store, VALUE_BYTES } from './store.ts'

/** The part of the store that belongs to one owner. Keys of others cannot be named from here. */
export function ownerStore(store: Store, space: string): OwnerStore {
  return {
    async get(key) {
      const text = await store.get(space, key)
      return text === undefined ? undefined : JSON.parse(text)
    },
    async put(key, value, { ttlSeconds }) {
      const text = JSON.stringify(value)
      if (text === undefined) throw new TypeError('A stored value must be JSON')
      if (Buffer.byteLength(text) > VALUE_BYTES) {
        throw new RangeError(`A stored value is at most ${VALUE_BYTES} bytes`)
      }
      await store.put(space, key, text, ttlSeconds)
    },
    delete: (key) => store.delete(space, key),
    list: () => store.list(space),
  }
}
