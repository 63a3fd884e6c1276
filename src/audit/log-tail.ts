import { fstatSync, readSync } from 'node:fs'
import type { ChainHead, Predecessor } from './chain.ts'
import { readLine } from './chain-line.ts'

/** How much of a file is looked at. A line is about 1 KB. */
const WINDOW_BYTES = 65_536

/**
 * What a new chain has to say of the file that it continues: the last record, and whether half a line
 * follows it. Nothing of it is verified: that is for whoever reads the log.
 *
 * @param fd open for reading; what is no file (a pipe, a device) has no tail
 */
export function readTail(fd: number): Predecessor {
  const stats = fstatSync(fd)
  if (!stats.isFile() || stats.size === 0) return { head: undefined, tornBytes: 0 }
  const window = Buffer.alloc(Math.min(WINDOW_BYTES, stats.size))
  const bytes = readSync(fd, window, 0, window.length, stats.size - window.length)
  const tail = window.subarray(0, bytes)
  const wholeBytes = tail.lastIndexOf('\n') + 1
  return { head: lastRecord(tail.subarray(0, wholeBytes)), tornBytes: bytes - wholeBytes }
}

function lastRecord(tail: Buffer): ChainHead | undefined {
  for (let end = tail.length - 1; end > 0; end = tail.lastIndexOf('\n', end - 1)) {
    const start = tail.lastIndexOf('\n', end - 1) + 1
    const record = readLine(tail.subarray(start, end))
    if (record !== undefined) {
      return { writer: record.writer, sequence: record.sequence, mac: record.mac }
    }
  }
  return undefined
}
