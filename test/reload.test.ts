import { cpSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { connect as connectTls } from 'node:tls'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { META } from './app.ts'
import { production } from './production.ts'
import { connect, type RawAnswer, type RawConnection } from './raw-http.ts'
import { type AuditRecord, callOf, startServer, stopServers } from './server.ts'
import { ROOT } from './source-tree.ts'
import { callWith, filled } from './wire.ts'

const DIGEST = /^[0-9a-f]{64}$/
const codeOf = (record: AuditRecord): string => record.metadata.event_code
const isReload = (record: AuditRecord): boolean => codeOf(record).endsWith('.reload')

/** A production server whose policies, keys and denials can be edited while it runs. */
async function editable(denials = '{}') {
  const { env, key, keysFile, folder, unprivileged, give } = production()
  const policies = join(folder, 'policies')
  cpSync(join(ROOT, 'policies'), policies, { recursive: true })
  const denyFile = join(folder, 'denied.json')
  writeFileSync(denyFile, denials)
  const server = await startServer({
    env: { ...env, MCP_POLICY_DIR: policies, MCP_DENY_LIST_FILE: denyFile },
    ...unprivileged,
  })
  let seen = 0

  /** The record of the next reload, whatever asks for it. */
  async function reloaded(): Promise<AuditRecord> {
    const record = await server.recorded((one) => isReload(one) && one.metadata.sequence > seen)
    seen = record.metadata.sequence
    return record
  }
  const wire = (body: string, ...headers: string[]): string =>
    filled(callWith(body, ...headers).replace('AUTHORITY', 'mcp.example.com'), {
      port: server.port,
      key,
    })
  return {
    server,
    key,
    keysFile,
    denyFile,
    /** Changes a policy file; the text must be in it. */
    edit(file: string, from: string, to: string): void {
      const path = join(policies, file)
      const text = readFileSync(path, 'utf8')
      if (!text.includes(from)) throw new Error(`${file} does not contain: ${from}`)
      writeFileSync(path, text.replace(from, to))
      give(path)
    },
    reloaded,
    /** SIGHUP. */
    reload(): Promise<AuditRecord> {
      const record = reloaded()
      server.child.kill('SIGHUP')
      return record
    },
    async call(name = 'whoami', args: object = {}): Promise<RawAnswer> {
      using connection = connect(server)
      connection.write(wire(callOf(name, args)))
      return await connection.answer()
    },
    /** Opens a stream of changes and waits for its first message. */
    async listen(): Promise<RawConnection> {
      const method = 'subscriptions/listen'
      const params = { notifications: { toolsListChanged: true }, _meta: META }
      const connection = connect(server)
      connection.write(
        wire(
          JSON.stringify({ jsonrpc: '2.0', id: 1, method, params }),
          'MCP-Protocol-Version: 2026-07-28',
          `Mcp-Method: ${method}`,
          'Connection: close',
        ),
      )
      await new Promise((resolve) => connection.socket.once('data', resolve))
      return connection
    },
  }
}

type Editable = Awaited<ReturnType<typeof editable>>
/** File of policies, a text in it, and what is there instead. */
type Edit = readonly [string, string, string]

const FORBIDDEN: Edit = ['access.yaml', 'whoami: { scopes: []', 'whoami: { scopes: ["secret:use"]']
const back = ([file, from, to]: Edit): Edit => [file, to, from]

describe('contract: SIGHUP reads policies again', () => {
  afterEach(stopServers)

  it('puts new policies in force, and says so with the digests of old and new', async () => {
    const at = await editable()
    expect(await at.call()).toMatchObject({ status: 200 })
    at.edit(...FORBIDDEN)
    expect(await at.call()).toMatchObject({ status: 200 })

    const record = await at.reload()
    expect(codeOf(record)).toBe('policy.reload')
    expect(record).toMatchObject({ status_code: 'applied', severity_id: 1 })
    const { from, to } = record.unmapped.reload
    for (const digest of [from.policies, to.policies, from.files, to.files]) {
      expect(digest).toMatch(DIGEST)
    }
    expect(from.policies).not.toBe(to.policies)
    expect(from.files).toBe(to.files)
    const [start] = at.server.audited()
    expect(start.policy.version).toBe(from.policies)

    expect(await at.call()).toMatchObject({ status: 403 })
    const decision = await at.server.recorded(
      (one) => one.status_detail === 'authorize.missing-scope',
    )
    expect(decision.policy).toEqual({ uid: 'tools/whoami', version: to.policies })

    at.edit(...back(FORBIDDEN))
    const { reload } = (await at.reload()).unmapped
    expect([reload.from.policies, reload.to.policies]).toEqual([to.policies, from.policies])
  })

  it('tells those who listen that lists have changed, and keeps their streams', async () => {
    const at = await editable()
    using stream = await at.listen()
    at.edit(...FORBIDDEN)
    const told = new Promise<string>((resolve) => {
      stream.socket.on('data', (data) => {
        if (`${data}`.includes('list_changed')) resolve(`${data}`)
      })
    })
    await at.reload()
    expect(await told).toContain('notifications/tools/list_changed')
    expect(stream.socket.destroyed).toBe(false)
  })

  it('gives up the issuers that are not there any more', async () => {
    const at = await editable()
    const issuers = async (): Promise<unknown> => {
      const response = await fetch(`${at.server.adminUrl}/readyz`)
      return [response.status, z.object({ issuers: z.string() }).parse(await response.json())]
    }
    const added: Edit = [
      'auth.yaml',
      'issuers: []',
      'issuers: [{ issuer: "https://10.0.0.1", why: "at a private address, so never reached" }]',
    ]
    at.edit(...added)
    expect(await at.reload()).toMatchObject({ status_code: 'applied' })
    expect(await issuers()).toEqual([200, { issuers: 'unreachable' }])
    at.edit(...back(added))
    expect(await at.reload()).toMatchObject({ status_code: 'applied' })
    expect(await issuers()).toEqual([200, { issuers: 'ok' }])
  })

  it('counts on: what was used of a budget stays used', async () => {
    const at = await editable()
    at.edit('limits.yaml', 'requestsPerMinute: 1200', 'requestsPerMinute: 4')
    for (let count = 0; count < 3; count += 1) await at.call()
    await at.reload()
    expect(await at.call()).toMatchObject({ status: 200 })
    expect(await at.call()).toMatchObject({ status: 429 })
  })

  it('drains and ends afterwards as before', async () => {
    const at = await editable()
    at.edit(...FORBIDDEN)
    await at.reload()
    expect(await at.server.stop()).toBe(0)
    expect(codeOf(at.server.audited().at(-2))).toBe('server.stop')
  })

  it('ends a server of development', async () => {
    const server = await startServer()
    expect(await server.stop('SIGHUP')).toBe(0)
    expect(server.audited().some(isReload)).toBe(false)
  })
})

describe('threat: a reload that goes wrong, the server runs with half of it or with none', () => {
  let at: Editable
  beforeAll(async () => {
    at = await editable()
  })
  afterAll(stopServers)

  it.each<[string, Edit, string]>([
    ['is not YAML', ['access.yaml', 'tools:', 'tools: ['], 'access.yaml'],
    ['has an unknown key', ['http.yaml', 'origins:', 'origin:'], 'http.yaml origin is not known'],
    ['forgets a tool', ['access.yaml', '  whoami:', '  who:'], 'whoami'],
    [
      'asks for a condition that does not type-check',
      ['access.yaml', "'bulk' in", "'bulk' +"],
      'when',
    ],
    [
      'lets nobody in',
      ['auth.yaml', 'enabled: true', 'enabled: false'],
      'nobody could authenticate',
    ],
    ['changes the protocol', ['http.yaml', 'legacy: stateless', 'legacy: off'], 'needs a restart'],
    ['bounds sessions anew', ['http.yaml', 'total: 1000', 'total: 10'], 'needs a restart'],
    [
      'changes connections',
      ['limits.yaml', 'connections: 6000', 'connections: 6001'],
      'needs a restart',
    ],
    [
      'changes timeouts',
      ['limits.yaml', 'keepAliveMs: 5000', 'keepAliveMs: 5001'],
      'needs a restart',
    ],
    ['changes headers', ['limits.yaml', 'count: 100', 'count: 99'], 'needs a restart'],
    [
      'changes connections of an address',
      ['limits.yaml', 'address: { connections: 200', 'address: { connections: 201'],
      'needs a restart',
    ],
    ['changes the trail', ['audit.yaml', 'principal: clear', 'principal: pseudonymous'], 'restart'],
  ])('changes nothing when a policy %s', async (_name, edit, told) => {
    expect(await at.call()).toMatchObject({ status: 200 })
    at.edit(...FORBIDDEN)
    at.edit(...edit)
    const record = await at.reload()
    expect(record).toMatchObject({ status_code: 'refused', severity_id: 3 })
    expect(record.unmapped.reload.from.policies).toMatch(DIGEST)
    expect(await at.call()).toMatchObject({ status: 200 })
    const logged = at.server
      .stderr()
      .split('\n')
      .findLast((line) => line.includes('nothing has changed'))
    expect(JSON.parse(logged ?? '').problems.join('\n')).toContain(told)

    at.edit(...back(edit))
    expect(await at.reload()).toMatchObject({ status_code: 'applied' })
    expect(await at.call()).toMatchObject({ status: 403 })
    at.edit(...back(FORBIDDEN))
    expect(await at.reload()).toMatchObject({ status_code: 'applied' })
  })

  it('answers every request while policies come and go', async () => {
    let going = true
    const statuses = new Map<number, number>()
    async function calls(): Promise<void> {
      while (going) {
        const { status } = await at.call('echo', { text: 'hello' })
        statuses.set(status, (statuses.get(status) ?? 0) + 1)
      }
    }
    const load = [calls(), calls(), calls(), calls()]
    for (let count = 0; count < 6; count += 1) {
      at.edit('access.yaml', 'no side effects', 'no side effect')
      await at.reload()
      at.edit('access.yaml', 'no side effect', 'no side effects')
      await at.reload()
    }
    going = false
    await Promise.all(load)
    expect([...statuses.keys()]).toEqual([200])
    expect(statuses.get(200)).toBeGreaterThan(20)
  })
})

describe('threat: a revoked credential, whoever stole it keeps what is open', () => {
  afterEach(stopServers)

  it.each([
    [
      'revoked',
      (text: string) => text.replace('"revokedAt": null', '"revokedAt": "2026-01-01T00:00:00Z"'),
    ],
    ['taken out of the file', () => '{"keys":[]}'],
    [
      'expired ahead of time',
      (text: string) =>
        text
          .replace(/"createdAt": "[^"]+"/, '"createdAt": "2020-01-01T00:00:00Z"')
          .replace(/"expiresAt": "[^"]+"/, '"expiresAt": "2020-02-01T00:00:00Z"'),
    ],
  ])(
    'ends its streams and its calls within 5 seconds when the key is %s',
    async (_name, change) => {
      const at = await editable()
      using stream = await at.listen()
      expect(await at.call()).toMatchObject({ status: 200 })

      writeFileSync(at.keysFile, change(readFileSync(at.keysFile, 'utf8')))
      const began = performance.now()
      const record = await at.reloaded()
      expect(codeOf(record)).toBe('keys.reload')
      expect(record).toMatchObject({ status_code: 'applied' })
      expect(await stream.closed()).not.toContain('"result"')
      expect(performance.now() - began).toBeLessThan(5000)
      expect(await at.call()).toMatchObject({ status: 401 })
    },
  )

  it('ends them when its subject is denied, and lets the subject in again when it is not', async () => {
    const at = await editable()
    using stream = await at.listen()
    writeFileSync(at.denyFile, '{"subjects":["ci"]}')
    await at.reloaded()
    await stream.closed()
    expect(await at.call()).toMatchObject({ status: 401 })
    const failed = await at.server.recorded((record) => codeOf(record) === 'authn.fail')
    expect(failed).toMatchObject({ status_code: 'denied', status_detail: 'authenticate.rejected' })

    writeFileSync(at.denyFile, '{"subjects":["somebody else"]}')
    await at.reloaded()
    expect(await at.call()).toMatchObject({ status: 200 })
  })

  it('keeps the list in force that it had when the new one is broken', async () => {
    const at = await editable('{"subjects":["ci"]}')
    expect(await at.call()).toMatchObject({ status: 401 })
    writeFileSync(at.denyFile, '{"subjects":[')
    expect(await at.reloaded()).toMatchObject({ status_code: 'refused' })
    expect(await at.call()).toMatchObject({ status: 401 })
  })
})

describe('contract: the certificate is read again', () => {
  afterEach(stopServers)

  /** SHA-256 of the certificate that the server shows. */
  function fingerprint(port: number): Promise<string> {
    return new Promise((resolve, reject) => {
      const socket = connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false }, () => {
        resolve(socket.getPeerX509Certificate()?.fingerprint256 ?? '')
        socket.destroy()
      }).once('error', reject)
    })
  }

  it('shows the new one, keeps the old one when the new one is broken', async () => {
    const { env, folder, unprivileged } = production()
    const put = (name: string): void => {
      writeFileSync(join(folder, 'tls.crt'), readFileSync(join(ROOT, `test/tls/${name}.crt`)))
      writeFileSync(join(folder, 'tls.key'), readFileSync(join(ROOT, `test/tls/${name}.key`)))
    }
    put('server')
    const server = await startServer({
      env: {
        ...env,
        MCP_TLS_CERT_FILE: join(folder, 'tls.crt'),
        MCP_TLS_KEY_FILE: join(folder, 'tls.key'),
      },
      ...unprivileged,
    })
    const before = await fingerprint(server.port)
    writeFileSync(join(folder, 'tls.crt'), 'not a certificate')
    await server.recorded((record) => isReload(record) && record.status_code === 'refused')
    expect(await fingerprint(server.port)).toBe(before)

    put('client')
    await server.recorded((record) => isReload(record) && record.status_code === 'applied')
    expect(await fingerprint(server.port)).not.toBe(before)
  })

  it('lets in clients of other authorities, and those of the old ones no more', async () => {
    const { env, folder, unprivileged } = production()
    const fileOf = (name: string): string => join(ROOT, 'test/tls', name)
    const authorities = join(folder, 'clients.crt')
    writeFileSync(authorities, readFileSync(fileOf('stranger.crt')))
    for (const name of ['server.crt', 'server.key']) {
      writeFileSync(join(folder, name), readFileSync(fileOf(name)))
    }
    const server = await startServer({
      env: {
        ...env,
        MCP_TLS_CERT_FILE: join(folder, 'server.crt'),
        MCP_TLS_KEY_FILE: join(folder, 'server.key'),
        MCP_TLS_CLIENT_CA_FILE: authorities,
      },
      ...unprivileged,
    })
    /** Whether the holder of this certificate gets an answer, whatever it is. */
    async function isLetIn(name: string): Promise<boolean> {
      const [cert, key] = [readFileSync(fileOf(`${name}.crt`)), readFileSync(fileOf(`${name}.key`))]
      using connection = connect({ ...server, tls: { cert, key, rejectUnauthorized: false } })
      connection.write('GET / HTTP/1.1\r\nHost: mcp.example.com\r\nConnection: close\r\n\r\n')
      return (await connection.closed()) !== ''
    }
    expect([await isLetIn('stranger'), await isLetIn('client')]).toEqual([true, false])

    writeFileSync(authorities, readFileSync(fileOf('ca.crt')))
    await server.recorded((record) => isReload(record) && record.status_code === 'applied')
    expect([await isLetIn('stranger'), await isLetIn('client')]).toEqual([false, true])
  })
})
