import { closeSync, constants, openSync, writeSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { makePipe, openReader } from './audit/pipe.ts'
import { production } from './production.ts'
import { exchange } from './raw-http.ts'
import { type ServerProcess, spawnServer, stopServers } from './server.ts'
import { get } from './wire.ts'

afterEach(stopServers)

/** What a pipe of Linux holds. */
const PIPE_BYTES = 65_536

async function freePort(): Promise<number> {
  const { promise, resolve } = Promise.withResolvers<void>()
  const server = createServer().listen(0, '127.0.0.1', resolve)
  await promise
  const address = server.address()
  server.close()
  return address !== null && typeof address === 'object' ? address.port : 0
}

interface Starting extends Disposable {
  readonly server: ServerProcess
  /** Lets it go on. Call it again to see what it has written since. */
  written(): string
}

/** A server in the middle of its start: it listens, and waits for a full pipe to take its first record. */
async function starting(env: Readonly<Record<string, string>>, uid?: number): Promise<Starting> {
  const { folder, give } = production()
  const pipe = join(folder, 'audit')
  makePipe(pipe)
  give(pipe)
  const reader = openReader(pipe)
  const writer = openSync(pipe, constants.O_WRONLY)
  writeSync(writer, '\n'.repeat(PIPE_BYTES))
  closeSync(writer)

  const port = await freePort()
  const server = spawnServer({
    env: { ...env, MCP_AUDIT_FILE: pipe, PORT: String(port) },
    ...(uid !== undefined && { uid }),
  })
  const wire = get('Connection: close').replace('AUTHORITY', `127.0.0.1:${port}`)
  const status = async (): Promise<number | undefined> => {
    const [answer] = await exchange({ port }, wire)
    return answer?.status
  }
  await expect.poll(status, { timeout: 10_000 }).toBe(503)
  let written = ''
  return {
    server,
    written: () => {
      written += reader.read()
      return written
    },
    [Symbol.dispose]: () => reader.close(),
  }
}

describe('threat: a hang-up during the start, every process of a rollout ends or misses the change', () => {
  it('is a reload in production, once the server has started', async () => {
    const { env, unprivileged } = production()
    using start = await starting(env, unprivileged.uid)
    start.server.child.kill('SIGHUP')
    await expect.poll(() => start.written(), { timeout: 10_000 }).toContain('"policy.reload"')
    expect(start.written()).toMatch(/"server\.start".*"policy\.reload"/s)
    expect(await start.server.stop()).toBe(0)
  })

  it('ends a server of development, as it does later', async () => {
    using start = await starting({})
    start.server.child.kill('SIGHUP')
    await expect.poll(() => start.written(), { timeout: 10_000 }).toContain('"server.stop"')
    expect(await start.server.exited).toBe(0)
    expect(start.written()).not.toContain('"policy.reload"')
  })

  it('is not what SIGTERM is: that ends the start at once', async () => {
    using start = await starting({})
    expect(await start.server.stop('SIGTERM')).toBe(0)
    expect(start.written()).not.toContain('"server.start"')
  })
})
