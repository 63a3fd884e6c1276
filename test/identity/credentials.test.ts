// optional: api-key
import { createHash } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { generateKey } from '../../src/auth/api-key.ts'
import { keys } from '../../src/cli/keys.ts'
import type { DenyReason } from '../../src/errors.ts'
import { callOf, type Server, startServer, stopServers } from '../server.ts'
import {
  type Attempt,
  attempt,
  BEHIND_PROXY,
  CANARY,
  type ExpectedRefusal,
  eventOf,
  expectRefused,
  NO_LIMITS,
  recordsOf,
  resultOf,
} from './attempt.ts'

const DAY_MS = 86_400_000
const folder = mkdtempSync(join(tmpdir(), 'gatehouse-identity-'))
const file = join(folder, 'keys.json')
/** Live keys: one that may do little, one that may do everything. */
const low = createKey('low', 'mcp:use')
const admin = createKey('admin', 'mcp:use documents:process reports:read reports:delete')
const revoked = createKey('revoked', 'mcp:use')
const foreign = createKey('foreign', 'mcp:use')
const expired = createKey('expired', 'mcp:use', Date.now() - 2 * DAY_MS)

let server: Server
/** Takes keys in `X-API-Key` as well. */
let withHeader: Server
/** Trusts no proxy. */
let direct: Server
beforeAll(async () => {
  changeKey('revoked', { revokedAt: new Date().toISOString() })
  changeKey('foreign', { allowedCidrs: ['203.0.113.0/24'] })
  const options = { env: { ...BEHIND_PROXY, MCP_API_KEYS_FILE: file }, policies: NO_LIMITS }
  server = await startServer(options)
  direct = await startServer({ ...options, env: { MCP_API_KEYS_FILE: file } })
  withHeader = await startServer({
    ...options,
    policies: [...NO_LIMITS, ['auth.yaml', 'header: null', 'header: X-API-Key']],
  })
})
afterAll(async () => {
  await stopServers()
  rmSync(folder, { recursive: true })
})

/** Makes a key of one day with the command that operators use. */
function createKey(subject: string, scopes: string, nowMs = Date.now()): string {
  let out = ''
  const terminal = {
    out: (text: string) => {
      out += text
    },
    err: () => undefined,
  }
  const args = ['--file', file, '--name', subject, '--scopes', scopes, '--days', '1']
  expect(keys(['create', ...args], terminal, nowMs)).toBe(0)
  return out.trim()
}

function changeKey(name: string, change: object): void {
  const { keys: records } = JSON.parse(readFileSync(file, 'utf8'))
  const changed = records.map((record: { name: string }) =>
    record.name === name ? { ...record, ...change } : record,
  )
  writeFileSync(file, JSON.stringify({ keys: changed }))
}

/** A key with a checksum that is right, whatever its other parts are. */
function assembled(id: string, secret: string): string {
  const body = `mcpk_${id}_${secret}`
  return `${body}_${createHash('sha256').update(body).digest('base64url').slice(0, 6)}`
}

const [, lowId = '', lowSecret = ''] = /^mcpk_(\w{12})_(.{43})_/.exec(low) ?? []
const [, adminId = '', adminSecret = ''] = /^mcpk_(\w{12})_(.{43})_/.exec(admin) ?? []
/** Ids are public: the trail and the log name keys by them. */
const SECRETS = [lowSecret, adminSecret]
const bearer = (token: string): string => `Authorization: Bearer ${token}`

async function refuses(
  at: Server,
  lines: readonly string[],
  expected: ExpectedRefusal,
): Promise<void> {
  const answer = await attempt(at, { lines })
  await expectRefused(at, answer, { ...expected, secrets: SECRETS })
}

function messageOf(id: string | number, method: string): string {
  return JSON.stringify({ jsonrpc: '2.0', id, method })
}

const rejected = (cause: string): ExpectedRefusal => ({
  status: 401,
  reason: 'authenticate.rejected',
  cause,
})
const malformed: ExpectedRefusal = {
  status: 400,
  reason: 'authenticate.malformed',
  cause: 'shape',
}
const unread = (reason: DenyReason): ExpectedRefusal => ({ status: 400, reason })
const missing: ExpectedRefusal = { status: 401, reason: 'authenticate.missing' }

describe('contract: a live key', () => {
  it.each([
    ['the scheme as registered', bearer(low)],
    ['the scheme in lower case', `authorization: bearer ${low}`],
    ['the scheme in upper case', `AUTHORIZATION: BEARER ${low}`],
    ['two spaces after the scheme', `Authorization: Bearer  ${low}`],
    ['white space around the value', `Authorization: \t Bearer ${low} \t`],
  ])('is let through with %s', async (_name, line) => {
    const answer = await attempt(server, { lines: [line] })
    expect(resultOf(answer)).toMatchObject({
      kind: 'api-key',
      issuer: 'gatehouse',
      subject: 'low',
      scopes: ['mcp:use'],
    })
    const events = (await recordsOf(server, answer)).map(eventOf)
    expect(events).toEqual(['decision', 'outcome', 'request'])
  })

  it('is let through in the header that policy names', async () => {
    for (const line of [`X-API-Key: ${low}`, bearer(low)]) {
      const answer = await attempt(withHeader, { lines: [line] })
      expect(resultOf(answer)).toMatchObject({ kind: 'api-key', subject: 'low' })
    }
  })
})

describe('threat: a key that is guessed, changed, dead or of somewhere else', () => {
  const flipped = low.at(-1) === 'A' ? 'B' : 'A'
  it.each([
    ['a typing error in the checksum', 'checksum', low.slice(0, -1) + flipped],
    ['a typing error in the secret', 'checksum', low.replace(lowSecret, `${lowSecret.slice(1)}A`)],
    ['the id of another key', 'checksum', low.replace(lowId, adminId)],
    ['the id of another key with its checksum', 'unknown', assembled(adminId, lowSecret)],
    ['another secret with its checksum', 'unknown', assembled(lowId, adminSecret)],
    ['an id that nobody has', 'unknown', assembled('a'.repeat(12), lowSecret)],
    ['a secret of zeros', 'unknown', assembled(lowId, 'A'.repeat(43))],
    ['a key of another file', 'unknown', generateKey().key],
    ['a revoked key', 'revoked', revoked],
    ['an expired key', 'expired', expired],
    ['a key of a foreign network', 'address', foreign],
    ['a truncated key', 'shape', low.slice(0, -1)],
    ['a key without its checksum', 'shape', low.slice(0, -7)],
    ['a key without its secret', 'shape', `mcpk_${lowId}`],
    ['the prefix alone', 'shape', 'mcpk_'],
    ['a key in capitals', 'shape', low.toUpperCase()],
    ['the prefix in capitals', 'shape', low.replace('mcpk', 'MCPK')],
    ['the id in capitals', 'shape', low.replace(lowId, lowId.toUpperCase())],
    ['something in front', 'shape', `x${low}`],
    ['something behind', 'shape', `${low}x`],
    ['padding behind', 'shape', `${low}==`],
    ['two keys as one', 'shape', `${low}${admin}`],
    ['a dot between two keys', 'shape', `${low}.${admin}`],
    ['its digest, as the file has it', 'shape', createHash('sha256').update(low).digest('hex')],
    ['id __proto__', 'shape', low.replace(lowId, '__proto__')],
    ['id constructor', 'shape', low.replace(lowId, 'constructor')],
    ['an asterisk', 'shape', 'mcpk_~'],
  ])('refuses %s', async (_name, cause, key) => {
    await refuses(server, [bearer(key)], rejected(cause))
  })

  it.each([
    'X-Forwarded-For: 203.0.113.5',
    'X-Real-IP: 203.0.113.5',
    'Forwarded: for=203.0.113.5',
    'True-Client-IP: 203.0.113.5',
    'CF-Connecting-IP: 203.0.113.5',
  ])('does not take the word of a stranger for its network: %s', async (line) => {
    await refuses(direct, [bearer(foreign), line], rejected('address'))
  })
})

describe('threat: a credential that two parsers read differently, the wrong one is verified', () => {
  it.each<readonly [string, readonly string[], ExpectedRefusal]>([
    ['two headers', [bearer(low), bearer(admin)], unread('wire-guard.duplicate-header')],
    ['the same twice', [bearer(low), bearer(low)], unread('wire-guard.duplicate-header')],
    [
      'two headers in other case',
      [bearer(low), `AUTHORIZATION: Bearer ${admin}`],
      unread('wire-guard.duplicate-header'),
    ],
    ['an empty one first', ['Authorization:', bearer(low)], unread('wire-guard.duplicate-header')],
    ['two with a comma', [`${bearer(low)}, Bearer ${admin}`], malformed],
    ['two tokens with a comma', [`${bearer(low)},${admin}`], malformed],
    ['two tokens with a space', [`${bearer(low)} ${admin}`], malformed],
    ['an empty value', ['Authorization:'], malformed],
    ['the scheme alone', ['Authorization: Bearer'], malformed],
    ['a tab after the scheme', [`Authorization: Bearer\t${low}`], malformed],
    ['a tab inside', [`${bearer(low)}\tx`], malformed],
    ['a colon after the scheme', [`Authorization: Bearer: ${low}`], malformed],
    ['a parameter behind', [`${bearer(low)}; a=b`], malformed],
    ['quotation marks', [`Authorization: Bearer "${low}"`], malformed],
    ['the scheme twice', [`Authorization: Bearer Bearer ${low}`], malformed],
    ['a letter beyond ASCII', [`${bearer(low)}\u00e9`], malformed],
    ['a space that does not break', [`Authorization: Bearer\u00a0${low}`], malformed],
    ['a letter that looks alike', [`Authorization: B\u0435arer ${low}`], malformed],
    ['an escape sequence', [`${bearer(low)}\u001b[2J`], unread('listen.malformed')],
    ['a null byte', [`${bearer(low)}\0`], unread('listen.malformed')],
    ['a null byte in the name', [`Authorization\0: Bearer ${low}`], unread('listen.malformed')],
    ['a line break alone', [`${bearer(low)}\rX-Admin: 1`], unread('listen.malformed')],
    ['a folded line', ['Authorization: Bearer', ` ${low}`], unread('listen.malformed')],
    ['a space before the colon', [`Authorization : Bearer ${low}`], unread('listen.malformed')],
    ['9 KiB', [bearer('a'.repeat(9216))], rejected('shape')],
    ['no scheme', [`Authorization: ${low}`], rejected('shape')],
    ['Basic', [`Authorization: Basic ${btoa(`${CANARY}:${CANARY}`)}`], rejected('shape')],
    ['a key as Basic', [`Authorization: Basic ${btoa(`${low}:`)}`], rejected('shape')],
    ['Digest', [`Authorization: Digest username="${CANARY}"`], rejected('shape')],
    ['Negotiate', ['Authorization: Negotiate YIIZ'], rejected('shape')],
    ['DPoP', [`Authorization: DPoP ${low}`], rejected('shape')],
    ['a scheme that ends alike', [`Authorization: XBearer ${low}`], rejected('shape')],
    ['a scheme that begins alike', [`Authorization: Bearer2 ${low}`], rejected('shape')],
  ])('refuses %s', async (_name, lines, expected) => {
    await refuses(server, lines, expected)
  })
})

describe('threat: a second place for credentials, it ends in logs or is checked less', () => {
  const jwt = 'eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiJ9.AAAA'

  it.each([
    ['X-API-Key while it is off', `X-API-Key: ${admin}`],
    ['a cookie', `Cookie: Authorization=Bearer ${admin}; access_token=${admin}`],
    ['Proxy-Authorization', `Proxy-Authorization: Bearer ${admin}`],
    ['X-Authorization', `X-Authorization: Bearer ${admin}`],
    ['X-Forwarded-Authorization', `X-Forwarded-Authorization: Bearer ${admin}`],
    ['X-Access-Token', `X-Access-Token: ${admin}`],
    ['a WebSocket protocol', `Sec-WebSocket-Protocol: bearer, ${admin}`],
  ])('sees no credential in %s', async (_name, line) => {
    await refuses(server, [line], missing)
    const answer = await attempt(server, { lines: [bearer(low), line] })
    expect(resultOf(answer)).toMatchObject({ subject: 'low' })
  })

  it.each(['access_token', 'token', 'api_key', 'key', 'Authorization'])(
    'refuses a key in the query, as %s, whoever sends it',
    async (name) => {
      for (const lines of [[], [bearer(low)]]) {
        const answer = await attempt(server, { lines, target: `/mcp?${name}=${admin}` })
        await expectRefused(server, answer, { ...unread('route.query'), secrets: SECRETS })
      }
    },
  )

  it.each<readonly [string, Attempt]>([
    ['the path', { method: 'GET', target: `/mcp/${admin}` }],
    ['a parameter of the path', { target: `/mcp;key=${admin}` }],
    ['the method', { lines: [bearer(low)], body: messageOf(1, admin) }],
    ['the id', { lines: [bearer(low)], body: messageOf(admin, 'canary') }],
    ['the id of a call', { lines: [bearer(low)], body: callOf('whoami', {}, admin) }],
  ])('keeps a key out of the trail and the log that comes in %s', async (_name, call) => {
    const answer = await attempt(server, call)
    expect(await recordsOf(server, answer)).not.toHaveLength(0)
    expect(server.stdout() + server.stderr()).not.toContain(adminSecret)
  })

  it.each([
    ['form fields', `access_token=${admin}`],
    ['JSON', JSON.stringify({ access_token: admin, jsonrpc: '2.0', id: 1, method: 'ping' })],
  ])('does not look for a key in a body of %s', async (_name, body) => {
    const answer = await attempt(server, { body })
    await expectRefused(server, answer, { ...missing, secrets: SECRETS })
  })

  it.each<readonly [string, readonly string[], ExpectedRefusal]>([
    ['a JWT', [`X-API-Key: ${jwt}`], rejected('shape')],
    ['a scheme and a key', [`X-API-Key: Bearer ${low}`], rejected('shape')],
    ['nothing', ['X-API-Key:'], malformed],
    ['two keys', [`X-API-Key: ${low}, ${admin}`], rejected('shape')],
    [
      'a key beside a token',
      [`X-API-Key: ${low}`, bearer(jwt)],
      { status: 400, reason: 'authenticate.two-credentials', cause: 'shape' },
    ],
    [
      'the same key in both',
      [`X-API-Key: ${low}`, bearer(low)],
      { status: 400, reason: 'authenticate.two-credentials', cause: 'shape' },
    ],
    [
      'a key twice',
      [`X-API-Key: ${low}`, `X-API-Key: ${low}`],
      unread('wire-guard.duplicate-header'),
    ],
  ])('refuses %s in the header that policy names', async (_name, lines, expected) => {
    await refuses(withHeader, lines, expected)
  })
})

describe('threat: a confused deputy, what a proxy may say is believed of anybody', () => {
  it.each([
    'X-Forwarded-User: admin',
    'X-Forwarded-Email: admin@example.com',
    'X-Forwarded-Groups: admin',
    'X-Remote-User: admin',
    'Remote-User: admin',
    'X-Auth-Request-User: admin',
    'X-WEBAUTH-USER: admin',
    'X-MS-CLIENT-PRINCIPAL: eyJ1c2VySWQiOiJhZG1pbiJ9',
    'X-Amzn-Oidc-Identity: admin',
    'X-Goog-Authenticated-User-Email: accounts.google.com:admin@example.com',
    'X-SSL-Client-Verify: SUCCESS',
    'X-SSL-Client-S-DN: CN=admin',
    'X-Client-Cert: MIIB',
    'X-Forwarded-Client-Cert: Subject="CN=admin"',
    'X-ARR-ClientCert: MIIB',
    'X-Original-URL: /.well-known/oauth-protected-resource',
    'X-Rewrite-URL: /.well-known/oauth-protected-resource',
    'X-Forwarded-Uri: /livez',
    'X-Forwarded-Prefix: /.well-known',
    'X-HTTP-Method-Override: GET',
    'X-Forwarded-For: 127.0.0.1',
    'X-Forwarded-Host: localhost',
    'X-Forwarded-Proto: https',
    'User-Agent: kube-probe/1.31',
    'User-Agent: GoogleHC/1.0',
    'Mcp-Session-Id: 00000000-0000-0000-0000-000000000000',
    'Last-Event-ID: 1',
    `Cookie: session=${CANARY}`,
  ])('is not impressed by %s', async (line) => {
    await refuses(server, [line], missing)
    const answer = await attempt(server, { lines: [bearer(low), line] })
    expect(resultOf(answer)).toMatchObject({ subject: 'low', scopes: ['mcp:use'] })
  })

  it.each([
    ['_meta', { name: 'whoami', arguments: {}, _meta: { authorization: `Bearer ${admin}` } }],
    ['_meta as a principal', { name: 'whoami', arguments: {}, _meta: { authInfo: { admin } } }],
    ['the parameters', { name: 'whoami', arguments: {}, authInfo: { token: admin } }],
  ])('takes nobody for another because of %s', async (_name, params) => {
    const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params })
    const nobody = await attempt(server, { body })
    await expectRefused(server, nobody, { ...missing, secrets: SECRETS })
    const answer = await attempt(server, { lines: [bearer(low)], body })
    expect(resultOf(answer)).toMatchObject({ subject: 'low', scopes: ['mcp:use'] })
    expect(answer.body + server.stdout() + server.stderr()).not.toContain(adminSecret)
  })

  it('does not run a tool whose arguments carry a key that it did not ask for', async () => {
    const body = callOf('whoami', { authorization: `Bearer ${admin}` })
    const answer = await attempt(server, { lines: [bearer(low)], body })
    expect(answer.body).toContain('"isError":true')
    const id = answer.headers.get('x-request-id')
    const outcome = await server.recorded(
      (record) => eventOf(record) === 'outcome' && record.metadata.correlation_uid === id,
    )
    expect(outcome.status_code).toBe('not-run')
    expect(answer.body + server.stdout() + server.stderr()).not.toContain(adminSecret)
  })
})
