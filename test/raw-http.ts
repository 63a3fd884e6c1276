import { connect as connectTcp, type Socket } from 'node:net'
import { type ConnectionOptions, connect as connectTls } from 'node:tls'
import { noteRequests } from './canaries.ts'

/** One answer as it came over the wire. */
export interface RawAnswer {
  readonly status: number
  /** By lower-case name; the values of a doubled header are joined by a comma. */
  readonly headers: ReadonlyMap<string, string>
  /** UTF-8, chunks put together. */
  readonly body: string
}

/** A connection that sends exact bytes, however wrong they are. */
export interface RawConnection extends Disposable {
  readonly socket: Socket
  write(bytes: string | Uint8Array): void
  /** The next answer. @throws {Error} when the connection closes before it is complete. */
  answer(): Promise<RawAnswer>
  /** Everything that came until the other side closed. Bytes are characters. */
  closed(): Promise<string>
}

export interface RawTarget {
  readonly port: number
  readonly host?: string
  /** Makes it a TLS connection. */
  readonly tls?: ConnectionOptions
}

export function connect({ port, host = '127.0.0.1', tls }: RawTarget): RawConnection {
  const socket = tls === undefined ? connectTcp({ port, host }) : connectTls({ port, host, ...tls })
  let received = Buffer.alloc(0)
  let read = 0
  let closed = false
  let changed = Promise.withResolvers<void>()
  const change = (): void => {
    changed.resolve()
    changed = Promise.withResolvers()
  }
  socket.on('data', (bytes) => {
    received = Buffer.concat([received, bytes])
    change()
  })
  socket.on('error', () => {
    // A reset is one way to close; `closed` and `answer` report it.
  })
  socket.on('close', () => {
    closed = true
    change()
  })

  return {
    socket,
    write(bytes) {
      noteRequests(bytes)
      socket.write(bytes)
    },
    async answer() {
      for (;;) {
        const next = parseAnswer(received.subarray(read))
        if (next !== undefined) {
          read += next.length
          return next.answer
        }
        if (closed) {
          throw new Error(`Closed without an answer, after: ${received.subarray(read).toString()}`)
        }
        await changed.promise
      }
    },
    async closed() {
      while (!closed) await changed.promise
      return received.toString('latin1')
    },
    [Symbol.dispose]() {
      socket.destroy()
    },
  }
}

/**
 * Sends exact bytes on a connection of their own and waits until the other side closes it.
 *
 * @returns the answers that came, in order
 */
export async function exchange(
  target: RawTarget,
  bytes: string | Uint8Array,
): Promise<RawAnswer[]> {
  using connection = connect(target)
  connection.write(bytes)
  let rest = Buffer.from(await connection.closed(), 'latin1')
  const answers: RawAnswer[] = []
  while (rest.length > 0) {
    const next = parseAnswer(rest)
    if (next === undefined) throw new Error(`Not an answer: ${rest.toString()}`)
    answers.push(next.answer)
    rest = rest.subarray(next.length)
  }
  return answers
}

const END_OF_HEAD = '\r\n\r\n'

/** @returns `undefined` while the answer is not complete. */
function parseAnswer(bytes: Buffer): { answer: RawAnswer; length: number } | undefined {
  const headLength = bytes.indexOf(END_OF_HEAD) + END_OF_HEAD.length
  if (headLength < END_OF_HEAD.length) return undefined
  const [statusLine = '', ...lines] = bytes
    .toString('latin1', 0, headLength)
    .trimEnd()
    .split('\r\n')
  const [, code = ''] = /^HTTP\/1\.1 (\d{3})/.exec(statusLine) ?? []
  if (code === '') throw new Error(`Not an answer: ${statusLine}`)
  const status = Number(code)
  const headers = headersOf(lines)
  const payload = bytes.subarray(headLength)
  const body = bodyOf(status, headers, payload)
  return body && { answer: { status, headers, body: body.text }, length: headLength + body.length }
}

function headersOf(lines: readonly string[]): Map<string, string> {
  const headers = new Map<string, string>()
  for (const line of lines) {
    const colon = line.indexOf(':')
    const name = line.slice(0, colon).toLowerCase()
    const value = line.slice(colon + 1).trim()
    const before = headers.get(name)
    headers.set(name, before === undefined ? value : `${before}, ${value}`)
  }
  return headers
}

function bodyOf(
  status: number,
  headers: ReadonlyMap<string, string>,
  payload: Buffer,
): { text: string; length: number } | undefined {
  if (status < 200 || status === 204) return { text: '', length: 0 }
  if (headers.get('transfer-encoding') === 'chunked') return chunksOf(payload)
  const length = Number(headers.get('content-length') ?? 0)
  if (payload.length < length) return undefined
  return { text: payload.toString('utf8', 0, length), length }
}

function chunksOf(payload: Buffer): { text: string; length: number } | undefined {
  const chunks: Buffer[] = []
  let at = 0
  for (;;) {
    const line = payload.indexOf('\r\n', at)
    if (line < 0) return undefined
    const size = Number.parseInt(payload.toString('latin1', at, line), 16)
    const end = line + 2 + size + 2
    if (payload.length < end) return undefined
    chunks.push(payload.subarray(line + 2, end - 2))
    at = end
    if (size === 0) return { text: Buffer.concat(chunks).toString(), length: at }
  }
}
