// optional: introspection
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import type { RequestListener } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { authPolicy } from '../../src/policy-schemas.ts'
import { META, PUBLIC_URL, testApp } from '../app.ts'
import { testClock } from '../clock.ts'
import { json } from '../http-server.ts'
import type { RawAnswer } from '../raw-http.ts'
import { type PolicyEdit, type Server, spawnServer, startServer, stopServers } from '../server.ts'
import {
  attempt,
  BEHIND_PROXY,
  CANARY,
  eventOf,
  expectRefused,
  NO_LIMITS,
  recordsOf,
  resultOf,
} from './attempt.ts'
import { startAuthorizationServer } from './authorization-server.ts'
import { person } from './browser.ts'
import { type IntrospectionServer, startIntrospectionServer } from './introspection-server.ts'
import { type Issuer, jws, type Members, signingKey, startIssuer } from './issuer.ts'
import { oauthClient } from './oauth-client.ts'
import { bearer, NOW } from './target.ts'

const CLIENT = { clientId: 'gate:house', clientSecret: `${CANARY} s&cret+%3A` }

const folder = mkdtempSync(join(tmpdir(), 'gatehouse-introspection-'))
afterAll(() => rmSync(folder, { recursive: true }))

/** A file with this text. */
function fileOf(text: string): string {
  const file = join(mkdtempSync(join(folder, 'secret-')), 'secret')
  writeFileSync(file, text)
  return file
}

/** One that is asked about its tokens. */
function asked(issuer: { readonly url: string }, introspection: object): object {
  return { issuer: issuer.url, verification: 'introspection', introspection, why: 'of the test' }
}

function issuers(...entries: readonly object[]): PolicyEdit {
  return ['auth.yaml', 'issuers: []', `issuers: ${JSON.stringify(entries)}`]
}

/** Nothing is remembered. */
const FORGETFUL: readonly PolicyEdit[] = [
  ...NO_LIMITS,
  ['auth.yaml', 'verificationCacheSeconds: 60', 'verificationCacheSeconds: 0'],
]

describe('an issuer that is asked, beside one whose tokens are JWTs', () => {
  let opaque: IntrospectionServer
  let signing: Issuer
  let server: Server
  let count = 0

  beforeAll(async () => {
    opaque = await startIntrospectionServer()
    signing = await startIssuer()
    const { clientId, clientSecret } = CLIENT
    const { endpoint } = opaque
    const clientSecretFile = fileOf(`${clientSecret}\n`)
    server = await startServer({
      env: BEHIND_PROXY,
      policies: [
        ...NO_LIMITS,
        ['auth.yaml', 'timeoutMs: 3000', 'timeoutMs: 500'],
        ['auth.yaml', 'cooldownSeconds: 30', 'cooldownSeconds: 1'],
        issuers(asked(opaque, { endpoint, clientId, clientSecretFile }), {
          issuer: signing.url,
          why: 'of the test',
        }),
      ],
    })
  })
  beforeEach(() => {
    opaque.always = undefined
  })
  afterAll(async () => {
    await stopServers()
    await Promise.all([opaque.down(), signing.down()])
  })

  /** Says this of a new token. */
  function tokenWith(members: Members): string {
    count += 1
    const token = `${CANARY}-${count}`
    const said = { active: true, aud: server.url, sub: 'user-1', scope: 'mcp:use', exp: NOW + 600 }
    opaque.answers.set(token, json({ ...said, ...members }))
    return token
  }

  async function refuses(cause: string, token: string): Promise<void> {
    const answer = await attempt(server, bearer(token))
    const secrets = [token, CLIENT.clientSecret, authorizationOf(opaque).slice(6)]
    await expectRefused(server, answer, {
      status: 401,
      reason: 'authenticate.rejected',
      cause,
      secrets,
    })
  }

  async function expectUnavailable(answer: RawAnswer): Promise<void> {
    expect(answer.status).toBe(503)
    expect(answer.body).toBe(
      '{"jsonrpc":"2.0","error":{"code":-32603,"message":"Temporarily unavailable"}}',
    )
    expect(answer.headers.get('retry-after')).toBe('1')
    expect(answer.headers.has('www-authenticate')).toBe(false)
    const reason = 'authenticate.introspection-unavailable'
    const records = await recordsOf(server, answer)
    expect(records.map((r) => [eventOf(r), r.status_detail])).toEqual([
      ['authn.fail', reason],
      ['request', reason],
    ])
    expect(server.stdout() + server.stderr()).not.toContain(CANARY)
  }

  describe('contract: opaque tokens of one issuer and JWTs of others', () => {
    it('serves whom the issuer vouches for', async () => {
      const token = tokenWith({ client_id: 'client-1', token_type: 'Bearer', iat: NOW })
      expect(resultOf(await attempt(server, bearer(token)))).toEqual({
        kind: 'oauth',
        issuer: opaque.url,
        client: 'client-1',
        subject: 'user-1',
        scopes: ['mcp:use'],
        roles: [],
        tenant: null,
      })
      expect(server.stdout() + server.stderr()).not.toContain(CANARY)
    })

    it('authenticates byte for byte as RFC 6749 §2.3.1 says', async () => {
      await attempt(server, bearer(tokenWith({})))
      const pair = `gate%3Ahouse:${CANARY}+s%26cret%2B%253A`
      expect(authorizationOf(opaque)).toBe(basic(pair))
    })

    it('names both issuers to clients', async () => {
      const { port } = server
      const url = `http://127.0.0.1:${port}/.well-known/oauth-protected-resource/mcp`
      const document = await (await fetch(url)).json()
      expect(document).toMatchObject({ authorization_servers: [opaque.url, signing.url] })
    })

    it('verifies JWTs and keys as before, and never sends them to the issuer', async () => {
      const before = opaque.questions.length
      const claims = { iss: signing.url, aud: server.url, sub: 'user-2', scope: 'mcp:use' }
      const { alg, kid } = signing.key
      const header = { alg, kid, typ: 'at+jwt' }
      const token = jws(signing.key, header, { ...claims, iat: NOW, exp: NOW + 600 })
      expect(resultOf(await attempt(server, bearer(token)))).toMatchObject({ subject: 'user-2' })
      expect(resultOf(await attempt(server, bearer(server.key)))).toMatchObject({ kind: 'api-key' })
      const forged = jws(signingKey('ES256', kid), header, { ...claims, iat: NOW, exp: NOW + 600 })
      expect((await attempt(server, bearer(forged))).status).toBe(401)
      expect((await attempt(server, bearer(`${server.key.slice(0, -1)}_`))).status).toBe(401)
      expect(opaque.questions).toHaveLength(before)
    })

    it('asks about a JWT of the issuer that is asked', async () => {
      const token = jws(signing.key, { alg: 'ES256' }, { iss: opaque.url, sub: 'admin' })
      await refuses('inactive', token)
      const said = { active: true, aud: server.url, sub: 'user-3', scope: 'mcp:use', exp: NOW + 60 }
      const good = jws(signing.key, { alg: 'ES256' }, { iss: opaque.url, sub: 'admin', jti: 'x' })
      opaque.answers.set(good, json(said))
      expect(resultOf(await attempt(server, bearer(good)))).toMatchObject({ subject: 'user-3' })
    })
  })

  describe('threat: a token that the issuer does not vouch for, or not for this server', () => {
    it.each<[string, string, (url: string) => Members]>([
      ['an inactive token', 'inactive', () => ({ active: false })],
      ['active as a string', 'inactive', () => ({ active: 'true' })],
      ['active as 1', 'inactive', () => ({ active: 1 })],
      ['no audience', 'audience', () => ({ aud: undefined })],
      ['another audience', 'audience', () => ({ aud: 'https://other.example/mcp' })],
      ['a prefix of the audience', 'audience', (url) => ({ aud: url.slice(0, -1) })],
      ['the audience as a prefix', 'audience', (url) => ({ aud: `${url}/` })],
      ['a list of other audiences', 'audience', (url) => ({ aud: [`${url}2`, 'constructor'] })],
      ['no end', 'claims', () => ({ exp: undefined })],
      ['an end as a string', 'claims', () => ({ exp: String(NOW + 600) })],
      ['an end with a fraction', 'claims', () => ({ exp: NOW + 0.5 })],
      ['an end that has passed', 'expired', () => ({ exp: NOW - 60 })],
      ['an end beyond the longest lifetime', 'lifetime', () => ({ exp: NOW + 1e6 })],
      ['another issuer', 'issuer', () => ({ iss: 'https://evil.example' })],
      ['the other issuer of policy', 'issuer', () => ({ iss: signing.url })],
      ['a beginning that has not come', 'not-yet-valid', () => ({ nbf: NOW + 600 })],
      ['no subject', 'claims', () => ({ sub: undefined })],
      ['a bound token', 'sender-constrained', () => ({ cnf: { jkt: 'x'.repeat(43) } })],
      ['a refresh token', 'type', () => ({ token_type: 'refresh_token' })],
      ['an ID token', 'type', () => ({ typ: 'ID' })],
    ])('refuses %s', async (_name, cause, members) => {
      await refuses(cause, tokenWith(members(server.url)))
    })

    it('refuses what nobody has issued, like all the others', async () => {
      await refuses('inactive', `${CANARY}-nobody`)
    })
  })

  describe('threat: an outage of the issuer, callers are told that their tokens are bad', () => {
    /** At last: a failure is over after a second. */
    async function expectServed(token: string): Promise<void> {
      const status = async (): Promise<number> => (await attempt(server, bearer(token))).status
      await expect.poll(status, { interval: 200, timeout: 5000 }).toBe(200)
    }

    const lies: readonly (readonly [string, RequestListener])[] = [
      ['an error', (_request, response) => response.writeHead(500).end()],
      ['a redirect', (_request, response) => response.writeHead(302, { location: '/x' }).end()],
      ['no answer', () => undefined],
      ['nothing about active', json({ error: 'server_error' })],
    ]

    it.each(lies)('answers 503 on %s, and the token is good right after', async (_name, lie) => {
      const token = tokenWith({})
      opaque.always = lie
      await expectUnavailable(await attempt(server, bearer(token)))
      opaque.always = undefined
      await expectServed(token)
    })

    it('goes on with what it remembers while it is down, stays ready, and recovers', async () => {
      const [known, unknown] = [tokenWith({}), tokenWith({})]
      expect((await attempt(server, bearer(known))).status).toBe(200)
      await opaque.down()
      await expectUnavailable(await attempt(server, bearer(unknown)))
      expect((await attempt(server, bearer(known))).status).toBe(200)
      expect(resultOf(await attempt(server, bearer(server.key)))).toMatchObject({ kind: 'api-key' })
      expect((await fetch(`${server.adminUrl}/readyz`)).status).toBe(200)
      expect(server.stderr()).toContain(`"reason":"network","issuer":"${opaque.url}"`)
      await opaque.up()
      await expectServed(unknown)
    })
  })
})

function basic(pair: string): string {
  return `Basic ${Buffer.from(pair).toString('base64')}`
}

function authorizationOf({ questions }: IntrospectionServer): string {
  return String(questions.at(-1)?.headers['authorization'])
}

describe('contract: a real authorization server with opaque tokens (oidc-provider)', () => {
  it('leads a client all the way; a revoked token and a refresh token are refused', async () => {
    await using issuer = await startAuthorizationServer({
      accessTokens: 'opaque',
      refreshTokens: 'everybody',
    })
    const { client_id: clientId, client_secret: clientSecret } = issuer.confidentialClient
    const endpoint = `${issuer.url}/token/introspection`
    const introspection = { endpoint, clientId, clientSecretFile: fileOf(clientSecret) }
    const server = await startServer({
      env: BEHIND_PROXY,
      policies: [...FORGETFUL, issuers(asked(issuer, introspection))],
    })
    const client = oauthClient({
      sdk: 'v2, 2026-07-28',
      url: server.url,
      person: person('alice'),
      client: { ...issuer.publicClient, issuer: issuer.url },
    })
    await client.connect()
    expect(await client.call('whoami')).toEqual({
      kind: 'oauth',
      issuer: issuer.url,
      client: issuer.publicClient.client_id,
      subject: 'alice',
      scopes: ['mcp:use'],
      roles: [],
      tenant: null,
    })
    await client.close()

    const { access_token: token = '', refresh_token: refreshToken = '' } = client.kept.tokens ?? {}
    expect(token).toMatch(/^[\w-]{20,}$/)
    expect((await attempt(server, bearer(token))).status).toBe(200)
    const options = { status: 401, reason: 'authenticate.rejected' } as const
    const secrets = [token, refreshToken, clientSecret]
    const refreshed = await attempt(server, bearer(refreshToken))
    await expectRefused(server, refreshed, { ...options, cause: 'audience', secrets })

    const form = { token, client_id: issuer.publicClient.client_id }
    const body = new URLSearchParams(form)
    const revoked = await fetch(`${issuer.url}/token/revocation`, { method: 'POST', body })
    expect(revoked.status).toBe(200)
    const answer = await attempt(server, bearer(token))
    await expectRefused(server, answer, { ...options, cause: 'inactive', secrets })
    await stopServers()
  })
})

describe('threat: a token that its issuer has revoked, whoever stole it keeps what is open', () => {
  it('ends the stream at the first look after the yes is forgotten: every 10 seconds', async () => {
    const opaque = await startIntrospectionServer()
    onTestFinished(() => opaque.down())
    const { endpoint } = opaque
    const clientSecretFile = fileOf(CLIENT.clientSecret)
    const entry = asked(opaque, { endpoint, clientId: CLIENT.clientId, clientSecretFile })
    const clock = testClock()
    const verificationCacheSeconds = 20
    const app = testApp({
      clock,
      policies: (policies) => ({
        ...policies,
        auth: authPolicy('development').parse({
          ...policies.auth,
          issuers: [entry],
          verificationCacheSeconds,
        }),
      }),
    })
    onTestFinished(() => app.close())
    const good = { active: true, aud: PUBLIC_URL, sub: 'user-1', scope: 'mcp:use', exp: NOW + 600 }
    opaque.answers.set(CANARY, json(good))
    const stream = await app.open({
      headers: { authorization: `Bearer ${CANARY}` },
      body: {
        jsonrpc: '2.0',
        id: 1,
        method: 'subscriptions/listen',
        params: { notifications: { toolsListChanged: true }, _meta: META },
      },
    })
    expect(stream.status).toBe(200)
    let isOpen = true
    const ended = stream.end().then(({ text }) => {
      isOpen = false
      return text
    })

    opaque.answers.delete(CANARY)
    const looks = verificationCacheSeconds / 10
    for (let look = 0; look < looks; look += 1) {
      clock.advance(10_000)
      await sleep(10)
    }
    clock.advance(9999)
    await sleep(10)
    expect([isOpen, opaque.asked(CANARY)]).toEqual([true, 1])
    clock.advance(1)
    expect(await ended).not.toContain('"result"')
    expect(opaque.asked(CANARY)).toBe(2)
  })
})

describe('contract: a client secret is replaced without a restart', () => {
  it('authenticates with the new one soon after its file has changed', async () => {
    const issuer = await startIntrospectionServer()
    const clientSecretFile = fileOf('old')
    const introspection = { endpoint: issuer.endpoint, clientId: 'gatehouse', clientSecretFile }
    const server = await startServer({
      env: BEHIND_PROXY,
      policies: [issuers(asked(issuer, introspection))],
    })
    await attempt(server, bearer(`${CANARY}-1`))
    expect(authorizationOf(issuer)).toBe(basic('gatehouse:old'))

    writeFileSync(clientSecretFile, 'new\n')
    await server.recorded((record) => eventOf(record) === 'keys.reload')
    await attempt(server, bearer(`${CANARY}-2`))
    expect(authorizationOf(issuer)).toBe(basic('gatehouse:new'))
    await stopServers()
    await issuer.down()
  })
})

describe('threat: a client secret that is broken, the server starts without or shows it', () => {
  afterAll(stopServers)

  it('does not start, and names the setting alone', async () => {
    const clientSecretFile = fileOf(`${CANARY}\n${CANARY}\n`)
    const introspection = { endpoint: 'https://a.example/i', clientId: 'a', clientSecretFile }
    const policies = [issuers(asked({ url: 'https://a.example' }, introspection))]
    const server = spawnServer({ policies })
    expect(await server.exited).toBe(78)
    const field = 'auth.yaml issuers.0.introspection.clientSecretFile'
    const message = 'must hold 1 to 4096 ASCII characters on one line'
    expect(server.stderr()).toBe(`Gatehouse cannot start:\n  ${field}: ${message}\n`)
  })
})
