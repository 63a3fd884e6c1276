import { connect, type Socket } from 'node:net'
import { checkAnswer, requestOf } from './call.ts'

export interface Target {
  readonly port: number
  readonly key: string | undefined
}

const CONNECTIONS = 16
let nextId = 0

/**
 * Sends one request after the other on each of 16 keep-alive connections for a time, and checks every
 * answer. Plain sockets: the generator must cost less than the fastest server.
 *
 * @returns how many requests were answered, and the seconds it took
 * @throws when an answer is wrong
 */
export async function load(
  target: Target,
  seconds: number,
): Promise<{ requests: number; seconds: number }> {
  const start = performance.now()
  const deadline = start + seconds * 1000
  const counts = await Promise.all(
    Array.from({ length: CONNECTIONS }, () => oneConnection(target, deadline)),
  )
  const requests = counts.reduce((sum, count) => sum + count, 0)
  return { requests, seconds: (performance.now() - start) / 1000 }
}

function oneConnection(target: Target, deadline: number): Promise<number> {
  return new Promise((resolve, reject) => {
    let answered = 0
    let id = 0
    let received = ''
    let socket: Socket

    function open(): void {
      socket = connect({ host: '127.0.0.1', port: target.port, noDelay: true })
      socket.setEncoding('latin1')
      socket.on('data', take)
      socket.on('error', reject)
      socket.on('close', () => {
        if (performance.now() < deadline) reject(new Error('the server closed the connection'))
      })
      send()
    }

    function send(): void {
      id = nextId++
      received = ''
      socket.write(requestOf({ ...target, id }))
    }

    function take(chunk: string): void {
      received += chunk
      const answer = parse(received)
      if (answer === undefined) return
      try {
        checkAnswer(answer.status, answer.body, id)
      } catch (error) {
        reject(error)
        socket.destroy()
        return
      }
      answered += 1
      if (performance.now() >= deadline) {
        socket.destroy()
        resolve(answered)
      } else if (answer.last) {
        socket.removeAllListeners('close')
        socket.destroy()
        open()
      } else {
        send()
      }
    }

    open()
  })
}

/** @returns one whole response, or `undefined` while bytes are missing. */
function parse(text: string): { status: number; body: string; last: boolean } | undefined {
  const end = text.indexOf('\r\n\r\n')
  if (end === -1) return undefined
  const head = text.slice(0, end).toLowerCase()
  const rest = text.slice(end + 4)
  const length = /\ncontent-length: (\d+)/.exec(head)?.[1]
  const body = length === undefined ? dechunk(rest) : rest.slice(0, Number(length))
  if (body === undefined || body.length < Number(length ?? 0)) return undefined
  return { status: Number(head.slice(9, 12)), body, last: head.includes('\nconnection: close') }
}

function dechunk(text: string): string | undefined {
  let body = ''
  for (let at = 0; ; ) {
    const lineEnd = text.indexOf('\r\n', at)
    if (lineEnd === -1) return undefined
    const size = Number.parseInt(text.slice(at, lineEnd), 16)
    if (size === 0) return text.endsWith('\r\n\r\n') ? body : undefined
    body += text.slice(lineEnd + 2, lineEnd + 2 + size)
    at = lineEnd + 2 + size + 2
  }
}
