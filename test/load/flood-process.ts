import { connect } from 'node:net'
import { setPriority } from 'node:os'

/**
 * Floods a server without credentials over connections from loopback addresses of its own, until it
 * is killed. A process of its own with low priority: attackers do not run on the machine that they
 * attack, nor on that of the client whose time is measured.
 *
 * Arguments: port, connections that send requests, connections that send a byte a second.
 */
const [port = 0, senders = 0, dawdlers = 0] = process.argv.slice(2).map(Number)
setPriority(19)

/** So many connections are from one address: less than what `address.connections` lets in. */
const PER_ADDRESS = 100
const REQUEST = `POST /mcp HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nContent-Length: 2\r\nContent-Type: application/json\r\n\r\n{}`

function open(index: number): ReturnType<typeof connect> {
  const localAddress = `127.0.1.${1 + Math.floor(index / PER_ADDRESS)}`
  const socket = connect({ host: '127.0.0.1', port, localAddress })
  socket.on('error', () => {
    // Being cut is what an attacker expects.
  })
  return socket
}

function send(index: number): void {
  const socket = open(index)
  const write = (): void => void socket.write(REQUEST)
  socket.on('connect', write)
  socket.on('data', write)
  socket.on('close', () => setTimeout(send, 10, index))
}

function dawdle(index: number): void {
  const socket = open(index)
  socket.resume()
  socket.write('POST /mcp HTTP/1.1\r\nX-Slow: ')
  const timer = setInterval(() => socket.write('a'), 1000)
  socket.on('close', () => {
    clearInterval(timer)
    setTimeout(dawdle, 100, index)
  })
}

for (let index = 0; index < senders; index += 1) send(index)
for (let index = 0; index < dawdlers; index += 1) dawdle(senders + index)
