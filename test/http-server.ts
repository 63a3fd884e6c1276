import { createServer, type IncomingMessage, type RequestListener } from 'node:http'

/** A real server on loopback whose answers a test changes as it goes. */
export interface TestServer {
  /** Without a slash at the end. */
  readonly origin: string
  readonly port: number
  /** What has arrived, oldest first. */
  readonly requests: IncomingMessage[]
  answer: RequestListener
  /** Closes the port and all connections. */
  down(): Promise<void>
  /** Opens the same port again. */
  up(): Promise<void>
}

export async function httpServer(answer: RequestListener): Promise<TestServer> {
  const requests: IncomingMessage[] = []
  const server = createServer((request, response) => {
    requests.push(request)
    testServer.answer(request, response)
  })
  const listen = (port: number): Promise<void> =>
    new Promise((resolve) => server.listen(port, '127.0.0.1', resolve))
  await listen(0)
  const address = server.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0

  const testServer: TestServer = {
    origin: `http://127.0.0.1:${port}`,
    port,
    requests,
    answer,
    async down() {
      const closed = new Promise((resolve) => server.close(resolve))
      server.closeAllConnections()
      await closed
    },
    up: () => listen(port),
  }
  return testServer
}

/** Answers with a JSON document. */
export function json(body: unknown): RequestListener {
  return (_request, response) => {
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body))
  }
}
