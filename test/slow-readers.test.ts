import { readFileSync } from 'node:fs'
import { IncomingMessage, ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, describe, expect, it } from 'vitest'
import { loadPolicies } from '../src/policy.ts'
import { publicServer } from '../src/public-server.ts'
import { slowReaders, type WatchReader } from '../src/slow-readers.ts'
import { META } from './app.ts'
import { testClock } from './clock.ts'
import { greedyAccess } from './greedy-tools.ts'
import { connect } from './raw-http.ts'
import { type AuditRecord, callOf, type Server, startServer, stopServers } from './server.ts'
import { callWith, filled } from './wire.ts'

const MEBIBYTE = 1_048_576

/** An answer for which as many bytes wait as the test says. */
function answer(watch: WatchReader): { readonly outgoing: ServerResponse; waiting: number } {
  const outgoing = new ServerResponse(new IncomingMessage(new Socket()))
  const state = { outgoing, waiting: 0 }
  Object.defineProperty(outgoing, 'writableLength', { get: () => state.waiting })
  watch(outgoing)
  return state
}

describe('threat: a reader that dawdles, it takes just enough to keep a large result in memory', () => {
  const clock = testClock()
  const watch = slowReaders(30_000, clock)
  const pass = (seconds: number): void => {
    for (let index = 0; index < seconds; index++) clock.advance(1000)
  }

  it.each([
    ['more than 1 MiB has waited for the whole time', [MEBIBYTE + 1], true],
    ['1 MiB has', [MEBIBYTE], false],
    ['it has caught up in between', [8 * MEBIBYTE, MEBIBYTE, 8 * MEBIBYTE], false],
    ['what waits became less, but not enough', [8 * MEBIBYTE, 2 * MEBIBYTE], true],
  ])('cuts it when %s: %#', (_name, waiting, isCut) => {
    const reader = answer(watch)
    for (const bytes of waiting) {
      reader.waiting = bytes
      pass(30 / waiting.length)
    }
    expect(reader.outgoing.destroyed).toBe(false)
    pass(1)
    expect(reader.outgoing.destroyed).toBe(isCut)
    reader.outgoing.destroy()
  })
})

describe('threat: a reader that takes nothing, a little of its answer is kept for ever', () => {
  it.each([
    ['cuts it while bytes wait', 1, true],
    ['leaves alone a connection on which nothing was said', 0, false],
  ])('%s when its connection was silent for too long', (_name, waiting, isCut) => {
    const { outgoing } = answer(slowReaders(30_000, testClock()))
    const socket = Object.defineProperty(new Socket(), 'writableLength', { value: waiting })
    outgoing.emit('timeout', socket)
    expect(socket.destroyed).toBe(isCut)
  })

  it('hears of that after timeouts.slowReaderMs', () => {
    const { limits } = loadPolicies('policies', 'development')
    expect(publicServer(limits, undefined).server.timeout).toBe(limits.timeouts.slowReaderMs)
  })
})

describe('threat: many readers that take nothing, large results fill the memory within seconds', () => {
  const READERS = 16

  /** So many readers, one a second. @returns which of them are cut a second after the last has come */
  function cut(each: number): number[] {
    const clock = testClock()
    const watch = slowReaders(30_000, clock)
    const readers = Array.from({ length: READERS }, () => {
      const reader = answer(watch)
      reader.waiting = each
      clock.advance(1000)
      return reader
    })
    clock.advance(1000)
    const indices = readers.flatMap(({ outgoing }, index) => (outgoing.destroyed ? [index] : []))
    for (const { outgoing } of readers) outgoing.destroy()
    return indices
  }

  it.each([
    ['64 MiB wait for all of them', 4 * MEBIBYTE, 0],
    ['more does, until no more than that is left', 8 * MEBIBYTE, 8],
    ['one byte more does for each', 4 * MEBIBYTE + 1, 1],
    ['no more than 1 MiB waits for each', MEBIBYTE, 0],
  ])('cuts those who have waited longest when %s', (_name, each, count) => {
    const longest = Array.from({ length: count }, (_, index) => index)
    expect(cut(each)).toEqual(longest)
  })
})

describe('threat: readers that take nothing while a tool talks, what it says piles up in memory', () => {
  afterAll(stopServers)
  const READERS = 200

  function residentMebibytes({ child }: Server): number {
    const [, kibibytes] =
      /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8')) ?? []
    return Number(kibibytes) / 1024
  }

  it.runIf(process.platform === 'linux')('grows by less than 1 MiB for each of 200', async () => {
    const server = await startServer({
      entry: 'test/greedy-server.ts',
      // Little room for garbage, as V8 has it in a container of less than 1 GiB.
      env: { NODE_OPTIONS: '--max-semi-space-size=1' },
      policies: [
        greedyAccess,
        ['limits.yaml', 'connections: 200,', 'connections: 1000,'],
        ['limits.yaml', 'concurrentCalls: 32', 'concurrentCalls: 1000'],
      ],
    })
    expect((await server.call('echo', { text: 'x' }, 'modern')).status).toBe(200)
    const before = residentMebibytes(server)
    const meta = { ...META, progressToken: 'p', 'io.modelcontextprotocol/logLevel': 'debug' }
    const flood = callWith(
      callOf('flooding', { seconds: 60 }, 1, meta),
      'MCP-Protocol-Version: 2026-07-28',
      'Mcp-Method: tools/call',
      'Mcp-Name: flooding',
    )
    const readers = Array.from({ length: READERS }, () => connect(server))
    for (const { socket } of readers) {
      socket.pause()
      socket.write(filled(flood, server))
    }
    let most = before
    for (let index = 0; index < 20; index++) {
      await sleep(250)
      most = Math.max(most, residentMebibytes(server))
    }
    const recorded = (event: string): AuditRecord[] =>
      server.audited().filter(({ metadata }) => metadata.event_code === event)
    expect(recorded('outcome')).toHaveLength(1) // Of `echo`. All the others flood.
    for (const { socket } of readers) socket.destroy()
    expect(most - before).toBeLessThan(READERS)

    await expect.poll(() => recorded('outcome').length, { timeout: 5000 }).toBe(1 + READERS)
    const sent = recorded('outcome').map(({ unmapped }) => unmapped.mcp.progress_count)
    expect(Math.max(...sent)).toBeGreaterThan(50)
    expect(Math.max(...sent)).toBeLessThan(250)
  })
})
