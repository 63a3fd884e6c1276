import { connect } from 'node:net'

/** A whole response. Texts are Latin-1: what the servers send here is ASCII. */
export interface Answer {
  readonly status: number
  /** Status line and headers, as sent. */
  readonly head: string
  readonly body: string
}

/** One keep-alive connection, one request at a time. Plain sockets: the generator must cost little. */
export interface Connection {
  /**
   * @param onBody told each piece of the body as it arrives
   * @throws when the connection ends before the answer does
   */
  send(request: string, onBody?: (piece: string) => void): Promise<Answer>
  close(): void
}

interface Pending {
  readonly onBody: ((piece: string) => void) | undefined
  readonly resolve: (answer: Answer) => void
  readonly reject: (error: Error) => void
}

const SILENCE_MS = 30_000

/** Opens the connection when it is first used, and again after `Connection: close`. */
export function connection(port: number): Connection {
  let socket: ReturnType<typeof connect> | undefined
  let pending: Pending | undefined
  let input = ''
  let head = ''
  let body = ''
  /** Bytes of the body that are missing; -1 for chunks. */
  let missing = 0

  function open(): ReturnType<typeof connect> {
    const opened = connect({ host: '127.0.0.1', port, noDelay: true })
    opened.setEncoding('latin1')
    opened.on('data', (chunk: string) => {
      input += chunk
      take()
    })
    opened.on('error', fail)
    opened.setTimeout(SILENCE_MS, () => opened.destroy(new Error('the server does not answer')))
    opened.on('close', () => {
      if (socket === opened) fail(new Error('the server closed the connection'))
    })
    return opened
  }

  function fail(error: Error): void {
    socket = undefined
    pending?.reject(error)
    pending = undefined
  }

  function take(): void {
    if (head === '') {
      const end = input.indexOf('\r\n\r\n')
      if (end === -1) return
      head = input.slice(0, end)
      input = input.slice(end + 4)
      const length = /\r\ncontent-length: *(\d+)/i.exec(head)?.[1]
      const empty = /^HTTP\/1\.1 (?:204|304)/.test(head)
      missing = length === undefined ? (empty ? 0 : -1) : Number(length)
    }
    const whole = missing === -1 ? takeChunks() : takeBytes()
    if (whole) finish()
  }

  function takeBytes(): boolean {
    const piece = input.slice(0, missing)
    input = input.slice(missing)
    missing -= piece.length
    add(piece)
    return missing === 0
  }

  function takeChunks(): boolean {
    for (;;) {
      const lineEnd = input.indexOf('\r\n')
      if (lineEnd === -1) return false
      const size = Number.parseInt(input.slice(0, lineEnd), 16)
      const end = lineEnd + 2 + size
      if (input.length < end + 2) return false
      if (size > 0) add(input.slice(lineEnd + 2, end))
      input = input.slice(end + 2)
      if (size === 0) return true
    }
  }

  function add(piece: string): void {
    body += piece
    pending?.onBody?.(piece)
  }

  function finish(): void {
    const answer = { status: Number(head.slice(9, 12)), head, body }
    const done = pending
    pending = undefined
    head = ''
    body = ''
    if (/\r\nconnection: *close/i.test(answer.head)) close()
    done?.resolve(answer)
  }

  function close(): void {
    socket?.destroy()
    socket = undefined
    input = head = body = ''
    pending = undefined
  }

  return {
    send(request, onBody) {
      return new Promise((resolve, reject) => {
        pending = { onBody, resolve, reject }
        socket ??= open()
        socket.write(request)
      })
    },
    close,
  }
}
