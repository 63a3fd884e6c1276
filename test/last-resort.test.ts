import { afterEach, describe, expect, it } from 'vitest'
import { greedyAccess } from './greedy-tools.ts'
import { misbehavingAccess, SECRET } from './misbehaving-tools.ts'
import {
  type AuditRecord,
  type Server,
  type ServerProcess,
  startServer,
  stopServers,
} from './server.ts'

afterEach(stopServers)

const codes = (server: ServerProcess): string[] =>
  server.audited().map((record: AuditRecord) => record.metadata.event_code)

/** Lines of the log that name this fault. */
function logged(server: ServerProcess, fault: string): AuditRecord[] {
  const lines = server.stderr().split('\n')
  const all = lines.filter((line) => line.startsWith('{')).map((line) => JSON.parse(line))
  return all.filter(({ reason }) => reason === fault)
}

const misbehaving = (): Promise<Server> =>
  startServer({ entry: 'test/misbehaving-server.ts', policies: [misbehavingAccess] })

/** Calls it. @returns its request id, when it was answered */
async function idOf(server: Server, tool: string): Promise<string | null | undefined> {
  const response = await server.call(tool, {}).catch(() => undefined)
  await response?.text().catch(() => undefined)
  return response?.headers.get('x-request-id')
}

describe('threat: code of one tool takes the process with it, and nobody knows whose it was', () => {
  it('goes on after a rejection that nobody handles, and names its tool', async () => {
    const server = await misbehaving()
    const requestId = await idOf(server, 'forgetful')
    await expect
      .poll(() => logged(server, 'unhandled-rejection'))
      .toMatchObject([{ level: 'error', tool: 'forgetful', requestId }])
    const again = await server.call('echo', { text: 'x' })
    expect(again.status).toBe(200)
    expect(await server.stop()).toBe(0)
    expect(codes(server).filter((code) => code === 'fault')).toHaveLength(1)
  })

  it('drains and ends with 1 after an exception that nobody caught, and names its tool', async () => {
    const server = await misbehaving()
    await idOf(server, 'explosive')
    expect(await server.exited).toBe(1)
    expect(logged(server, 'uncaught-exception')).toMatchObject([
      { level: 'fatal', tool: 'explosive' },
    ])
    expect(logged(server, 'process-exit')).toEqual([])
    expect(codes(server)).toContain('server.stop')
  })

  it('ends with 1 when a tool ends it with 0, and names the tool', async () => {
    const server = await misbehaving()
    await idOf(server, 'exiting')
    expect(await server.exited).toBe(1)
    const [decision] = server
      .audited()
      .filter((record) => record.metadata.event_code === 'decision')
    const requestId = decision?.metadata.correlation_uid
    expect(logged(server, 'process-exit')).toMatchObject([
      { level: 'fatal', tool: 'exiting', requestId },
    ])
    // What the trail shows of it: a call without an outcome, a run without its end.
    expect(codes(server)).not.toContain('outcome')
    expect(codes(server)).not.toContain('server.stop')
  })

  it('says nothing of an exit of its own', async () => {
    const server = await misbehaving()
    await idOf(server, 'failing')
    expect(await server.stop()).toBe(0)
    expect(logged(server, 'process-exit')).toEqual([])
    expect(logged(server, 'threw')).toMatchObject([{ level: 'error', tool: 'failing' }])
    expect(server.stdout()).not.toContain(SECRET)
  })
})

describe('threat: a tool blocks the event loop for a second, everybody waits', () => {
  it('names it, and serves the others afterwards', { timeout: 70_000 }, async () => {
    const server = await startServer({ entry: 'test/greedy-server.ts', policies: [greedyAccess] })
    const ids: unknown[] = []
    /** On a machine that is busy with others it may not have had enough of the CPU the first time. */
    async function namedAfterOneMore(): Promise<AuditRecord[]> {
      const blocked = await server.call('blocking', { seconds: 0.1, ms: 1000 })
      ids.push(blocked.headers.get('x-request-id'))
      expect(await blocked.text()).toContain('done')
      expect((await server.call('echo', { text: 'x' })).status).toBe(200)
      return logged(server, 'blocked-loop').filter(({ tool }) => tool === 'blocking')
    }
    await expect.poll(namedAfterOneMore, { timeout: 60_000 }).not.toEqual([])
    const [line] = logged(server, 'blocked-loop').filter(({ tool }) => tool === 'blocking')
    expect(line.level).toBe('warn')
    expect(line.count).toBeGreaterThanOrEqual(500)
    expect(ids).toContain(line.requestId)
  })
})
