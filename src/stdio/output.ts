// optional: stdio
import { once } from 'node:events'
import type { Writable } from 'node:stream'

/** Where messages leave, one a line. */
export interface Output {
  /** Resolves when it has left, or when nobody will ever read it. */
  write(message: string): Promise<void>
  /** Whether the host takes less than is written. */
  isBehind(): boolean
  /** Resolves once the host has taken what was written. */
  room(): Promise<void>
}

/** @param gone hears, maybe more than once, that the host does not read any more */
export function output(stream: Writable, gone: () => void): Output {
  // Bound before `reserve` takes its place.
  const write = stream.write.bind(stream)
  stream.on('error', gone)

  return {
    write: (message) => new Promise((resolve) => write(`${message}\n`, () => resolve())),
    isBehind: () => stream.writableNeedDrain,
    async room() {
      if (stream.writableNeedDrain && !stream.destroyed) await once(stream, 'drain')
    },
  }
}

/**
 * Whatever else this process writes to the stream, such as `console.log` of a tool or of a package,
 * goes to another one: on the stream of the protocol one such line breaks the connection.
 */
export function reserve(stream: Writable, other: Writable): void {
  stream.write = other.write.bind(other)
}
