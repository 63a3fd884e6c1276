import { closeSync, constants, openSync, readSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, describe, expect, it, onTestFinished } from 'vitest'
import { LANE_LINES } from '../../src/audit/sink.ts'
import { makePipe, temporaryFolder } from '../audit/pipe.ts'
import { inspect } from '../canaries.ts'
import { type PolicyEdit, type Server, stopServers } from '../server.ts'
import {
  effectsIn,
  FAULT_TIMEOUT_MS,
  missing,
  startLoad,
  startMarking,
  trailIn,
  verdictOn,
} from './load.ts'

afterEach(stopServers)

/** What a pipe of Linux holds. */
const PIPE_BYTES = 65_536
const CONTINUE: PolicyEdit = ['audit.yaml', 'onSinkFailure: refuse', 'onSinkFailure: continue']

/** A collector that reads the standard output of a server, or does not. */
interface Collector {
  /** What it has read. */
  bytes(): Buffer
  /** Reads once what the pipe holds. */
  readOnce(): void
  /** Reads on and on. */
  start(): void
  pause(): void
  /** Goes away: writing fails from now on. */
  leave(): void
  /** Another one, which knows what this one has read, comes in its place. */
  comeBack(): void
}

function collector(path: string): Collector {
  const open = (): number => openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
  const chunk = Buffer.alloc(PIPE_BYTES)
  const chunks: Buffer[] = []
  let fd = open()
  let timer: NodeJS.Timeout | undefined

  function readOnce(): void {
    try {
      chunks.push(Buffer.from(chunk.subarray(0, readSync(fd, chunk))))
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'EAGAIN')) throw error
    }
  }
  function pause(): void {
    clearInterval(timer)
  }
  return {
    bytes: () => Buffer.concat(chunks),
    readOnce,
    start() {
      timer = setInterval(readOnce, 1)
    },
    pause,
    leave() {
      pause()
      closeSync(fd)
    },
    comeBack() {
      fd = open()
    },
  }
}

/** A server whose standard output is a pipe, under load, and what reads that pipe. */
async function setUp(folder: string, ...policies: readonly PolicyEdit[]) {
  const path = join(folder, 'pipe')
  makePipe(path)
  const output = collector(path)
  const stdout = openSync(path, 'w')
  const server = await startMarking({ stdout }, ...policies)
  closeSync(stdout)
  const effects = join(folder, 'effects')
  onTestFinished(() => inspect(output.bytes().toString())) // Nobody else has what it has read.
  return { output, server, load: startLoad(server, effects), effects: () => effectsIn(effects) }
}

const told = (server: Server): readonly string[] =>
  [...server.stderr().matchAll(/"reason":"([^"]+)","msg":"The audit trail cannot/g)].map(
    ([, reason = '']) => reason,
  )
const readiness = async ({ adminUrl }: Server): Promise<number> =>
  (await fetch(`${adminUrl}/readyz`)).status

describe('threat: the collector of the trail goes away, tools run and nobody can tell', {
  timeout: FAULT_TIMEOUT_MS,
}, () => {
  it('refuses every call until another one comes, and loses nothing', async () => {
    using folder = temporaryFolder()
    const { output, server, load, effects } = await setUp(folder.path)
    output.start()
    await load.reaches(200)
    output.leave()
    expect(await load.next(503)).toMatchObject({ ok: false, retryAfter: '5' })
    expect(await readiness(server)).toBe(503)
    await load.reaches(load.answers.length + 100) // What was let through before has ended by now.
    const before = effects()
    await load.reaches(load.answers.length + 500)
    expect(effects()).toEqual(before)
    expect(told(server)).toEqual(['no-reader'])

    output.comeBack()
    output.start()
    await load.next(200)
    expect(await readiness(server)).toBe(200)
    await load.stop()
    expect(await server.stop()).toBe(0)
    output.readOnce()
    output.leave()

    expect(verdictOn(output.bytes()).damage).toBeUndefined()
    const trail = trailIn(output.bytes().toString())
    expect(missing(effects(), trail.allowed)).toEqual([])
    expect(trail.ended.toSorted()).toEqual(trail.allowed.toSorted())
    expect(trail.requests.length + trail.counted).toBe(load.answers.length)
    expect(trail.dropped).toBe(0)
  })
})

describe('threat: the collector of the trail is slow, tools run before their decision is written', {
  timeout: FAULT_TIMEOUT_MS,
}, () => {
  it('lets calls wait, refuses them when it takes too long, and goes on without loss', async () => {
    using folder = temporaryFolder()
    const { output, server, load, effects } = await setUp(folder.path)
    output.start()
    await load.reaches(200)
    output.pause()
    for (let seen = 0; seen < load.answers.length; await sleep(500)) seen = load.answers.length
    const done = effects()
    output.readOnce() // Room for one pipe more: some calls go on.
    expect(missing(done, trailIn(output.bytes().toString()).allowed)).toEqual([])
    await load.next()
    expect(new Set(load.answers.map(({ status }) => status))).toEqual(new Set([200]))

    expect(await load.next(503)).toMatchObject({ ok: false, retryAfter: '5' })
    expect(await readiness(server)).toBe(503)
    expect(told(server)).toEqual(['overdue'])
    output.start()
    await load.next(200)
    expect(await readiness(server)).toBe(200)
    await load.stop()
    expect(await server.stop()).toBe(0)
    output.readOnce()
    output.leave()

    expect(verdictOn(output.bytes()).damage).toBeUndefined()
    const trail = trailIn(output.bytes().toString())
    expect(missing(effects(), trail.allowed)).toEqual([])
    expect(trail.ended.toSorted()).toEqual(trail.allowed.toSorted())
    expect(trail.requests.length + trail.counted).toBe(load.answers.length)
    expect(trail.dropped).toBe(0)
  })

  it('bounds what it keeps while policy says continue, and counts the rest', async () => {
    using folder = temporaryFolder()
    const { output, server, load } = await setUp(folder.path, CONTINUE)
    output.start()
    await load.reaches(200)
    output.pause()
    const stalled = load.answers.length
    await load.reaches(stalled + LANE_LINES + 1000)
    await load.stop()
    expect(new Set(load.answers.map(({ status }) => status))).toEqual(new Set([200]))
    output.start()
    const log = (): string => server.stderr()
    await expect.poll(log, { timeout: 10_000 }).toContain('The audit trail is written again')
    expect(await server.stop()).toBe(0)
    output.readOnce()
    output.leave()

    expect(verdictOn(output.bytes()).damage).toBeUndefined()
    const { allowed, ended, requests, dropped } = trailIn(output.bytes().toString())
    const kept = allowed.length + ended.length + requests.length
    expect(kept + dropped).toBe(3 * load.answers.length)
    // Both lanes, what the pipe holds, and what was being written: in lines, which are capped.
    expect(kept - 3 * stalled).toBeLessThan(2 * LANE_LINES + 200)
  })
})
