import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { ENDPOINT, fetchThrough } from '../deploy/fetch.ts'
import { type RunningProxy, startProxy } from '../deploy/proxies.ts'
import { production } from '../production.ts'
import { type Redis, startRedis } from '../redis.ts'
import { type PolicyEdit, type Server, startServer } from '../server.ts'

/** Several servers that share a Redis and a secret, behind the nginx that ships. */
export interface Fleet extends AsyncDisposable {
  readonly redis: Redis
  readonly proxy: RunningProxy
  readonly servers: readonly Server[]
  /** A live key with all scopes. */
  readonly key: string
  /** Ends one with SIGTERM and starts it again on its port. @returns its exit code */
  restart(index: number): Promise<number | null>
  /** A client through the proxy; to one server alone with its index. */
  client(mode: 'auto' | 'legacy', index?: number): Promise<Client>
  /** `fetch` through the proxy, or of one server. */
  fetch(index?: number): ReturnType<typeof fetchThrough>
}

export async function startFleet(
  count: number,
  policies: readonly PolicyEdit[] = [],
): Promise<Fleet> {
  const redis = await startRedis()
  const { env, key, keysFile, unprivileged } = production()
  const all = '"scopes": ["mcp:use", "documents:process", "reports:read", "reports:delete"]'
  const text = readFileSync(keysFile, 'utf8')
  writeFileSync(keysFile, text.replace(/"scopes": \[[^\]]*\]/, all))

  const start = (port: number): Promise<Server> =>
    startServer({
      env: { ...env, REDIS_URL: redis.url, PORT: `${port}`, MCP_TRUSTED_PROXIES: '127.0.0.1/32' },
      policies,
      ...unprivileged,
    })
  const ports = await Promise.all(Array.from({ length: count }, freePort))
  const servers = await Promise.all(ports.map(start))
  const proxy = await startProxy('nginx', ports)

  const fetchOf = (index?: number): ReturnType<typeof fetchThrough> =>
    fetchThrough(index === undefined ? proxy : { port: ports[index] ?? 0 })

  return {
    redis,
    proxy,
    servers,
    key,
    fetch: fetchOf,
    async restart(index) {
      const [server, port] = [servers[index], ports[index]]
      if (server === undefined || port === undefined) throw new Error('There is no such server')
      const code = await server.stop()
      servers[index] = await start(port)
      return code
    },
    async client(mode, index) {
      const client = new Client(
        { name: 'test', version: '1.0.0' },
        { versionNegotiation: { mode }, capabilities: { elicitation: {} } },
      )
      const requestInit = { headers: { authorization: `Bearer ${key}` } }
      const options = { requestInit, fetch: fetchOf(index) }
      await client.connect(new StreamableHTTPClientTransport(ENDPOINT, options))
      return client
    },
    async [Symbol.asyncDispose]() {
      await proxy[Symbol.asyncDispose]()
      await Promise.all(servers.map((server) => server.stop()))
      await redis[Symbol.asyncDispose]()
    },
  }
}

/** A port that nobody had when this was called: a server that is started again needs the same one. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  return typeof address === 'object' && address !== null ? address.port : 0
}
