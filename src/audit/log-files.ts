import { createReadStream, statSync } from 'node:fs'
import { pipeline, type Readable } from 'node:stream'
import { createGunzip } from 'node:zlib'
import { membersOf, parse, readLine } from './chain-line.ts'

/** A longer line is given out in parts, so that a file without line breaks does not fill the memory. */
const MAX_LINE_BYTES = 1_048_576
const CHUNK_BYTES = 1_048_576
/** How much of a file tells where it belongs. */
const PEEK_BYTES = 262_144

/** A file that is missing, or is no file, or does not decompress. */
export class UnreadableFile extends Error {
  readonly file: string
  /** Of the system or of zlib. */
  readonly code: string

  constructor(file: string, cause: unknown) {
    super('A file cannot be read whole', { cause })
    this.name = 'UnreadableFile'
    this.file = file
    this.code = cause instanceof Error && 'code' in cause ? String(cause.code) : 'unknown'
  }
}

/** Means standard input, as the name of a file. */
const STANDARD_INPUT = '-'

/**
 * Lines of a log, some at a time, each with its line feed: the last one may have none. A file whose name ends in `.gz` is decompressed.
 *
 * @param onBytes told how many bytes of the file were read since the last time
 * @throws {UnreadableFile}
 */
export async function* linesOf(
  file: string,
  onBytes: (bytes: number) => void = () => undefined,
): AsyncGenerator<readonly Buffer[]> {
  let rest: Buffer = Buffer.alloc(0)
  for await (const chunk of chunksOf(file, onBytes)) {
    const data: Buffer = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
    const lines: Buffer[] = []
    let start = 0
    for (let end = data.indexOf(0x0a); end !== -1; end = data.indexOf(0x0a, start)) {
      lines.push(data.subarray(start, end + 1))
      start = end + 1
    }
    rest = data.subarray(start)
    if (rest.length > MAX_LINE_BYTES) {
      lines.push(rest)
      rest = Buffer.alloc(0)
    }
    yield lines
  }
  if (rest.length > 0) yield [rest]
}

async function* chunksOf(file: string, onBytes: (bytes: number) => void): AsyncGenerator<Buffer> {
  try {
    yield* file.endsWith('.gz') ? unpacked(readOf(file, onBytes)) : readOf(file, onBytes)
  } catch (error) {
    throw new UnreadableFile(file, error)
  }
}

function unpacked(source: AsyncIterable<Buffer>): AsyncIterable<Buffer> {
  const gunzip = createGunzip({ chunkSize: CHUNK_BYTES })
  pipeline(source, gunzip, () => {
    // An error comes out of the loop below.
  })
  return gunzip
}

async function* readOf(file: string, onBytes: (bytes: number) => void): AsyncGenerator<Buffer> {
  const source: Readable =
    file === STANDARD_INPUT ? process.stdin : createReadStream(file, { highWaterMark: CHUNK_BYTES })
  for await (const chunk of source) {
    onBytes(chunk.length)
    yield chunk
  }
}

/** Sum of the sizes on disk, bytes; `undefined` when one has none. @throws {UnreadableFile} */
export function sizeOf(files: readonly string[]): number | undefined {
  const sizes = files.map((file) => {
    try {
      const stats = file === STANDARD_INPUT ? undefined : statSync(file)
      return stats?.isFile() ? stats.size : Number.NaN
    } catch (error) {
      throw new UnreadableFile(file, error)
    }
  })
  const bytes = sizes.reduce((sum, size) => sum + size, 0)
  return Number.isNaN(bytes) ? undefined : bytes
}

/** What the beginning of a file tells. */
interface Beginning {
  readonly file: string
  /** When its first record was made, ms since the epoch; `Infinity` when nothing tells. */
  readonly time: number
  /** First number of each writer. */
  readonly first: ReadonlyMap<string, number>
}

/**
 * Puts the files of a rotated set in the order in which they were written: by the numbers of the
 * writers that they share, and where they share none by the time of their first record. Standard input
 * comes last.
 */
export async function inOrder(files: readonly string[]): Promise<readonly string[]> {
  if (files.length < 2) return files
  let left = await Promise.all(files.map(beginningOf))
  left = left.toSorted((a, b) => (a.time === b.time ? 0 : a.time - b.time))
  const ordered: string[] = []
  while (left.length > 0) {
    const next = left.find((one) => !left.some((other) => isBefore(other, one))) ?? left[0]
    if (next === undefined) break
    ordered.push(next.file)
    left = left.filter((one) => one !== next)
  }
  return ordered
}

function isBefore(a: Beginning, b: Beginning): boolean {
  return [...a.first].some(([writer, first]) => first < (b.first.get(writer) ?? first))
}

async function beginningOf(file: string): Promise<Beginning> {
  const first = new Map<string, number>()
  let time = Number.POSITIVE_INFINITY
  if (file === STANDARD_INPUT) return { file, time, first }
  let bytes = 0
  for await (const lines of linesOf(file)) {
    for (const line of lines) {
      bytes += line.length
      const record = readLine(line.subarray(0, -1))
      if (record === undefined) continue
      if (first.size === 0) time = timeOf(line)
      if (!first.has(record.writer)) first.set(record.writer, record.sequence)
    }
    if (bytes > PEEK_BYTES) break
  }
  return { file, time, first }
}

function timeOf(bytes: Buffer): number {
  const time = membersOf(parse(bytes.toString()))?.get('time')
  return typeof time === 'number' ? time : Number.POSITIVE_INFINITY
}
