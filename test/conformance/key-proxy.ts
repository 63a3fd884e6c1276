import { createServer, type IncomingMessage, request, type Server } from 'node:http'

export interface KeyProxy extends AsyncDisposable {
  readonly url: string
}

/** Passes everything on as it came, with a key: the suite has no option for one. */
export async function keyProxy(target: string, key: string): Promise<KeyProxy> {
  const { hostname, port, host } = new URL(target)
  const server = createServer((incoming, outgoing) => {
    const sent = headersOf(incoming, addressOf(server), host)
    const headers = [...sent, 'authorization', `Bearer ${key}`]
    const { method = 'GET', url: path = '/' } = incoming
    const passed = request({ hostname, port, method, path, headers }, (answer) => {
      outgoing.writeHead(answer.statusCode ?? 502, answer.rawHeaders)
      answer.pipe(outgoing)
    })
    passed.on('error', () => outgoing.destroy())
    outgoing.on('close', () => passed.destroy())
    incoming.pipe(passed)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://${addressOf(server)}/mcp`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

function addressOf(server: Server): string {
  const address = server.address()
  return typeof address === 'object' && address !== null ? `127.0.0.1:${address.port}` : ''
}

/** The headers in order. Only a `Host` that is the proxy itself becomes the server: others are attacks. */
function headersOf({ rawHeaders }: IncomingMessage, own: string, host: string): string[] {
  return rawHeaders.map((value, index) => {
    const isHost = index % 2 === 1 && rawHeaders[index - 1]?.toLowerCase() === 'host'
    return isHost && value === own ? host : value
  })
}
