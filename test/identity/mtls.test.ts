// optional: oauth
import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type ConnectionOptions, TLSSocket } from 'node:tls'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { connect, type RawAnswer } from '../raw-http.ts'
import { type PolicyEdit, type Server, spawnServer, startServer, stopServers } from '../server.ts'
import {
  attempt,
  BEHIND_PROXY,
  CANARY,
  eventOf,
  NO_LIMITS,
  recordsOf,
  resultOf,
} from './attempt.ts'
import { type Issuer, jws, type Members, startIssuer } from './issuer.ts'
import { bearer } from './target.ts'

const TLS = join(import.meta.dirname, '../tls')
const read = (name: string): string => readFileSync(join(TLS, name), 'utf8')
const folder = mkdtempSync(join(tmpdir(), 'gatehouse-mtls-'))
/** Trusts `client` through its authority, and `stranger` as an authority of its own. */
const authorities = join(folder, 'clients.crt')
writeFileSync(authorities, read('ca.crt') + read('stranger.crt'))

const NOW = Math.floor(Date.now() / 1000)
const TLS_FILES = {
  MCP_TLS_CERT_FILE: join(TLS, 'server.crt'),
  MCP_TLS_KEY_FILE: join(TLS, 'server.key'),
}

let issuer: Issuer
let plain: Issuer
let server: Server

beforeAll(async () => {
  ;[issuer, plain] = await Promise.all([startIssuer(), startIssuer()])
  server = await startServer({
    env: { ...BEHIND_PROXY, ...TLS_FILES, MCP_TLS_CLIENT_CA_FILE: authorities },
    policies: [...NO_LIMITS, issuersPolicy()],
  })
})
afterAll(async () => {
  await stopServers()
  await Promise.all([issuer.down(), plain.down()])
  rmSync(folder, { recursive: true })
})

function issuersPolicy(): PolicyEdit {
  const entries = [
    { issuer: issuer.url, senderConstraint: 'mtls', why: 'of the test' },
    { issuer: plain.url, why: 'of the test' },
  ]
  return ['auth.yaml', 'issuers: []', `issuers: ${JSON.stringify(entries)}`]
}

type Name = 'client' | 'stranger'

const der = (name: Name): Buffer => new X509Certificate(read(`${name}.crt`)).raw
function thumbprint(name: Name): string {
  const { fingerprint256 } = new X509Certificate(read(`${name}.crt`))
  return Buffer.from(fingerprint256.replaceAll(':', ''), 'hex').toString('base64url')
}

function tokenOf(changes: Members = {}, by = issuer): string {
  const header = { typ: 'at+jwt', alg: by.key.alg, kid: by.key.kid }
  return jws(by.key, header, {
    iss: by.url,
    aud: server.url,
    sub: 'user-1',
    client_id: 'client-1',
    scope: 'mcp:use',
    iat: NOW - 60,
    exp: NOW + 600,
    jti: 'token-1',
    cnf: { 'x5t#S256': thumbprint('client') },
    more: CANARY,
    ...changes,
  })
}

/** The server as somebody with this certificate reaches it. */
function as(name: Name, options: ConnectionOptions = {}): Server & { tls: ConnectionOptions } {
  const cert = read(`${name}.crt`)
  const key = read(`${name}.key`)
  return { ...server, tls: { ca: read('ca.crt'), cert, key, ...options } }
}

/** All of an answer but what is another in each. */
function constant({ status, headers, body }: RawAnswer): object {
  const { 'x-request-id': _id, date: _date, ...rest } = Object.fromEntries(headers)
  return { status, headers: rest, body }
}

/** The one answer to every bad credential, with this cause on record. */
async function expectRejected(answer: RawAnswer, cause: string, token: string): Promise<void> {
  expect(answer.status).toBe(401)
  expect(constant(answer)).toEqual(constant(await attempt(as('client'), bearer('garbage'))))
  const records = await recordsOf(server, answer)
  expect(records.map((r) => [eventOf(r), r.status_code, r.status_detail])).toEqual([
    ['authn.fail', cause, 'authenticate.rejected'],
    ['request', '401', 'authenticate.rejected'],
  ])
  const everything = `${answer.body}${[...answer.headers]}${server.stdout()}${server.stderr()}`
  for (const secret of [...token.split('.'), CANARY]) expect(everything).not.toContain(secret)
}

describe('contract: a token with the certificate that it is bound to', () => {
  it('is served', async () => {
    const answer = await attempt(as('client'), bearer(tokenOf()))
    expect(resultOf(answer)).toMatchObject({ issuer: issuer.url, subject: 'user-1' })
  })

  it('is served to whoever it names', async () => {
    const token = tokenOf({ cnf: { 'x5t#S256': thumbprint('stranger') } })
    expect((await attempt(as('stranger'), bearer(token))).status).toBe(200)
  })

  it('is no matter for other issuers and for keys', async () => {
    const token = tokenOf({ cnf: undefined }, plain)
    for (const credential of [token, server.key]) {
      for (const name of ['client', 'stranger'] as const) {
        expect((await attempt(as(name), bearer(credential))).status).toBe(200)
      }
    }
  })

  it('is announced in the public document', async () => {
    const target = '/.well-known/oauth-protected-resource/mcp'
    const answer = await attempt(as('client'), { method: 'GET', target })
    expect(JSON.parse(answer.body)).toMatchObject({
      tls_client_certificate_bound_access_tokens: true,
    })
  })
})

describe('threat: a stolen token, the thief has a certificate too', () => {
  it('refuses it with another certificate, also while it is remembered', async () => {
    const token = tokenOf()
    await expectRejected(await attempt(as('stranger'), bearer(token)), 'certificate', token)
    expect((await attempt(as('client'), bearer(token))).status).toBe(200)
    await expectRejected(await attempt(as('stranger'), bearer(token)), 'certificate', token)
    expect((await attempt(as('client'), bearer(token))).status).toBe(200)
  })

  it.each([
    ['x-client-cert', () => encodeURIComponent(read('client.crt'))],
    ['x-forwarded-client-cert', () => `Hash=${thumbprint('client')}`],
    ['client-cert', () => `:${der('client').toString('base64')}:`],
    ['x-ssl-cert', () => encodeURIComponent(read('client.crt'))],
  ])('does not believe the header %s', async (name, value) => {
    const token = tokenOf()
    const lines = [`Authorization: Bearer ${token}`, `${name}: ${value()}`]
    await expectRejected(await attempt(as('stranger'), { lines }), 'certificate', token)
  })

  it.each(['TLSv1.2', 'TLSv1.3'] as const)(
    'knows whose certificate it was in a resumed session of %s',
    async (version) => {
      const token = tokenOf()
      const only = { minVersion: version, maxVersion: version }
      const resumed = async (name: Name): Promise<Server & { tls: ConnectionOptions }> => {
        const target = as(name, { ...only, session: await sessionOf(as(name, only)) })
        using connection = connect(target)
        await once(connection.socket, 'secureConnect')
        const { socket } = connection
        expect(socket instanceof TLSSocket && socket.isSessionReused()).toBe(true)
        return target
      }
      expect((await attempt(await resumed('client'), bearer(token))).status).toBe(200)
      const answer = await attempt(await resumed('stranger'), bearer(token))
      await expectRejected(answer, 'certificate', token)
    },
  )

  it('has no connection for a caller without a certificate', async () => {
    using connection = connect({ port: server.port, tls: { ca: read('ca.crt') } })
    connection.write(`GET /mcp HTTP/1.1\r\nHost: 127.0.0.1:${server.port}\r\n\r\n`)
    await expect(connection.answer()).rejects.toThrow('Closed without an answer')
  })
})

describe('threat: a token that is bound to nothing, or to something else', () => {
  const right = thumbprint('client')
  const bytes = Buffer.from(right, 'base64url')

  it.each<[string, string, unknown]>([
    ['no binding', 'sender-constrained', undefined],
    ['a binding of null', 'sender-constrained', null],
    ['an empty binding', 'sender-constrained', {}],
    ['a list', 'sender-constrained', [{ 'x5t#S256': right }]],
    ['the thumbprint alone', 'sender-constrained', right],
    ['a DPoP key', 'sender-constrained', { jkt: right }],
    ['a DPoP key besides', 'sender-constrained', { 'x5t#S256': right, jkt: right }],
    ['something unknown besides', 'sender-constrained', { 'x5t#S256': right, kid: 'a' }],
    ['SHA-1', 'sender-constrained', { x5t: right }],
    ['another case', 'sender-constrained', { 'x5t#s256': right }],
    ['the whole certificate', 'sender-constrained', { x5c: [der('client').toString('base64')] }],
    ['a list of thumbprints', 'sender-constrained', { 'x5t#S256': [right] }],
    ['an empty thumbprint', 'sender-constrained', { 'x5t#S256': '' }],
    ['null for a thumbprint', 'sender-constrained', { 'x5t#S256': null }],
    ['undefined in words', 'sender-constrained', { 'x5t#S256': 'undefined' }],
    ['padding', 'sender-constrained', { 'x5t#S256': `${right}=` }],
    ['base64', 'sender-constrained', { 'x5t#S256': bytes.toString('base64') }],
    ['hex', 'sender-constrained', { 'x5t#S256': bytes.toString('hex') }],
    ['hex with colons', 'sender-constrained', { 'x5t#S256': fingerprint('client') }],
    ['a prefix', 'sender-constrained', { 'x5t#S256': right.slice(0, -1) }],
    ['a letter more', 'sender-constrained', { 'x5t#S256': `${right}A` }],
    ['a line break after it', 'sender-constrained', { 'x5t#S256': `${right}\n` }],
    ['the certificate of somebody else', 'certificate', { 'x5t#S256': thumbprint('stranger') }],
    ['the certificate of the server', 'certificate', { 'x5t#S256': serverThumbprint() }],
    ['zeros', 'certificate', { 'x5t#S256': 'A'.repeat(43) }],
  ])('refuses a token with %s', async (_name, cause, cnf) => {
    const token = tokenOf({ cnf })
    await expectRejected(await attempt(as('client'), bearer(token)), cause, token)
  })

  it('refuses it with the scheme DPoP', async () => {
    const token = tokenOf()
    const answer = await attempt(as('client'), { lines: [`Authorization: DPoP ${token}`] })
    await expectRejected(answer, 'sender-constrained', token)
  })

  it('refuses the binding of an issuer that is not to bind any', async () => {
    const token = tokenOf({}, plain)
    await expectRejected(await attempt(as('client'), bearer(token)), 'sender-constrained', token)
  })
})

describe('threat: a policy that nothing can fulfil, everybody or nobody would pass', () => {
  it.each<[string, Record<string, string>]>([
    ['without TLS', {}],
    ['with TLS that asks for no certificate', TLS_FILES],
  ])('does not start %s', async (_name, env) => {
    const refused = spawnServer({ env, policies: [issuersPolicy()] })
    expect(await refused.exited).toBe(78)
    expect(refused.stderr()).toContain('MCP_TLS_CLIENT_CA_FILE: is needed by')
  })
})

function fingerprint(name: Name): string {
  return new X509Certificate(read(`${name}.crt`)).fingerprint256
}

function serverThumbprint(): string {
  const { fingerprint256 } = new X509Certificate(read('server.crt'))
  return Buffer.from(fingerprint256.replaceAll(':', ''), 'hex').toString('base64url')
}

/** A TLS session that can be resumed, made by a whole handshake and one call. */
async function sessionOf(target: Server & { tls: ConnectionOptions }): Promise<Buffer> {
  using connection = connect(target)
  const session = once(connection.socket, 'session')
  connection.write(`GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:${target.port}\r\n\r\n`)
  await connection.answer()
  const [bytes] = await session
  return bytes
}
