import { once } from 'node:events'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openStreams } from './load/open-streams.ts'
import { startRoomy } from './load/target.ts'
import { misbehavingAccess } from './misbehaving-tools.ts'
import { connect, exchange } from './raw-http.ts'
import { callOf, type Server, stopServers } from './server.ts'
import {
  BODY,
  CHUNKED,
  CLOSE,
  callWith,
  chunk,
  filled,
  HOST,
  head,
  LENGTH,
  POST,
  post,
  TYPE,
} from './wire.ts'

const ROUNDS = 3
const AT_ONCE = 20
/** Less than a KiB for each of what is sent, MiB. Compiled code grows by a tenth of it. */
const ROOM_MIB = 1

let server: Server
beforeAll(async () => {
  server = await startRoomy({
    entry: 'test/misbehaving-server.ts',
    env: { NODE_OPTIONS: `--import ${join(import.meta.dirname, 'collecting.ts')}` },
    policies: [misbehavingAccess],
  })
})
afterAll(stopServers)

async function metric(name: string): Promise<number> {
  const text = await (await fetch(`${server.adminUrl}/metrics`)).text()
  return Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(text)?.[1])
}

/** What something in the process holds on to, MiB. */
async function heldMebibytes(): Promise<number> {
  server.child.kill('SIGUSR2')
  return (await metric('nodejs_heap_size_used_bytes')) / 1_048_576
}

/** That, once nothing runs any more. */
async function settledMebibytes(): Promise<number> {
  const running = async (): Promise<number> =>
    (await metric('gatehouse_calls_running')) + (await metric('gatehouse_streams_open'))
  await expect.poll(running, { timeout: 20_000 }).toBe(0)
  const seen: number[] = []
  while (seen.length < 5) seen.push(await heldMebibytes())
  return Math.min(...seen)
}

const whole = (bytes: string) => () => exchange(server, filled(bytes, server))

/** Writes it, and leaves before there is an answer. */
const left = (bytes: string) => async () => {
  using connection = connect(server)
  await once(connection.socket, 'connect')
  await new Promise((resolve) => connection.socket.write(filled(bytes, server), resolve))
  connection.socket.resetAndDestroy()
}

const TOO_LARGE = chunk('x'.repeat(1_048_577))

describe('threat: floods that leave something behind, memory fills up in the end', () => {
  let count = 0
  const guess = (): Promise<unknown> =>
    whole(head(POST, HOST, TYPE, `Authorization: Bearer ${count++}`, LENGTH, CLOSE) + BODY)()

  it.each<[string, number, () => Promise<unknown>]>([
    ['calls', 400, whole(callWith(BODY, CLOSE))],
    ['requests without a credential', 400, whole(head(POST, HOST, TYPE, LENGTH, CLOSE) + BODY)],
    ['credentials that nobody has, none twice', 400, guess],
    ['bytes that are no request', 400, whole('garbage\r\n\r\n')],
    ['bodies that are too large', 40, whole(`${post(CHUNKED)}${TOO_LARGE}0\r\n\r\n`)],
    ['requests that never end', 400, left(post(LENGTH))],
    ['calls that their clients leave', 400, left(callWith(callOf('patient', { seconds: 600 })))],
    [
      'streams that their clients leave',
      400,
      async () => {
        for (const { socket } of await openStreams(server, 1)) socket.destroy()
      },
    ],
  ])('holds no more after a flood of %s', { timeout: 60_000 }, async (_name, times, send) => {
    async function flood(): Promise<void> {
      for (let sent = 0; sent < times; sent += AT_ONCE) {
        await Promise.all(Array.from({ length: AT_ONCE }, send))
      }
    }
    // Fills caches and tables, and compiles.
    await flood()
    const before = await settledMebibytes()
    for (let round = 0; round < ROUNDS; round += 1) await flood()
    await expect.poll(settledMebibytes, { timeout: 20_000 }).toBeLessThan(before + ROOM_MIB)
    expect((await server.call('echo', { text: 'x' })).status).toBe(200)
  })
})
