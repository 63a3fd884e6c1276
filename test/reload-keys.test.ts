// optional: api-key
import { createHash } from 'node:crypto'
import { mkdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { Agent, request } from 'node:http'
import { dirname, join } from 'node:path'
import { afterEach, describe, expect, it, vi } from 'vitest'
import type { KeyRecord } from '../src/auth/key-file.ts'
import { filesDigest } from '../src/file-watch.ts'
import { DAY_MS, runAt, spawnCommand } from './cli/command.ts'
import { NO_LIMITS } from './identity/attempt.ts'
import { misbehavingAccess } from './misbehaving-tools.ts'
import { production } from './production.ts'
import { type AuditRecord, callOf, startServer, stopServers } from './server.ts'

/** Keys that are made, rotated and revoked while a production server runs and calls flow. */

vi.setConfig({ testTimeout: 60_000 }) // Files are looked at every 2 s, and machines may be slow.
afterEach(stopServers)

/** What a change of the file may take to be in force, ms. */
const IN_FORCE_MS = 5000
const codeOf = (record: AuditRecord): string => record.metadata.event_code
const idOf = (key: string): string => key.slice(5, 17)
const digestOf = (text: string): string => createHash('sha256').update(text).digest('hex')

interface Answer {
  readonly status: number
  readonly body: string
  readonly challenge: string | undefined
}

/** @param link where the server finds the key file, when that is not where it is */
async function running(link?: (keysFile: string) => string) {
  const { env, key, keysFile, unprivileged } = production()
  const server = await startServer({
    entry: 'test/misbehaving-server.ts',
    env: { ...env, MCP_API_KEYS_FILE: link?.(keysFile) ?? keysFile },
    policies: [
      misbehavingAccess,
      ...NO_LIMITS,
      ['limits.yaml', 'concurrentCalls: 32', 'concurrentCalls: 1000'],
    ],
    ...unprivileged,
  })
  const endpoint = new URL('/mcp', server.url)
  const agent = new Agent({ keepAlive: true })
  let seen = 0

  /** The record of the next reload, whatever asked for it. */
  async function reloaded(): Promise<AuditRecord> {
    const record = await server.recorded(
      (one) => codeOf(one).endsWith('.reload') && one.metadata.sequence > seen,
    )
    seen = record.metadata.sequence
    return record
  }

  /** The record of the reload of what is in the file now, refused or not. */
  function inForce(event: 'keys.reload' | 'policy.reload'): Promise<AuditRecord> {
    const files = filesDigest([keysFile])
    return server.recorded(
      (one) => codeOf(one) === event && one.unmapped.reload.to?.files === files,
    )
  }

  function call(credential: string, name = 'whoami', args: object = {}): Promise<Answer> {
    const body = callOf(name, args)
    const headers = {
      host: 'mcp.example.com',
      authorization: `Bearer ${credential}`,
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
    }
    return new Promise((resolve, reject) => {
      const sent = request(endpoint, { agent, method: 'POST', headers }, (response) => {
        let text = ''
        response.setEncoding('utf8').on('data', (part: string) => {
          text += part
        })
        response.on('error', reject)
        response.on('end', () => {
          const challenge = response.headers['www-authenticate']
          resolve({ status: response.statusCode ?? 0, body: text, challenge })
        })
      })
      sent.on('error', reject).end(body)
    })
  }

  /** Runs the command of operators on the key file of the server. @returns its standard output */
  async function command(...args: string[]): Promise<string> {
    const { code, out, err } = await spawnCommand([...args, '--file', keysFile])
    expect(code, err).toBe(0)
    return out.trimEnd()
  }

  return {
    server,
    key,
    keysFile,
    call,
    command,
    reloaded,
    inForce,
    create: () => command('create', '--name', 'b', '--scopes', 'mcp:use', '--days', '90'),
    text: () => readFileSync(keysFile, 'utf8'),
    async readiness(): Promise<unknown> {
      return (await fetch(`${server.adminUrl}/readyz`)).json()
    },
    /** Puts another file in its place, as an editor of care does; without text, removes it. */
    replace(text: string | undefined): void {
      if (text === undefined) {
        rmSync(keysFile)
        return
      }
      writeFileSync(`${keysFile}.test`, text)
      renameSync(`${keysFile}.test`, keysFile)
    },
    /** Waits until calls with this key are answered so. @returns how long that took, ms */
    async answers(credential: string, status: 200 | 401): Promise<number> {
      const started = performance.now()
      await expect
        .poll(async () => (await call(credential)).status, { interval: 50, timeout: 10_000 })
        .toBe(status)
      return performance.now() - started
    },
    /** What the log has said about files that it refused, newest last. */
    refusals: (): readonly string[] =>
      server
        .stderr()
        .split('\n')
        .filter((line) => line.includes('nothing has changed'))
        .map((line) => JSON.parse(line).problems.join('\n')),
  }
}

describe('contract: a key is made, rotated and revoked while the server runs', () => {
  it('is in force within 5 seconds, and what is revoked gets the one 401', async () => {
    const at = await running()
    const first = await at.create()
    expect((await at.call(first)).status).toBe(401)
    expect(await at.answers(first, 200)).toBeLessThan(IN_FORCE_MS)

    const second = await at.command('rotate', idOf(first), '--overlap-hours', '1')
    expect(await at.answers(second, 200)).toBeLessThan(IN_FORCE_MS)
    expect((await at.call(first)).status).toBe(200)
    const [old, next] = await Promise.all([at.call(first), at.call(second)])
    expect(next.body).toBe(old.body)

    await at.command('revoke', idOf(first))
    expect(await at.answers(first, 401)).toBeLessThan(IN_FORCE_MS)
    expect((await at.call(second)).status).toBe(200)
    const unknown = await at.call('mcpk_never-made')
    expect(await at.call(first)).toEqual(unknown)
    expect(unknown).toMatchObject({
      status: 401,
      challenge: expect.stringContaining('error="invalid_token"'),
    })

    const reloads = at.server.audited().filter((one) => codeOf(one) === 'keys.reload')
    expect(reloads.map((one) => one.status_code)).toEqual(['applied', 'applied', 'applied'])
    const failed = at.server.audited().filter((one) => codeOf(one) === 'authn.fail')
    expect(failed.map((one) => one.status_code)).toContain('revoked')
    for (const credential of [first, second]) {
      expect(at.server.stdout() + at.server.stderr()).not.toContain(credential.slice(18))
    }
  })

  it('takes SIGHUP as "now"', async () => {
    const at = await running()
    const first = await at.create()
    at.server.child.kill('SIGHUP')
    expect(await at.inForce('policy.reload')).toMatchObject({ status_code: 'applied' })
    expect((await at.call(first)).status).toBe(200)

    await at.command('revoke', idOf(first))
    const revokedAt = performance.now()
    at.server.child.kill('SIGHUP')
    expect(await at.inForce('policy.reload')).toMatchObject({ status_code: 'applied' })
    expect(performance.now() - revokedAt).toBeLessThan(IN_FORCE_MS)
    expect((await at.call(first)).status).toBe(401)
  })

  it('follows a link that is swapped, as Kubernetes does it', async () => {
    let secret = ''
    const version = (name: string, text: string): void => {
      mkdirSync(join(secret, name))
      writeFileSync(join(secret, name, 'keys.json'), text, { mode: 0o644 })
      symlinkSync(name, join(secret, '..data_tmp'))
      renameSync(join(secret, '..data_tmp'), join(secret, '..data'))
    }
    const at = await running((keysFile) => {
      secret = join(dirname(keysFile), 'secret')
      mkdirSync(secret)
      version('..2026_01_01', readFileSync(keysFile, 'utf8'))
      symlinkSync('..data/keys.json', join(secret, 'keys.json'))
      return join(secret, 'keys.json')
    })
    const first = await at.create()
    version('..2026_01_02', at.text())
    expect(await at.answers(first, 200)).toBeLessThan(IN_FORCE_MS)
    expect(await at.reloaded()).toMatchObject({ status_code: 'applied' })

    await at.command('revoke', idOf(first))
    version('..2026_01_03', at.text())
    rmSync(join(secret, '..2026_01_01'), { recursive: true })
    expect(await at.answers(first, 401)).toBeLessThan(IN_FORCE_MS)
    expect((await at.call(at.key)).status).toBe(200)
  })
})

describe('threat: a key file that is half written or wrong, everybody is locked out or let in', () => {
  it('changes nothing until it is right again, and says each time what is wrong', async () => {
    const at = await running()
    const second = await at.create()
    await at.answers(second, 200)
    await at.reloaded()
    const good = at.text()
    const { keys }: { keys: KeyRecord[] } = JSON.parse(good)
    const [one, two] = keys
    const file = (...records: unknown[]): string => JSON.stringify({ keys: records })

    const broken: [string, string | undefined, string][] = [
      ['half written', good.slice(0, good.length / 2), 'MCP_API_KEYS_FILE is '],
      ['empty', '', 'MCP_API_KEYS_FILE is not JSON'],
      ['not JSON', 'keys: []', 'MCP_API_KEYS_FILE is not JSON'],
      [
        'with one bad record',
        file(one, { ...two, scopes: ['*'] }),
        'MCP_API_KEYS_FILE keys.1.scopes.0 there is no wildcard: name each scope',
      ],
      [
        'with a key that lives too long',
        file(one, { ...two, expiresAt: '2099-01-01T00:00:00Z' }),
        'MCP_API_KEYS_FILE keys.1.expiresAt must be at most 365 days after createdAt',
      ],
      [
        'with an id twice',
        file(one, two, { ...two, sha256: digestOf('x') }),
        'MCP_API_KEYS_FILE keys.2.id is the id of another key',
      ],
      ['gone', undefined, 'MCP_API_KEYS_FILE cannot be read'],
    ]
    for (const [index, [name, text, told]] of broken.entries()) {
      at.replace(text)
      // The first is noticed; SIGHUP saves the wait for the others.
      if (index > 0) at.server.child.kill('SIGHUP')
      const record = await at.inForce(index > 0 ? 'policy.reload' : 'keys.reload')
      expect([name, record.status_code]).toEqual([name, 'refused'])
      await expect.poll(() => at.refusals().at(-1), { interval: 20 }).toContain(told)
      const [first, other] = await Promise.all([at.call(at.key), at.call(second)])
      expect([name, first.status, other.status]).toEqual([name, 200, 200])
    }
    expect(at.refusals().length).toBeGreaterThanOrEqual(broken.length)
    expect(await at.readiness()).toMatchObject({
      status: 'ok',
      policies: 'ok',
      keys: expect.stringMatching(/^refused since 20\d\d-/),
    })

    at.replace(file(one, { ...two, revokedAt: new Date().toISOString() }))
    at.server.child.kill('SIGHUP')
    expect(await at.inForce('policy.reload')).toMatchObject({ status_code: 'applied' })
    expect(await at.readiness()).toMatchObject({ status: 'ok', policies: 'ok', keys: 'ok' })
    expect((await at.call(second)).status).toBe(401)
    expect((await at.call(at.key)).status).toBe(200)
  })
})

describe('threat: a reload under load, calls fail although their keys are good', () => {
  it('fails none of thousands of calls, while keys rotate and SIGHUP comes', async () => {
    const at = await running()
    let rotating = await at.create()
    await at.answers(rotating, 200)
    const live = [at.key, rotating]
    const statuses = new Map<number, number>()
    let stop = false

    const callers = Array.from({ length: 16 }, async (_, index) => {
      while (!stop) {
        const { status } = await at.call(live[index % live.length] ?? '')
        statuses.set(status, (statuses.get(status) ?? 0) + 1)
      }
    })
    const count = (): number => [...statuses.values()].reduce((sum, each) => sum + each, 0)

    for (let round = 0; round < 8 || count() < 2000; round += 1) {
      const args = ['rotate', idOf(rotating), '--file', at.keysFile]
      const { code, out } = runAt(Date.now(), {}, ...args)
      expect(code).toBe(0)
      at.server.child.kill('SIGHUP')
      expect(await at.inForce('policy.reload')).toMatchObject({ status_code: 'applied' })
      rotating = out.trimEnd()
      live.push(rotating)
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
    stop = true
    await Promise.all(callers)
    expect([...statuses.keys()]).toEqual([200])
    expect(count()).toBeGreaterThanOrEqual(2000)
    expect(await at.server.stop()).toBe(0)
    const outcomes = at.server.audited().filter((one) => codeOf(one) === 'outcome')
    expect(outcomes.length).toBeGreaterThanOrEqual(count())
    expect(at.refusals()).toEqual([])
  })
})

describe('threat: a revoked key keeps the calls that it has open', () => {
  it('ends them, says why, and leaves those of other keys alone', async () => {
    const at = await running()
    const second = await at.create()
    await at.answers(second, 200)
    const endless = { seconds: 600 }
    const kept = at.call(at.key, 'deaf', endless).then(
      () => 'ended',
      () => 'cut off', // By the end of the server.
    )
    const ended = at.call(second, 'deaf', endless)
    const decided = (): AuditRecord[] =>
      at.server
        .audited()
        .filter((one) => codeOf(one) === 'decision' && one.unmapped.mcp.tool === 'deaf')
    await at.server.recorded(() => decided().length === 2)

    await at.command('revoke', idOf(second))
    const started = performance.now()
    const { status, body } = await ended
    expect(performance.now() - started).toBeLessThan(IN_FORCE_MS + 10_000)
    expect(status).toBe(200)
    const [, json = body] = /^data: (.*)$/m.exec(body) ?? []
    expect(JSON.parse(json).result).toMatchObject({
      isError: true,
      content: [{ text: expect.stringMatching(/^The credential of this call was revoked /) }],
    })
    const isEnd = (one: AuditRecord): boolean =>
      codeOf(one) === 'outcome' && one.unmapped.mcp.tool === 'deaf'
    expect(await at.server.recorded(isEnd)).toMatchObject({
      status_code: 'revoked',
      actor: { user: { programmatic_credentials: [{ uid: idOf(second), type: 'API Key' }] } },
    })
    expect(at.server.audited().filter(isEnd)).toHaveLength(1)
    expect(await Promise.race([kept, Promise.resolve('runs')])).toBe('runs')
  })
})

describe('contract: the log says which keys are about to end', () => {
  it('at the start, and again with each change of the file', async () => {
    const at = await running((keysFile) => {
      const record = JSON.parse(readFileSync(keysFile, 'utf8')).keys[0]
      const ending = { ...record, expiresAt: new Date(Date.now() + 10 * DAY_MS).toISOString() }
      writeFileSync(keysFile, JSON.stringify({ keys: [ending] }))
      return keysFile
    })
    const { keys }: { keys: KeyRecord[] } = JSON.parse(at.text())
    const announced = (): unknown[] =>
      at.server
        .stderr()
        .split('\n')
        .filter((line) => line.includes('expires within 14 days'))
        .map((line) => JSON.parse(line))
    const expected = {
      level: 'warn',
      keyId: idOf(at.key),
      expiresAt: keys[0]?.expiresAt,
      msg: 'An API key expires within 14 days: rotate it',
    }
    await expect.poll(announced).toEqual([expect.objectContaining(expected)])

    await at.create() // Lives 90 days.
    await at.inForce('keys.reload')
    await expect.poll(announced).toEqual([1, 2].map(() => expect.objectContaining(expected)))
  })
})
