// optional: oauth
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it, onTestFinished } from 'vitest'
import { META } from '../app.ts'
import { connect, type RawConnection } from '../raw-http.ts'
import { type Server, startServer, stopServers } from '../server.ts'
import { attempt, BEHIND_PROXY, eventOf, NO_LIMITS, recordsOf, resultOf } from './attempt.ts'
import { type Issuer, jws, type Members, startIssuer } from './issuer.ts'
import { bearer, issuersPolicy, NOW } from './target.ts'

/** What a change of the file may take to be in force. Open answers end with the same reload. */
const IN_FORCE_MS = 5000
const folder = mkdtempSync(join(tmpdir(), 'gatehouse-revocation-'))
afterAll(async () => {
  await stopServers()
  rmSync(folder, { recursive: true })
})

const LISTEN = {
  jsonrpc: '2.0',
  id: 1,
  method: 'subscriptions/listen',
  params: { notifications: { toolsListChanged: true }, _meta: META },
}

async function issuerOfTest(): Promise<Issuer> {
  const issuer = await startIssuer()
  onTestFinished(() => issuer.down())
  return issuer
}

function tokenOf({ url, key }: Issuer, aud: string, changes: Members): string {
  const times = { iat: NOW - 60, exp: NOW + 600 }
  const claims = { iss: url, aud, sub: 'alice', scope: 'mcp:use', ...times, ...changes }
  return jws(key, { alg: key.alg, kid: key.kid, typ: 'at+jwt' }, claims)
}

/** Opens a stream of changes and waits for its first message. */
async function listen(server: Server, token: string): Promise<RawConnection> {
  const connection = connect(server)
  const body = JSON.stringify(LISTEN)
  connection.write(
    [
      'POST /mcp HTTP/1.1',
      `Host: 127.0.0.1:${server.port}`,
      `Authorization: Bearer ${token}`,
      'Content-Type: application/json',
      'Accept: application/json, text/event-stream',
      'MCP-Protocol-Version: 2026-07-28',
      'Mcp-Method: subscriptions/listen',
      `Content-Length: ${Buffer.byteLength(body)}`,
      'Connection: close',
      '',
      body,
    ].join('\r\n'),
  )
  const [first] = await new Promise<[Buffer]>((resolve) => {
    connection.socket.once('data', (bytes) => resolve([bytes]))
  })
  expect(first.toString()).toMatch(/^HTTP\/1\.1 200 /)
  return connection
}

describe('threat: a token that was taken away, whoever stole it goes on with it', () => {
  it.each<[string, (issuer: string) => object]>([
    ['its name', () => ({ jti: ['stolen'] })],
    ['its name at its issuer', (issuer) => ({ jti: [{ issuer, jti: 'stolen' }] })],
    ['its subject at its issuer', (issuer) => ({ subjects: [{ issuer, subject: 'alice' }] })],
  ])('refuses it within 5 seconds by %s, and ends what it has open', async (name, denials) => {
    const [issuer, other] = [await issuerOfTest(), await issuerOfTest()]
    const file = join(folder, `${name}.json`)
    writeFileSync(file, '{}')
    const server = await startServer({
      env: { ...BEHIND_PROXY, MCP_DENY_LIST_FILE: file },
      policies: [...NO_LIMITS, issuersPolicy([issuer, other])],
    })
    const stolen = tokenOf(issuer, server.url, { jti: 'stolen' })
    const good = tokenOf(issuer, server.url, { jti: 'good', sub: 'bob' })
    const namesake = tokenOf(other, server.url, { jti: 'namesake' })
    using ended = await listen(server, stolen)
    using kept = await listen(server, good)
    expect(resultOf(await attempt(server, bearer(stolen)))).toMatchObject({ subject: 'alice' })

    writeFileSync(file, JSON.stringify(denials(issuer.url)))
    const deniedAt = performance.now()
    expect(await ended.closed()).not.toContain('"result"')
    expect(performance.now() - deniedAt).toBeLessThan(IN_FORCE_MS)
    const answer = await attempt(server, bearer(stolen))
    expect(answer.status).toBe(401)
    const [failed] = await recordsOf(server, answer)
    expect([eventOf(failed), failed.status_code]).toEqual(['authn.fail', 'denied'])

    expect(kept.socket.destroyed).toBe(false)
    for (const token of [good, namesake]) {
      expect((await attempt(server, bearer(token))).status).toBe(200)
    }
  })

  it('ends a stream with its token', async () => {
    const issuer = await issuerOfTest()
    const server = await startServer({ policies: [...NO_LIMITS, issuersPolicy([issuer])] })
    const exp = Math.ceil(Date.now() / 1000) + 1
    using ended = await listen(server, tokenOf(issuer, server.url, { exp }))
    using kept = await listen(server, tokenOf(issuer, server.url, {}))
    expect(await ended.closed()).not.toContain('"result"')
    expect(Date.now()).toBeGreaterThanOrEqual(exp * 1000)
    expect(Date.now()).toBeLessThan(exp * 1000 + 1000)
    expect(kept.socket.destroyed).toBe(false)
  })
})
