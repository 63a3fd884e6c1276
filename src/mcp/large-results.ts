import { setImmediate as turn } from 'node:timers/promises'
import type { Checked } from './tool-result.ts'

/** A result of more is made into an answer alone, characters of JSON. */
const LARGE = 65_536
/** Turns of the event loop after which the SDK has made the answer and Node has it, with some to spare. */
const TURNS = 4

/** Makes a result into what is sent, once there is room for that. */
export type InTurn = <Answer>(make: () => Checked<Answer>) => Promise<Checked<Answer>>

/**
 * Large results become answers one after the other. On its way each is several times its size in
 * memory, so some dozen at the same time would end a process whose heap is small; one after the other
 * takes no longer, because all of it is work of one thread.
 */
export function largeResults(): InTurn {
  let before: Promise<void> | undefined

  return async function inTurn(make) {
    while (before !== undefined) await before
    const result = make()
    if (result.text.length > LARGE) {
      before = handedOver().then(() => {
        before = undefined
      })
    }
    return result
  }
}

async function handedOver(): Promise<void> {
  for (let index = 0; index < TURNS; index++) await turn()
}
