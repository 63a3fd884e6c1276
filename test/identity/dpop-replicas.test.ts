// optional: dpop
import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { RawAnswer } from '../raw-http.ts'
import { describeRedis, type Redis, startRedis } from '../redis.ts'
import { type Server, startServer, stopServers } from '../server.ts'
import { attempt, eventOf, NO_LIMITS, recordsOf } from './attempt.ts'
import { type Issuer, jws, signingKey, startIssuer } from './issuer.ts'
import { proofOf, thumbprint } from './proof.ts'
import { bearer } from './target.ts'

/** Of both replicas, as a balancer in front of them would have it. */
const PUBLIC_URL = 'http://127.0.0.1:3999/mcp'
const client = signingKey('ES256', 'client')

describeRedis('threat: a recorded proof, it is sent to another replica', () => {
  let redis: Redis
  let issuer: Issuer
  let one: Server
  let other: Server

  beforeAll(async () => {
    ;[redis, issuer] = await Promise.all([startRedis(), startIssuer()])
    const entry = { issuer: issuer.url, senderConstraint: 'dpop', why: 'of the test' }
    const options = {
      env: {
        MCP_SECRET: randomBytes(32).toString('base64'),
        MCP_PUBLIC_URL: PUBLIC_URL,
        REDIS_URL: redis.url,
      },
      policies: [
        ...NO_LIMITS,
        ['auth.yaml', 'issuers: []', `issuers: ${JSON.stringify([entry])}`] as const,
      ],
    }
    ;[one, other] = await Promise.all([startServer(options), startServer(options)])
  })
  afterAll(async () => {
    await stopServers()
    await Promise.all([redis[Symbol.asyncDispose](), issuer.down()])
  })

  function tokenOf(): string {
    const now = Math.floor(Date.now() / 1000)
    return jws(
      issuer.key,
      { typ: 'at+jwt', alg: issuer.key.alg, kid: issuer.key.kid },
      {
        iss: issuer.url,
        aud: PUBLIC_URL,
        sub: 'user-1',
        client_id: 'client-1',
        scope: 'mcp:use',
        iat: now - 60,
        exp: now + 600,
        jti: 'token-1',
        cnf: { jkt: thumbprint(client) },
      },
    )
  }
  const proofFor = (token: string, nonce?: string): string =>
    proofOf({ key: client, token, url: PUBLIC_URL, nonce })

  function send(server: Server, token: string, proof: string): Promise<RawAnswer> {
    return attempt(server, { lines: [`Authorization: DPoP ${token}`, `DPoP: ${proof}`] })
  }

  async function nonceOf(server: Server, token: string): Promise<string> {
    const { headers } = await send(server, token, proofFor(token))
    return headers.get('dpop-nonce') ?? ''
  }

  it('takes the nonce of one replica at the other, and the proof at one of them', async () => {
    const token = tokenOf()
    const proof = proofFor(token, await nonceOf(one, token))
    expect((await send(other, token, proof)).status).toBe(200)
    const again = await send(one, token, proof)
    expect(again.status).toBe(401)
    const [failed] = await recordsOf(one, again)
    expect([failed && eventOf(failed), failed?.status_code]).toEqual(['authn.fail', 'replay'])
  })

  it('lets nobody through while Redis is away, and says that it is us', async () => {
    const token = tokenOf()
    const nonce = await nonceOf(one, token)
    await redis.stop()
    const proof = proofFor(token, nonce)
    const away = await send(one, token, proof)
    expect(away.status).toBe(503)
    expect(away.headers.get('retry-after')).toMatch(/^\d+$/)
    expect(away.headers.has('www-authenticate')).toBe(false)
    // Nothing of it needs the store: a proof that is wrong is still the client's fault, a key is good.
    expect((await send(one, token, `${proof}A`)).status).toBe(401)
    expect((await attempt(one, bearer(one.key))).status).toBe(200)

    await redis.start()
    await expect
      .poll(async () => (await send(one, token, proofFor(token, nonce))).status, {
        timeout: 10_000,
      })
      .toBe(200)
  })
})
