import { createPublicKey, randomBytes } from 'node:crypto'
import { appendFileSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { LOOK_MS } from '../../src/audit/sink-target.ts'
import { audit } from '../../src/cli/audit.ts'
import { secretRing } from '../../src/secrets.ts'
import { type Server, spawnServer, startServer, stopServers } from '../server.ts'
import { linesOfBytes, PRIVATE_KEY } from './log.ts'
import { temporaryFolder } from './pipe.ts'

afterEach(stopServers)

const root = randomBytes(32)

/** A folder with keys, a server that writes its trail there, and the command that verifies it. */
function setUp(folder: string) {
  const path = (name: string): string => join(folder, name)
  const [key] = secretRing([root])('audit-mac')
  writeFileSync(path('mac'), key.key.toString('base64'))
  writeFileSync(path('key.pem'), PRIVATE_KEY.export({ type: 'pkcs8', format: 'pem' }))
  const publicKey = createPublicKey(PRIVATE_KEY).export({ type: 'spki', format: 'pem' })
  writeFileSync(path('public.pem'), publicKey)
  const env = {
    MCP_SECRET: root.toString('base64'),
    MCP_AUDIT_FILE: path('audit.jsonl'),
    MCP_AUDIT_SIGNING_KEY_FILE: path('key.pem'),
  }
  return {
    path,
    env,
    log: path('audit.jsonl'),
    start: () => startServer({ env }),
    async verify(...args: readonly string[]) {
      let out = ''
      const terminal = {
        out: (text: string) => {
          out += text
        },
        err: () => undefined,
        colors: false,
        watched: false,
      }
      return { code: await audit(['verify', ...args], terminal), out }
    },
  }
}

/** Calls a tool, several at a time. @returns how many were answered with a result */
async function call(server: Server, count: number): Promise<number> {
  const answers = await Promise.all(
    Array.from({ length: count }, (_, index) =>
      server.call('echo', { text: `${index}` }).then(
        (response) => response.text().then((text) => text.includes('"content"')),
        () => false,
      ),
    ),
  )
  return answers.filter(Boolean).length
}

const outcomes = (file: string): number =>
  readFileSync(file, 'utf8').split('"event_code":"outcome"').length - 1

describe('threat: kill -9, what the server was doing is lost without a trace', () => {
  it('leaves a chain without server.stop, which the next one names', async () => {
    using folder = temporaryFolder()
    const { path, log, start, verify } = setUp(folder.path)
    const first = await start()
    const answered = await call(first, 20)
    // The record of a call follows its answer: what was not written is lost, as the chain then shows.
    await vi.waitUntil(() => outcomes(log) >= 20)
    const going = call(first, 20)
    await first.stop('SIGKILL')
    await going
    appendFileSync(log, '{"metadata":{"uid":"') // As a kill within a write leaves it.

    const second = await start()
    expect(await call(second, 5)).toBe(5)
    expect(await second.stop()).toBe(0)
    expect([answered, outcomes(log) >= 25]).toEqual([20, true])

    const verdict = await verify('--mac-key', path('mac'), log)
    expect(verdict.code).toBe(0)
    expect(verdict.out.match(/no server\.stop: it runs, was killed, or was cut/g)).toHaveLength(1)
    expect(verdict.out.match(/ends with server\.stop/g)).toHaveLength(1)
    expect(verdict.out).toContain('is half a record of a killed process, as the next chain says')

    const lines = linesOfBytes(readFileSync(log))
    const torn = lines.findIndex((line) => line.length < 30)
    writeFileSync(path('cut'), Buffer.concat(lines.toSpliced(torn - 1, 1)))
    expect((await verify('--mac-key', path('mac'), path('cut'))).out).toContain('truncated')
    // Killed before its first checkpoint, the chain is under no signature.
    expect((await verify('--public-key', path('public.pem'), log)).out).toContain('not signed')
  })
})

describe('contract: a log of a server', () => {
  it('verifies with the public key alone after a stop, and through a rotation', async () => {
    using folder = temporaryFolder()
    const { path, log, start, verify } = setUp(folder.path)
    const server = await start()
    expect(await call(server, 3)).toBe(3)
    renameSync(log, `${log}.1`)
    await sleep(LOOK_MS)
    expect(await call(server, 3)).toBe(3)
    expect(await server.stop()).toBe(0)

    expect(outcomes(log) + outcomes(`${log}.1`)).toBe(6)
    const args = ['--public-key', path('public.pem'), log, `${log}.1`]
    const { code, out } = await verify(...args)
    expect([code, out.split('\n')[0]]).toEqual([
      0,
      expect.stringMatching(/^\d+ records of 1 writer: complete and unchanged\.$/),
    ])
    expect(out).not.toContain('NOT verified')
  })

  it('is not begun with a key that cannot sign', async () => {
    using folder = temporaryFolder()
    const { env, path } = setUp(folder.path)
    const server = spawnServer({ env: { ...env, MCP_AUDIT_SIGNING_KEY_FILE: path('public.pem') } })
    expect(await server.exited).toBe(78)
    expect(server.stderr()).toContain('MCP_AUDIT_SIGNING_KEY_FILE: must be an Ed25519 private key')
  })
})

describe('contract: a trail that cannot be written is in the log', () => {
  it('once, with the reason from a closed list', async () => {
    const server = await startServer()
    server.child.stdout?.destroy()
    await call(server, 3)
    await call(server, 3)
    await expect.poll(() => server.stderr(), { interval: 20 }).toContain('cannot be written')
    const told = server.stderr().match(/.*The audit trail cannot be written.*/g)
    expect(told).toHaveLength(1)
    expect(JSON.parse(told?.[0] ?? '')).toMatchObject({ level: 'error', reason: 'no-reader' })
  })
})
