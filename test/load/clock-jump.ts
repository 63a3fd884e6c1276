// optional: oauth
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { generateKey } from '../../src/auth/api-key.ts'
import { temporaryFolder } from '../audit/pipe.ts'
import { trailIn } from '../audit-faults/load.ts'
import { jws, startIssuer } from '../identity/issuer.ts'
import { issuersPolicy } from '../identity/target.ts'
import { type Server, stopServers } from '../server.ts'
import { startCallers } from './callers.ts'
import { isWhole, openStreams } from './open-streams.ts'
import { none, type Scenario, some } from './scenario.ts'
import { startRoomy } from './target.ts'

const SIZES = { whole: { seconds: 5 }, smoke: { seconds: 0.3 } } as const
const HOUR_MS = 3_600_000
/** Forward, back behind the start, and to where it belongs. */
const STEPS_MS = [2 * HOUR_MS, -2 * HOUR_MS, 0]
/** A token of ten minutes is good at the right time alone. */
const EXPECTED = ['401', '401', 'ok']

/**
 * The wall clock of the process is stepped by two hours under load. The clock of the machine stays: to
 * step that needs rights over it, and every other process would see it. So what the kernel does with
 * its own clock is not in this test; the server takes nothing from it but the time of day.
 */
export const clockJump: Scenario = {
  name: 'clock-jump',
  about: 'the wall clock steps by two hours, both ways',
  async run(size) {
    const { seconds } = SIZES[size]
    using folder = temporaryFolder()
    const log = join(folder.path, 'audit.jsonl')
    const keysFile = join(folder.path, 'keys.json')
    const key = writeKey(keysFile)
    const issuer = await startIssuer()
    const server = await startRoomy({
      env: {
        MCP_AUDIT_FILE: log,
        MCP_API_KEYS_FILE: keysFile,
        NODE_OPTIONS: `--import ${join(import.meta.dirname, 'stepped-clock.ts')}`,
        TEST_CLOCK_STEPS: STEPS_MS.join(','),
      },
      policies: [issuersPolicy([issuer])],
    })
    const iat = Math.floor(Date.now() / 1000) - 60
    const { alg, kid } = issuer.key
    const token = jws(
      issuer.key,
      { alg, kid, typ: 'at+jwt' },
      {
        iss: issuer.url,
        aud: server.url,
        sub: 'u',
        client_id: 'c',
        scope: 'mcp:use',
        iat,
        exp: iat + 600,
      },
    )
    const streams = await openStreams({ ...server, key }, 10)
    const callers = startCallers({ ...server, key }, { count: 4, pauseMs: 5 })
    let wrong = 0
    for (const [index, step] of STEPS_MS.entries()) {
      server.child.kill('SIGUSR2')
      while (!server.stderr().includes(`clock stepped by ${step}\n`)) await sleep(10)
      await sleep(seconds * 1000)
      await callers.reaches(callers.latencies.length + callers.failures.length + 10)
      if ((await outcomeOf(server, token)) !== EXPECTED[index]) wrong += 1
    }
    const cut = streams.filter(({ socket }) => socket.closed).length
    await callers.stop()
    const exitCode = await server.stop()
    const ended = await Promise.all(streams.map(({ closed }) => closed))
    const { allowed, ended: outcomes } = trailIn(readFileSync(log, 'utf8'))
    await issuer.down()
    await stopServers()
    return [
      some('calls with an API key answered', callers.latencies.length, 30),
      none('of them failed', callers.failures.length),
      none('steps after which a token was judged wrongly', wrong),
      none('streams cut by a step', cut),
      some('streams that ended with their result', ended.filter(isWhole).length, streams.length),
      none('decisions without an outcome', allowed.length - outcomes.length),
      none('exit code', exitCode ?? 1),
    ]
  },
}

/** Writes a file with one key that is a day old: one of tomorrow is refused, as it should be. */
function writeKey(file: string): string {
  const { key, id, sha256 } = generateKey()
  const day = (days: number): string => new Date(Date.now() + days * 24 * HOUR_MS).toISOString()
  const [createdAt, expiresAt] = [day(-1), day(30)]
  const who = { name: 'load', subject: 'load', tenant: null, roles: [], scopes: ['mcp:use'] }
  const bounds = { createdAt, expiresAt, allowedCidrs: [], revokedAt: null }
  writeFileSync(file, JSON.stringify({ keys: [{ id, sha256, ...who, ...bounds }] }))
  return key
}

async function outcomeOf(server: Server, token: string): Promise<string> {
  const one = startCallers(server, { count: 1, token: () => token })
  await one.reaches(1)
  await one.stop()
  return one.failures[0] ?? 'ok'
}
