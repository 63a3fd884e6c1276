import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'

/** A port whose connections lead to another one, and later to a third: what rebinding a name does. */
export interface Forwarder {
  readonly port: number
  /** New connections lead there. Open ones are closed. */
  leadTo(port: number): void
  close(): void
}

export async function forwardTo(first: number): Promise<Forwarder> {
  let target = first
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    const there = connect(target, '127.0.0.1')
    for (const [one, other] of [
      [socket, there],
      [there, socket],
    ] as const) {
      sockets.add(one)
      // One side that fails or leaves takes the other with it.
      one
        .on('error', () => {})
        .once('close', () => {
          sockets.delete(one)
          other.destroy()
        })
    }
    socket.pipe(there).pipe(socket)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('No port')
  const cut = (): void => {
    for (const socket of sockets) socket.destroy()
  }
  return {
    port: address.port,
    leadTo(port) {
      target = port
      cut()
    },
    close() {
      server.close()
      cut()
    },
  }
}
