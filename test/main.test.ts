import { createSecretKey, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { networkInterfaces, tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { secretRing } from '../src/secrets.ts'
import { linesOfBytes, verdictOf } from './audit/log.ts'
import { largeResults, misbehavingAccess, SECRET } from './misbehaving-tools.ts'
import { production } from './production.ts'
import { connect, exchange } from './raw-http.ts'
import {
  type AuditRecord,
  callOf,
  type PolicyEdit,
  type Server,
  type ServerOptions,
  type ServerProcess,
  spawnServer,
  startServer,
  stopServers,
} from './server.ts'
import { ROOT } from './source-tree.ts'
import { BODY, CLOSE, callWith, filled, LENGTH, post } from './wire.ts'

const folder = mkdtempSync(join(tmpdir(), 'gatehouse-main-'))
process.once('exit', () => rmSync(folder, { recursive: true }))
afterEach(stopServers)

const codeOf = (record: AuditRecord): string => record.metadata.event_code
const root = randomBytes(32)

/** Every record of a whole run: chained, begun by `server.start`, ended by `server.stop`, all covered. */
function expectWholeTrail(server: ServerProcess, cause: 'signal' | 'crash'): void {
  const lines = linesOfBytes(Buffer.from(server.stdout()))
  const [key] = secretRing([root])('audit-mac')
  const verdict = verdictOf(lines, { macKeys: new Map([[key.id, createSecretKey(key.key)]]) })
  expect(verdict).toMatchObject({ damage: undefined, records: lines.length })
  const records = server.audited()
  expect(codeOf(records.at(-1))).toBe('audit.checkpoint')
  expect(codeOf(records[0])).toBe('server.start')
  expect(records.at(-2)).toMatchObject({
    metadata: { event_code: 'server.stop' },
    status_code: cause,
  })
  expect(records.filter((record) => codeOf(record) === 'server.stop')).toHaveLength(1)
}

/** Ids of the requests that have a record of this kind. */
function requestsWith(server: ServerProcess, code: string): string[] {
  return server
    .audited()
    .filter((record) => codeOf(record) === code)
    .map((record) => record.metadata.correlation_uid)
    .toSorted()
}

function misbehaving(env: Readonly<Record<string, string>>, ...more: PolicyEdit[]): ServerOptions {
  return {
    entry: 'test/misbehaving-server.ts',
    env: { MCP_SECRET: root.toString('base64'), ...env },
    policies: [misbehavingAccess, ...more],
  }
}

describe('threat: a server that starts although its settings or policies are wrong', () => {
  const BAD = 'not-to-be-shown'
  const file = (name: string, text: string): string => {
    const path = join(folder, name)
    writeFileSync(path, text)
    return path
  }

  it.each<[string, ServerOptions, string[]]>([
    [
      'several settings',
      {
        env: {
          PORT: BAD,
          LOG_LEVEL: BAD,
          MCP_SECRET: BAD,
          MCP_PUBLIC_URL: `ftp://${BAD}`,
          MCP_TRUSTED_PROXIES: '0.0.0.0/0',
          MCP_API_KEYS_FILE: `/${BAD}`,
          MCP_FORBIDDEN: BAD,
        },
      },
      [
        'PORT',
        'LOG_LEVEL',
        'MCP_SECRET',
        'MCP_PUBLIC_URL',
        'MCP_TRUSTED_PROXIES',
        'MCP_API_KEYS_FILE',
        'MCP_FORBIDDEN',
      ],
    ],
    [
      'several policies',
      {
        policies: [
          ['http.yaml', 'origins: []', `origins: [{ value: "https://*.${BAD}", why: "any" }]`],
          ['limits.yaml', 'headersMs: 8000', 'headersMs: 80000'],
          ['access.yaml', '  whoami: { scopes: []', `  whoami: { scopes: ["${BAD} ${BAD}"]`],
          ['audit.yaml', 'principal: clear', `principal: ${BAD}`],
        ],
      },
      [
        'http.yaml origins.0.value',
        'limits.yaml timeouts.headersMs',
        'access.yaml tools.whoami.scopes.0',
        'audit.yaml principal',
      ],
    ],
    [
      'tools without entry, entries without tool',
      { policies: [['access.yaml', '  echo:', '  parrot:']] },
      ['access.yaml tools.echo', 'access.yaml tools.parrot'],
    ],
    [
      'an audit file that cannot be written',
      { env: { MCP_AUDIT_FILE: `/${BAD}/a` } },
      ['MCP_AUDIT_FILE'],
    ],
    ['a full audit disk', { env: { MCP_AUDIT_FILE: '/dev/full' } }, ['MCP_AUDIT_FILE']],
    [
      'keys that cannot be read',
      { env: { MCP_API_KEYS_FILE: file('keys.json', `{"keys":"${BAD}"}`) } },
      ['MCP_API_KEYS_FILE keys'],
    ],
    [
      'a certificate that is none',
      { env: { MCP_TLS_CERT_FILE: file('tls.crt', BAD), MCP_TLS_KEY_FILE: file('tls.key', BAD) } },
      ['MCP_TLS_CERT_FILE'],
    ],
    [
      'client authorities that are none',
      {
        env: {
          MCP_TLS_CERT_FILE: file('client.crt', BAD),
          MCP_TLS_KEY_FILE: file('client.key', BAD),
          MCP_TLS_CLIENT_CA_FILE: file('client-ca.crt', BAD),
        },
      },
      ['MCP_TLS_CLIENT_CA_FILE'],
    ],
    [
      'nobody who could authenticate',
      { policies: [['auth.yaml', 'enabled: true', 'enabled: false']], env: {} },
      ['MCP_API_KEYS_FILE'],
    ],
  ])('ends with 78 and names %s', async (_name, options, names) => {
    const server = spawnServer(options)
    expect(await server.exited).toBe(78)
    expect(server.stderr()).toMatch(/^Gatehouse cannot start:\n/)
    const named = server
      .stderr()
      .trimEnd()
      .split('\n')
      .slice(1)
      .map((line) => line.slice(0, line.indexOf(': ')).trim())
    expect(new Set(named)).toEqual(new Set(names))
    expect(server.stderr()).not.toContain(BAD)
    expect(server.stdout()).toBe('')
  })

  it.each(['PORT', 'ADMIN_PORT'])(
    'ends with 69 when %s is taken, and leaves no record',
    async (name) => {
      const other = createServer().listen(0, '127.0.0.1')
      await once(other, 'listening')
      const address = other.address()
      const port = address !== null && typeof address === 'object' ? address.port : 0
      const server = spawnServer({ env: { [name]: String(port) } })
      expect(await server.exited).toBe(69)
      expect(server.stderr()).toContain(`${name}: `)
      expect(server.stdout()).toBe('')
      other.close()
    },
  )
})

describe('threat: a development server that others reach', () => {
  const outside = Object.values(networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .find(({ internal, family }) => !internal && family === 'IPv4')?.address

  it.runIf(outside !== undefined)('takes no connection but from loopback', async () => {
    const server = await startServer()
    const { socket } = connect({ port: server.port, host: outside ?? '' })
    await expect(once(socket, 'connect')).rejects.toMatchObject({ code: 'ECONNREFUSED' })
    expect((await server.call('echo', { text: 'from loopback' })).status).toBe(200)
  })

  it('does not bind to anything else', async () => {
    const server = spawnServer({ env: { HOST: '0.0.0.0', ADMIN_HOST: '0.0.0.0' } })
    expect(await server.exited).toBe(78)
    expect(server.stderr()).toMatch(/ {2}HOST: .*\n {2}ADMIN_HOST: /)
  })
})

describe('threat: production with more rights than it needs, or with the habits of development', () => {
  const isRoot = process.getuid?.() === 0

  it.runIf(isRoot)('refuses to run as root', async () => {
    const server = spawnServer({ env: production(root).env })
    expect(await server.exited).toBe(78)
    expect(server.stderr()).toMatch(/^Gatehouse cannot start:\n {2}uid: .*\n$/)
  })

  it('refuses to start when nobody could authenticate: no ephemeral key here', async () => {
    const { env: whole, unprivileged } = production(root)
    const { MCP_API_KEYS_FILE: _keys, ...env } = whole
    const server = spawnServer({ env, ...unprivileged })
    expect(await server.exited).toBe(78)
    expect(server.stderr()).toContain('MCP_API_KEYS_FILE')
    expect(server.stderr()).not.toContain('mcpk_')
  })

  it('says in development where it listens, and its public URL when that is another', async () => {
    const publicUrl = 'https://mcp.example.com/mcp'
    const server = await startServer({ env: { MCP_PUBLIC_URL: publicUrl } })
    expect(server.url).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/mcp$/)
    expect(server.stderr()).toContain(`Its public URL is ${publicUrl}\n`)
    expect(await exchange(server, filled(post(LENGTH, CLOSE) + BODY, server))).toMatchObject([
      { status: 200 },
    ])
  })

  it('serves its public name alone, and prints no secret', async () => {
    const { env, key, unprivileged } = production(root)
    const server = await startServer({ env, ...unprivileged })
    const call = post(LENGTH, CLOSE) + BODY
    const own = filled(call.replace('AUTHORITY', 'mcp.example.com'), { port: server.port, key })
    expect(await exchange(server, own)).toMatchObject([{ status: 200 }])
    const loopback = filled(call, { port: server.port, key })
    expect(await exchange(server, loopback)).toMatchObject([{ status: 421 }])

    expect(await server.stop()).toBe(0)
    expectWholeTrail(server, 'signal')
    for (const secret of [key, root.toString('base64'), root.toString('hex')]) {
      expect(server.stdout() + server.stderr()).not.toContain(secret)
    }
    for (const line of server.stderr().trimEnd().split('\n')) {
      expect(JSON.parse(line)).toMatchObject({ level: 'info' })
    }
  })

  it('survives work that fails in the background, and says so without its message', async () => {
    const { env, key, unprivileged } = production(root)
    const server = await startServer({ ...misbehaving(env), ...unprivileged })
    const call = (name: string): Promise<unknown> => {
      const wire = callWith(callOf(name, {}), CLOSE).replace('AUTHORITY', 'mcp.example.com')
      return exchange(server, filled(wire, { port: server.port, key }))
    }
    expect(await call('forgetful')).toMatchObject([{ status: 200 }])
    const fault = await server.recorded((record) => codeOf(record) === 'fault')
    expect(fault.status_code).toBe('unhandled-rejection')
    expect(await call('whoami')).toMatchObject([{ status: 200 }])

    expect(await server.stop()).toBe(0)
    expectWholeTrail(server, 'signal')
    expect(server.stderr()).toContain('Background work failed')
    expect(server.stdout() + server.stderr()).not.toContain(SECRET)
  })
})

describe('threat: a setting or a policy changes, and no record shows with which a server ran', () => {
  /** What the first record of a server says that it runs with. */
  async function startedWith(options: ServerOptions): Promise<readonly string[]> {
    const server = await startServer({ ...options, env: { LOG_LEVEL: 'info', ...options.env } })
    expect(await server.stop()).toBe(0)
    const [start] = server.audited()
    expect(codeOf(start)).toBe('server.start')
    return [start.unmapped.server.settings_digest, start.policy.version]
  }

  it('says at its start with which ones it runs, by their digests', async () => {
    const [settings, policies] = await startedWith({})
    expect([settings, policies]).toEqual(Array(2).fill(expect.stringMatching(/^[0-9a-f]{64}$/)))
    expect(await startedWith({})).toEqual([settings, policies])

    const setting = await startedWith({ env: { LOG_LEVEL: 'warn' } })
    expect(setting[0]).not.toBe(settings)
    expect(setting[1]).toBe(policies)
    const policy = await startedWith({
      policies: [['audit.yaml', 'principal: clear', 'principal: pseudonymous']],
    })
    expect(policy[1]).not.toBe(policies)
  })
})

describe('threat: a tool changes behind the back of who approved it, and no record shows it', () => {
  it('says at its start which tools it has, by the digest of the manifest', async () => {
    const manifest = JSON.parse(readFileSync(join(ROOT, 'tools.manifest.json'), 'utf8'))
    const server = await startServer()
    const start = await server.recorded((record) => codeOf(record) === 'server.start')
    expect(start.unmapped.server.tools_digest).toBe(manifest.toolsDigest)
    expect(manifest.toolsDigest).toMatch(/^[0-9a-f]{64}$/)
  })

  it('says them in its readiness, and nowhere that callers reach', async () => {
    const manifest = JSON.parse(readFileSync(join(ROOT, 'tools.manifest.json'), 'utf8'))
    const server = await startServer()
    const ready = await fetch(`${server.adminUrl}/readyz`)
    expect([ready.status, await ready.json()]).toEqual([
      200,
      expect.objectContaining({ status: 'ok', toolsDigest: manifest.toolsDigest }),
    ])
    const alive = await fetch(`${server.adminUrl}/livez`)
    expect(await alive.json()).toEqual({ status: 'ok' })
    expect((await fetch(new URL('/readyz', server.url))).status).toBe(404)
  })

  it('says another digest for other tools', async () => {
    const manifest = JSON.parse(readFileSync(join(ROOT, 'tools.manifest.json'), 'utf8'))
    const server = await startServer(misbehaving({}))
    const start = await server.recorded((record) => codeOf(record) === 'server.start')
    expect(start.unmapped.server.tools_digest).not.toBe(manifest.toolsDigest)
    const ready = await fetch(`${server.adminUrl}/readyz`)
    expect(await ready.json()).toMatchObject({ toolsDigest: start.unmapped.server.tools_digest })
  })
})

describe('contract: the end of the process loses no call that it accepted', () => {
  const roomy: PolicyEdit[] = [
    ['limits.yaml', 'concurrentCalls: 32', 'concurrentCalls: 100'],
    ['access.yaml', 'concurrentCallsPerPrincipal: 4', 'concurrentCallsPerPrincipal: 100'],
  ]

  async function readiness(server: Server): Promise<unknown> {
    const response = await fetch(`${server.adminUrl}/readyz`)
    return response.json()
  }

  /** Until the probe says so. */
  async function draining(server: Server): Promise<void> {
    await expect
      .poll(() => readiness(server), { interval: 20 })
      .toMatchObject({ status: 'unavailable', drain: 'draining' })
  }

  it.each([
    ['nothing', ''],
    ['half a request line', 'POST /mc'],
    ['half of the headers', 'POST /mcp HTTP/1.1\r\nhost: x\r\n'],
  ])('is not held up by a connection that has sent %s', async (_name, bytes) => {
    const server = await startServer({ env: { MCP_DRAIN_SECONDS: '20' } })
    using connection = connect(server)
    connection.write(bytes)
    await exchange(server, filled(post(LENGTH, CLOSE) + BODY, server))
    const started = performance.now()
    expect(await server.stop()).toBe(0)
    expect(performance.now() - started).toBeLessThan(10_000)
  })

  it.each(['SIGTERM', 'SIGINT'] as const)('ends with 0 on %s when nothing runs', async (signal) => {
    const server = await startServer(misbehaving({}))
    expect(await readiness(server)).toMatchObject({ status: 'ok', drain: 'ok' })
    expect(await server.stop(signal)).toBe(0)
    expectWholeTrail(server, 'signal')
    expect(server.audited()).toHaveLength(3)
  })

  it.each(['legacy', 'modern'] as const)(
    'finishes 50 calls of %s clients that run on SIGTERM',
    async (era) => {
      const server = await startServer(misbehaving({}, ...roomy))
      const documents = Array.from({ length: 8 }, (_, index) => ({ name: `${index}`, text: 'a' }))
      const calls = Array.from({ length: 50 }, async (_, index) => {
        const [name, args] =
          index % 2 === 0 ? ['echo', { text: 'a' }] : ['process_documents', { documents }]
        try {
          const response = await server.call(String(name), Object(args), era)
          return { id: response.headers.get('x-request-id'), text: await response.text() }
        } catch {
          return undefined // Not accepted: the listener was closed before.
        }
      })
      const decisions = (): number => requestsWith(server, 'decision').length
      await server.recorded(() => decisions() >= 20)
      expect(await server.stop()).toBe(0)

      const answers = (await Promise.all(calls)).filter((answer) => answer !== undefined)
      const accepted = requestsWith(server, 'decision')
      expect(accepted.length).toBeGreaterThanOrEqual(20)
      expect(requestsWith(server, 'outcome')).toEqual(accepted)
      const done = answers.filter(({ text }) => /reportId|"text"|shutting down/.test(text))
      expect(done.map(({ id }) => id).toSorted()).toEqual(accepted)
      expectWholeTrail(server, 'signal')
    },
  )

  it.each([
    ['legacy', '2'],
    ['modern', '2'],
    ['modern', '0'],
  ] as const)(
    'answers 20 calls of a %s client that outlive a drain of %s seconds',
    async (era, MCP_DRAIN_SECONDS) => {
      const server = await startServer(misbehaving({ MCP_DRAIN_SECONDS }))
      const calls = Array.from({ length: 20 }, async () => {
        const response = await server.call('deaf', { seconds: 600 }, era)
        return response.text()
      })
      await server.recorded(() => requestsWith(server, 'decision').length === calls.length)
      expect(await server.stop()).toBe(0)
      for (const answer of await Promise.all(calls)) expect(answer).toContain('shutting down')
      const outcomes = server.audited().filter((record) => codeOf(record) === 'outcome')
      expect(outcomes.map(({ status_code }) => status_code)).toEqual(calls.map(() => 'shut-down'))
      expectWholeTrail(server, 'signal')
    },
  )

  it('waits for the rest of a request, and serves it', async () => {
    const server = await startServer(misbehaving({}))
    using connection = connect(server)
    connection.write(filled(post(LENGTH, 'Expect: 100-continue'), server))
    expect(await connection.answer()).toMatchObject({ status: 100 })
    server.child.kill('SIGTERM')
    await draining(server)
    connection.write(BODY)
    expect(await connection.answer()).toMatchObject({ status: 200 })
    expect(await server.exited).toBe(0)
    expect(requestsWith(server, 'outcome')).toHaveLength(1)
    expectWholeTrail(server, 'signal')
  })

  it('cuts a reader that stalls when the time is over, and its request is on record', async () => {
    const server = await startServer(misbehaving({ MCP_DRAIN_SECONDS: '1' }, largeResults))
    using connection = connect(server)
    connection.socket.pause()
    connection.write(filled(callWith(callOf('large', { bytes: 4_000_000 })), server))
    await server.recorded((record) => codeOf(record) === 'outcome')
    expect(await server.stop()).toBe(0)
    expect(requestsWith(server, 'request')).toEqual(requestsWith(server, 'decision'))
    expectWholeTrail(server, 'signal')
  })

  it('says on its probes that it drains, and ends calls at once on a second SIGTERM', async () => {
    const server = await startServer(misbehaving({ MCP_DRAIN_SECONDS: '120' }))
    const answered = server.call('deaf', { seconds: 600 }).then((response) => response.text())
    await server.recorded((record) => codeOf(record) === 'decision')
    server.child.kill('SIGTERM')
    await draining(server)
    expect((await fetch(`${server.adminUrl}/livez`)).status).toBe(200)

    expect(await server.stop()).toBe(0)
    expect(await answered).toContain('shutting down')
    expectWholeTrail(server, 'signal')
  })

  it('records an error that escaped every handler, finishes what runs, and ends with 1', async () => {
    const server = await startServer(misbehaving({}))
    const running = server.call('deaf', { seconds: 1 }).then((response) => response.text())
    await server.recorded((record) => codeOf(record) === 'decision')
    await server.call('explosive', {}).catch(() => undefined)

    expect(await server.exited).toBe(1)
    expect(await running).toContain('done')
    const faults = server.audited().filter((record) => codeOf(record) === 'fault')
    expect(faults).toMatchObject([{ status_code: 'uncaught-exception' }])
    expect(requestsWith(server, 'outcome')).toEqual(requestsWith(server, 'decision'))
    expectWholeTrail(server, 'crash')
    expect(server.stderr()).toContain('An error escaped every handler')
    expect(server.stdout()).not.toContain(SECRET)
  })

  it('ends with 1 when it crashes while it drains', async () => {
    const server = await startServer(misbehaving({ MCP_DRAIN_SECONDS: '120' }))
    const running = server.call('deaf', { seconds: 600 }).then((response) => response.text())
    using exploding = connect(server)
    await server.recorded((record) => codeOf(record) === 'decision')
    const body = callOf('explosive', {})
    exploding.write(filled(post(`Content-Length: ${body.length}`, 'Expect: 100-continue'), server))
    await exploding.answer()
    server.child.kill('SIGTERM')
    await draining(server)
    exploding.write(body)

    expect(await server.exited).toBe(1)
    expect(await running).toContain('shutting down')
    expectWholeTrail(server, 'signal')
  })
})
