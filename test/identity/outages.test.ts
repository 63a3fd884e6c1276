// optional: oauth
import { generateKeyPairSync } from 'node:crypto'
import type { RequestListener, ServerResponse } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { authPolicy } from '../../src/policy-schemas.ts'
import { PUBLIC_URL, type TestApp, type TestResponse, testApp } from '../app.ts'
import { type TestClock, testClock } from '../clock.ts'
import { expectRefused } from '../expect-refused.ts'
import { httpServer, json, type TestServer } from '../http-server.ts'
import type { RawAnswer } from '../raw-http.ts'
import { type PolicyEdit, type Server, startServer, stopServers } from '../server.ts'
import {
  attempt,
  BEHIND_PROXY,
  CANARY,
  eventOf,
  NO_LIMITS,
  recordsOf,
  resultOf,
} from './attempt.ts'
import {
  type Issuer,
  jwksOf,
  jws,
  METADATA_PATH,
  type Members,
  metadataOf,
  type SigningKey,
  signingKey,
  startIssuer,
} from './issuer.ts'
import { bearer, issuersPolicy, NOW } from './target.ts'

const COOLDOWN_MS = 1000
/** Each call is verified anew, by keys that may be fetched again after a second. */
const IMPATIENT: readonly PolicyEdit[] = [
  ...NO_LIMITS,
  ['auth.yaml', 'verificationCacheSeconds: 60', 'verificationCacheSeconds: 0'],
  ['auth.yaml', 'cooldownSeconds: 30', `cooldownSeconds: ${COOLDOWN_MS / 1000}`],
  ['auth.yaml', 'timeoutMs: 3000', 'timeoutMs: 800'],
]

afterAll(stopServers)

async function issuerOfTest(): Promise<Issuer> {
  const issuer = await startIssuer()
  onTestFinished(() => issuer.down())
  return issuer
}

async function serverFor(
  issuers: readonly { readonly url: string }[],
  edits = IMPATIENT,
): Promise<Server> {
  const server = await startServer({
    env: BEHIND_PROXY,
    policies: [...edits, issuersPolicy(issuers)],
  })
  onTestFinished(async () => {
    await server.stop('SIGKILL')
  })
  return server
}

function tokenOf(iss: string, key: SigningKey, { url }: Server, changes: Members = {}): string {
  const times = { iat: NOW - 60, exp: NOW + 600 }
  const claims = { iss, aud: url, sub: 'user-1', scope: 'mcp:use', ...times }
  const { alg, kid } = key
  return jws(key, { alg, kid, typ: 'at+jwt' }, { ...claims, ...changes })
}

function call(server: Server, { url, key }: Issuer, changes: Members = {}): Promise<RawAnswer> {
  return attempt(server, bearer(tokenOf(url, key, server, changes)))
}

/** Waits until the server may fetch keys again: that time is what these tests are about. */
function cooldown(): Promise<void> {
  return sleep(COOLDOWN_MS + 50)
}

async function readiness({ adminUrl }: Server): Promise<readonly [number, unknown]> {
  const response = await fetch(`${adminUrl}/readyz`)
  return [response.status, await response.json()]
}

/** It is us, not the token: 503, when to come back, no challenge, nothing run, all on record. */
async function expectUnavailable(server: Server, answer: RawAnswer): Promise<void> {
  expect(answer.status).toBe(503)
  expect(answer.body).toBe(
    '{"jsonrpc":"2.0","error":{"code":-32603,"message":"Temporarily unavailable"}}',
  )
  expect(answer.headers.get('retry-after')).toBe('1')
  expect(answer.headers.has('www-authenticate')).toBe(false)
  const reason = 'authenticate.keys-unavailable'
  const records = await recordsOf(server, answer)
  expect(records.map((r) => [eventOf(r), r.status_detail])).toEqual([
    ['authn.fail', reason],
    ['request', reason],
  ])
  expect(server.stdout() + server.stderr()).not.toContain(CANARY)
}

describe('threat: an outage of the issuer, callers are told that their tokens are bad', () => {
  it('answers 503 while it is down from the start, serves keys, and recovers by itself', async () => {
    const issuer = await issuerOfTest()
    await issuer.down()
    const server = await serverFor([issuer])
    await expectUnavailable(server, await call(server, issuer))
    expect(resultOf(await attempt(server, bearer(server.key)))).toMatchObject({ kind: 'api-key' })
    // Whoever has a key can still be served.
    expect(await readiness(server)).toMatchObject([200, { issuers: 'unreachable' }])
    expect(server.stderr()).toContain(`"reason":"network","issuer":"${issuer.url}"`)

    await issuer.up()
    await cooldown()
    expect(resultOf(await call(server, issuer))).toMatchObject({ issuer: issuer.url })
    expect(await readiness(server)).toMatchObject([200, { issuers: 'ok' }])
  })

  it('is not ready while it could authenticate nobody', async () => {
    const issuer = await issuerOfTest()
    await issuer.down()
    const server = await serverFor(
      [issuer],
      [...IMPATIENT, ['auth.yaml', 'enabled: true', 'enabled: false']],
    )
    expect(await readiness(server)).toMatchObject([
      503,
      { authentication: 'nobody-can-authenticate' },
    ])
    await issuer.up()
    await cooldown() // The next fetch is begun in the background.
    await expect.poll(() => readiness(server)).toMatchObject([200, { authentication: 'ok' }])
  })

  it('goes on with the keys it has, and does not call an unknown key a bad token', async () => {
    const issuer = await issuerOfTest()
    const server = await serverFor([issuer])
    expect(resultOf(await call(server, issuer))).toMatchObject({ subject: 'user-1' })
    await issuer.down()
    await cooldown()
    const unknown = tokenOf(issuer.url, signingKey('ES256', 'unknown'), server)
    await expectUnavailable(server, await attempt(server, bearer(unknown)))
    for (const sub of ['user-2', 'user-3']) {
      expect(resultOf(await call(server, issuer, { sub }))).toMatchObject({ subject: sub })
    }
    const forged = tokenOf(issuer.url, signingKey('ES256', issuer.key.kid), server)
    expect((await attempt(server, bearer(forged))).status).toBe(401)
  })

  it('does not let one issuer that is down stop another', async () => {
    const [down, up] = [await issuerOfTest(), await issuerOfTest()]
    await down.down()
    const server = await serverFor([down, up])
    await expectUnavailable(server, await call(server, down))
    expect(resultOf(await call(server, up))).toMatchObject({ issuer: up.url })
  })
})

describe('threat: an outage of an hour, it locks everybody out or lets anybody in', () => {
  const LAST_USE_MS = (600 + 3600) * 1000
  const COOLDOWN_SECONDS = 30

  /** The whole app on a clock that is turned, with this issuer and the shipped policy for keys. */
  function appOn(time: TestClock, issuer: Issuer): TestApp {
    const app = testApp({
      clock: time,
      policies: (policies) => ({
        ...policies,
        auth: authPolicy('development').parse({
          ...policies.auth,
          issuers: [{ issuer: issuer.url, why: 'of the test' }],
        }),
      }),
    })
    onTestFinished(() => app.close())
    return app
  }

  it('serves on with the keys it has, asks once in a cool-down, then says 503, and recovers', async () => {
    const issuer = await issuerOfTest()
    const time = testClock()
    const startedMs = time.now()
    const app = appOn(time, issuer)
    const claims = { iss: issuer.url, aud: PUBLIC_URL, sub: 'user-1', scope: 'mcp:use' }
    const header = { alg: issuer.key.alg, typ: 'at+jwt' }
    const signed = (kid: string): string =>
      jws(issuer.key, { ...header, kid }, { ...claims, iat: NOW - 60, exp: NOW + 7200 })
    const known = signed(issuer.key.kid)
    const send = (token = known): Promise<TestResponse> =>
      app.send({ headers: { authorization: `Bearer ${token}` } })

    expect((await send()).status).toBe(200)
    const good: RequestListener = json({
      ...metadataOf(issuer.url),
      ...jwksOf(issuer.keys),
    })
    issuer.answerWith((_request, response) => response.writeHead(500).end())
    const before = issuer.requests.length
    while (time.now() - startedMs < LAST_USE_MS - COOLDOWN_SECONDS * 1000) {
      time.advance(COOLDOWN_SECONDS * 1000)
      expect((await send()).status).toBe(200)
      expect((await send(signed('unknown'))).status).toBe(503)
    }
    // Two places are asked for metadata each time.
    const places = 2
    const cooldowns = LAST_USE_MS / 1000 / COOLDOWN_SECONDS
    expect(issuer.requests.length - before).toBeGreaterThan(places)
    expect(issuer.requests.length - before).toBeLessThanOrEqual(places * cooldowns)

    // Verified a moment ago does not help.
    expect((await send()).status).toBe(200)
    time.advance(COOLDOWN_SECONDS * 1000)
    const response = await send()
    expectRefused(app, response, 503, 'authenticate.keys-unavailable')
    expect(Number(response.headers.get('retry-after'))).toBeGreaterThan(0)
    expect(Number(response.headers.get('retry-after'))).toBeLessThanOrEqual(COOLDOWN_SECONDS)
    expect(response.headers.has('www-authenticate')).toBe(false)
    expect((await app.send()).status).toBe(200)

    issuer.answerWith(good)
    time.advance(COOLDOWN_SECONDS * 1000)
    expect((await send()).status).toBe(200)
  })
})

describe('contract: keys are rotated without a restart', () => {
  it('refuses no call while old and new keys are published, and the old one once it is gone', async () => {
    const issuer = await issuerOfTest()
    const server = await serverFor([issuer])
    const old = tokenOf(issuer.url, issuer.key, server)
    expect((await attempt(server, bearer(old))).status).toBe(200)

    issuer.rotate()
    await cooldown()
    const calls = Array.from({ length: 20 }, (_, index) =>
      index % 2 === 0 ? call(server, issuer) : attempt(server, bearer(old)),
    )
    const statuses = (await Promise.all(calls)).map(({ status }) => status)
    expect(statuses).toEqual(statuses.map(() => 200))
    expect(issuer.fetches()).toBe(2)
    const changes = server.audited().filter((record) => eventOf(record) === 'jwks.change')
    expect(changes.map(({ unmapped }) => unmapped.jwks.key_ids.includes(issuer.key.kid))).toEqual([
      false,
      true,
    ])

    issuer.rotate('old keys')
    await cooldown()
    expect((await call(server, issuer)).status).toBe(200)
    const answer = await attempt(server, bearer(old))
    expect(answer.status).toBe(401)
    const [failed] = await recordsOf(server, answer)
    expect(failed.status_code).toBe('unknown')
  })
})

describe('threat: a flood of unknown key ids, this server is turned against the issuer', () => {
  it.each([
    ['serves', 401],
    ['fails', 503],
  ])('fetches at most once in a cool-down while the issuer %s', async (state, status) => {
    const issuer = await issuerOfTest()
    const server = await serverFor([issuer])
    expect((await call(server, issuer)).status).toBe(200)
    if (state === 'fails') issuer.answerWith((_request, response) => response.writeHead(500).end())
    await cooldown()

    const key = signingKey('ES256', '')
    const before = issuer.fetches()
    const startedMs = performance.now()
    const answers = await Promise.all(
      Array.from({ length: 100 }, (_, index) => {
        const token = tokenOf(issuer.url, { ...key, kid: `unknown-${index}` }, server)
        return attempt(server, bearer(token))
      }),
    )
    const cooldowns = Math.floor((performance.now() - startedMs) / COOLDOWN_MS)
    expect(new Set(answers.map((answer) => answer.status))).toEqual(new Set([status]))
    expect(issuer.fetches() - before).toBeGreaterThanOrEqual(1)
    expect(issuer.fetches() - before).toBeLessThanOrEqual(1 + cooldowns)
    expect((await call(server, issuer)).status).toBe(200)
  })
})

describe('threat: an issuer that lies, its keys or the server itself are taken over', () => {
  const good = signingKey('ES256', 'ES256')
  const { keys } = jwksOf([good])
  const [jwk = {}] = keys
  let liar: TestServer
  let server: Server
  /** Lies by the path of the issuer. Each is told for its key set, unless it is about metadata. */
  const lies = new Map<string, { metadata?: (issuer: string) => object; keys: RequestListener }>()

  const aboutKeys: readonly (readonly [string, RequestListener])[] = [
    ['an error', (_request, response) => response.writeHead(500).end()],
    ['keys with an error', (_request, response) => send(response, { keys }, 500)],
    ['keys that are only partial content', (_request, response) => send(response, { keys }, 206)],
    [
      'a redirect to the keys',
      (_request, response) => response.writeHead(302, { location: '/good' }).end(),
    ],
    ['a page', (_request, response) => response.setHeader('content-type', 'text/html').end('{}')],
    [
      'keys as a page',
      (_request, response) =>
        response.setHeader('content-type', 'text/html').end(JSON.stringify({ keys })),
    ],
    ['half of a document', (_request, response) => send(response, '{"keys":[')],
    ['members twice', (_request, response) => send(response, text(`{"keys":[],"keys":[`, `]}`))],
    ['300 KB', (_request, response) => send(response, { keys, x: 'x'.repeat(300_000) })],
    ['endless bytes', endless],
    ['no answer', () => undefined],
    ['an answer that breaks off', (_request, response) => response.destroy()],
    ['65 keys', json({ keys: Array(65).fill(jwk) })],
    ['no keys', json({ keys: [] })],
    ['keys in an object', json({ keys: { 0: jwk } })],
    ['a private key', json({ keys: [{ ...jwk, d: 'AAAA' }] })],
    ['a secret', json({ keys: [{ kty: 'oct', k: 'AAAA', alg: 'HS256', kid: 'ES256' }] })],
    ['a key for encryption', json({ keys: [{ ...jwk, use: 'enc' }] })],
    ['a key that is to sign alone', json({ keys: [{ ...jwk, key_ops: ['sign'] }] })],
    ['a key of another algorithm', json({ keys: [{ ...jwk, alg: 'ES256K' }] })],
    ['a point that is not on the curve', json({ keys: [{ ...jwk, x: 'A'.repeat(43) }] })],
    ['a short RSA key', json({ keys: [weakKey()] })],
  ]
  const aboutMetadata: readonly (readonly [string, (issuer: string) => object])[] = [
    ['another issuer', (issuer) => ({ ...metadataOf(issuer), issuer: `${issuer}/` })],
    ['no issuer', (issuer) => ({ ...metadataOf(issuer), issuer: undefined })],
    ['no place of keys', (issuer) => ({ issuer })],
    ['a file', (issuer) => ({ issuer, jwks_uri: 'file:///etc/passwd' })],
    ['data', (issuer) => ({ issuer, jwks_uri: `data:,${JSON.stringify({ keys })}` })],
    ['a private address', (issuer) => ({ issuer, jwks_uri: 'https://10.0.0.1/jwks' })],
    ['a cloud’s metadata', (issuer) => ({ issuer, jwks_uri: 'http://169.254.169.254/jwks' })],
    ['a relative address', (issuer) => ({ issuer, jwks_uri: '/good' })],
    ['an address with a user', (issuer) => ({ issuer, jwks_uri: withUser(issuer) })],
  ]

  beforeAll(async () => {
    liar = await httpServer((request, response) => {
      const { url = '' } = request
      const [, name = ''] = /(lie-\d+)/.exec(url) ?? []
      const lie = lies.get(name)
      if (url === '/good' || lie === undefined) return send(response, { keys })
      if (url.endsWith('/jwks')) return lie.keys(request, response)
      const issuer = `${liar.origin}/${name}`
      if (url !== `${METADATA_PATH}/${name}`) return response.writeHead(404).end()
      return send(response, lie.metadata?.(issuer) ?? metadataOf(issuer))
    })
    const told = [
      ...aboutKeys.map(([, answer]) => ({ keys: answer })),
      ...aboutMetadata.map(([, metadata]) => ({ metadata, keys: json({ keys }) })),
      { keys: json({ keys }) },
    ]
    told.forEach((lie, index) => {
      lies.set(`lie-${index}`, lie)
    })
    const issuers = [...lies.keys()].map((name) => ({ url: `${liar.origin}/${name}` }))
    server = await startServer({
      env: BEHIND_PROXY,
      policies: [...IMPATIENT, issuersPolicy(issuers)],
    })
  })
  afterAll(() => liar.down())

  const rows = [...aboutKeys, ...aboutMetadata].map(([name], index) => [name, index] as const)
  it.each(rows)('takes no keys from %s', async (_name, index) => {
    const token = tokenOf(`${liar.origin}/lie-${index}`, good, server)
    await expectUnavailable(server, await attempt(server, bearer(token)))
  })

  it('takes them from one that does not lie, and was never led anywhere', async () => {
    const token = tokenOf(`${liar.origin}/lie-${rows.length}`, good, server)
    expect((await attempt(server, bearer(token))).status).toBe(200)
    expect(liar.requests.map(({ url }) => url)).not.toContain('/good')
  })

  function send(response: ServerResponse, body: object | string, status = 200): void {
    response.writeHead(status, { 'content-type': 'application/json' })
    response.end(typeof body === 'string' ? body : JSON.stringify(body))
  }

  function text(before: string, after: string): string {
    return `${before}${JSON.stringify(jwk)}${after}`
  }

  function endless(_request: unknown, response: ServerResponse): void {
    response.writeHead(200, { 'content-type': 'application/json' })
    const timer = setInterval(() => response.write(' '), 20)
    response.once('close', () => clearInterval(timer))
  }

  function withUser(issuer: string): string {
    return `${issuer.replace('//', '//user:password@')}/jwks`
  }

  function weakKey(): object {
    const { publicKey } = generateKeyPairSync('rsa', { modulusLength: 1024 })
    return { ...publicKey.export({ format: 'jwk' }), alg: 'RS256', kid: 'ES256' }
  }
})

describe('threat: guessing, thousands of credentials are tried from one address', () => {
  const LIMIT = 30
  const from = '198.51.100.7'

  it('answers 429 past the budget, and locks out no good caller behind the same address', async () => {
    const issuer = await issuerOfTest()
    const server = await serverFor([issuer], [])
    const known = { ...bearer(tokenOf(issuer.url, issuer.key, server)), from }
    expect((await attempt(server, known)).status).toBe(200)
    const forged = signingKey('ES256', 'ES256')
    const guess = (index: number): Promise<RawAnswer> => {
      const token = tokenOf(issuer.url, forged, server, { sub: `guess-${index}` })
      return attempt(server, { ...bearer(token), from })
    }
    for (let index = 0; index < LIMIT; index += 1) {
      expect((await guess(index)).status).toBe(401)
    }

    const answer = await guess(LIMIT)
    expect(answer.status).toBe(429)
    expect(answer.body).toBe(
      '{"jsonrpc":"2.0","error":{"code":-32600,"message":"Too many requests"}}',
    )
    const seconds = Number(answer.headers.get('retry-after'))
    expect(seconds).toBeGreaterThan(0)
    expect(seconds).toBeLessThanOrEqual(60)
    expect(answer.headers.get('ratelimit-policy')).toBe(`"address-auth";q=${LIMIT};w=60`)
    expect(answer.headers.get('ratelimit')).toBe(`"address-auth";r=0;t=${seconds}`)
    expect(answer.headers.has('www-authenticate')).toBe(false)

    // A token that was verified a moment ago, a live key, and whoever brings nothing to guess with.
    expect(resultOf(await attempt(server, known))).toMatchObject({ subject: 'user-1' })
    expect(resultOf(await attempt(server, { ...bearer(server.key), from }))).toMatchObject({
      kind: 'api-key',
    })
    expect((await attempt(server, { from })).status).toBe(401)
    // A token that nobody has seen yet is looked at all the same: guessers lock nobody out.
    expect((await call(server, issuer, { sub: 'user-2' })).status).toBe(200)
  })

  it('puts every attempt on record: twenty of a kind one by one, the rest as a count', async () => {
    const issuer = await issuerOfTest()
    const server = await serverFor([issuer], [])
    for (let index = 0; index <= LIMIT; index += 1) {
      await attempt(server, { ...bearer(`mcpk_${index}`), from })
    }
    expect(await server.stop()).toBe(0)
    const failed = server.audited().filter((record) => eventOf(record) === 'authn.fail')
    expect(failed.map(({ status_detail: reason, count }) => [reason, count])).toEqual([
      ...Array(20).fill(['authenticate.rejected', undefined]),
      ['authenticate.throttled', undefined],
      ['authenticate.rejected', LIMIT - 20],
    ])
  })
})
