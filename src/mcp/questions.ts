import type { JSONRPCMessage } from '@modelcontextprotocol/server'

/** Questions that may wait for one client at the same time. */
const QUESTIONS = 16

/** The requests of this server that a client has not answered yet. */
export interface Questions {
  /** Notes what is sent to the client. @throws {Error} for one question too many */
  note(message: JSONRPCMessage): void
  /** @returns whether this was asked and not answered yet. From now on it is answered. */
  answer(id: string | number): boolean
}

export function questions(): Questions {
  const waiting = new Set<unknown>()

  return {
    note(message) {
      if (!('method' in message)) return
      if ('id' in message) {
        if (waiting.size >= QUESTIONS) throw new Error('Too many questions wait for this client')
        waiting.add(message.id)
      } else if (message.method === 'notifications/cancelled') {
        waiting.delete(message.params?.['requestId']) // Its call has ended.
      }
    },
    answer: (id) => waiting.delete(id),
  }
}
