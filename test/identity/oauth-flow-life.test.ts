// optional: oauth
import { setTimeout as sleep } from 'node:timers/promises'
import { decodeJwt, decodeProtectedHeader } from 'jose'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import {
  type AuditRecord,
  type PolicyEdit,
  type Server,
  startServer,
  stopServers,
} from '../server.ts'
import { eventOf, NO_LIMITS } from './attempt.ts'
import {
  type AuthorizationServer,
  type AuthorizationServerOptions,
  startAuthorizationServer,
} from './authorization-server.ts'
import { person } from './browser.ts'
import { type OAuthClient, oauthClient, SDKS } from './oauth-client.ts'

const COOLDOWN_MS = 1000
/** Every call is verified anew, by keys that may be fetched again soon. */
const IMPATIENT: readonly PolicyEdit[] = [
  ...NO_LIMITS,
  ['auth.yaml', 'verificationCacheSeconds: 60', 'verificationCacheSeconds: 0'],
  ['auth.yaml', 'cooldownSeconds: 30', `cooldownSeconds: ${COOLDOWN_MS / 1000}`],
]

interface Pair extends AsyncDisposable {
  readonly issuer: AuthorizationServer
  readonly server: Server
}

/** An issuer, and a server that trusts its tokens until the second in which they expire. */
async function startPair(options: AuthorizationServerOptions): Promise<Pair> {
  const issuer = await startAuthorizationServer(options)
  const trusted = [{ issuer: issuer.url, clockToleranceSeconds: 0, why: 'of the test' }]
  const policy: PolicyEdit = ['auth.yaml', 'issuers: []', `issuers: ${JSON.stringify(trusted)}`]
  const server = await startServer({ policies: [...IMPATIENT, policy] })
  return {
    issuer,
    server,
    async [Symbol.asyncDispose]() {
      await server.stop('SIGKILL')
      await issuer[Symbol.asyncDispose]()
    },
  }
}

// The SDK tells the console what it does about a refused refresh token.
beforeAll(() => {
  vi.spyOn(console, 'warn').mockImplementation(() => undefined)
})
afterAll(async () => {
  vi.restoreAllMocks()
  await stopServers()
})

describe('contract: a login is renewed without the person, until it is revoked', () => {
  let pair: Pair
  beforeAll(async () => {
    pair = await startPair({ accessTokenSeconds: 3, refreshTokens: 'everybody' })
  })
  afterAll(() => pair[Symbol.asyncDispose]())

  it.concurrent.each(SDKS)('with SDK %s', async (sdk) => {
    const { issuer, server } = pair
    const alice = person('alice')
    const client = oauthClient({ sdk, url: server.url, person: alice })
    await client.connect()
    expect(await client.call('whoami')).toMatchObject({ subject: 'alice' })
    const first = client.kept.tokens
    const { length: questions } = alice.asked

    await expiry(client)
    client.steps.length = 0
    expect(await client.call('whoami')).toMatchObject({ subject: 'alice', scopes: ['mcp:use'] })
    expect(client.steps).toEqual(['POST /mcp 401', 'POST /token 200', 'POST /mcp 200'])
    expect(client.kept.tokens?.refresh_token).not.toBe(first?.refresh_token)
    expect(alice.asked).toHaveLength(questions)

    await revoke(issuer, client)
    await expiry(client)
    expect(await client.call('whoami')).toMatchObject({ subject: 'alice' })
    expect(client.steps).toContain('POST /token 400')
    expect(alice.asked.length).toBeGreaterThan(questions)
    await client.close()
  })

  it('has the cause on record', () => {
    const failures = pair.server.audited().filter((record) => eventOf(record) === 'authn.fail')
    expect(new Set(failures.map(({ status_code }) => status_code))).toEqual(new Set(['expired']))
  })
})

describe('contract: a client of SDK v1 with a refresh token', () => {
  it('cannot step up: it renews what it has, and says so', async () => {
    await using pair = await startPair({ refreshTokens: 'everybody' })
    const { url } = pair.server
    const client = oauthClient({ sdk: 'v1, 2025-11-25', url, person: person('alice') })
    await client.connect()
    const documents = [{ name: 'a.md', text: 'firewalls' }]
    await expect(client.call('process_documents', { documents })).rejects.toThrow('403')
    expect(client.pages).toHaveLength(1)
    expect(await client.call('whoami')).toMatchObject({ scopes: ['mcp:use'] })
    await client.close()
  })
})

describe('contract: an issuer that goes away, comes back and changes its keys', () => {
  it('costs no caller a refused call', async () => {
    await using pair = await startPair({})
    const { issuer, server } = pair
    const logIn = async (name: string): Promise<OAuthClient> => {
      const client = oauthClient({ sdk: SDKS[0], url: server.url, person: person(name) })
      await client.connect()
      return client
    }
    const alice = await logIn('alice')

    await issuer.down()
    for (let calls = 0; calls < 5; calls += 1) {
      expect(await alice.call('whoami')).toMatchObject({ subject: 'alice' })
    }

    await issuer.up()
    issuer.rotate()
    await sleep(COOLDOWN_MS)
    const bob = await logIn('bob')
    expect(await bob.call('whoami')).toMatchObject({ subject: 'bob' })
    expect(await alice.call('whoami')).toMatchObject({ subject: 'alice' })
    expect(keyOf(bob)).not.toBe(keyOf(alice))
    expect(eventsOf(server)).not.toContain('authn.fail')

    // A key that is withdrawn takes its tokens along; their clients get others by themselves.
    issuer.rotate('old keys')
    await sleep(COOLDOWN_MS)
    const carol = await logIn('carol')
    alice.steps.length = 0
    expect(await alice.call('whoami')).toMatchObject({ subject: 'alice' })
    expect(alice.steps).toEqual(['POST /mcp 401', 'POST /token 200', 'POST /mcp 200'])
    expect(alice.pages).toHaveLength(1)
    expect(keyOf(alice)).toBe(keyOf(carol))
    expect(eventsOf(server).filter((event) => event === 'jwks.change')).toHaveLength(3)
    await Promise.all([alice.close(), bob.close(), carol.close()])
  })
})

/** Until the access token of a client is worth nothing. */
async function expiry({ kept }: OAuthClient): Promise<void> {
  const { exp = 0 } = decodeJwt(kept.tokens?.access_token ?? '')
  await sleep(exp * 1000 - Date.now() + 50)
}

/** Takes the refresh token of a client back (RFC 7009). */
async function revoke(issuer: AuthorizationServer, { kept }: OAuthClient): Promise<void> {
  const form = {
    client_id: kept.client?.client_id ?? '',
    token: kept.tokens?.refresh_token ?? '',
  }
  const body = new URLSearchParams(form)
  const response = await fetch(`${issuer.url}/token/revocation`, { method: 'POST', body })
  expect(response.status).toBe(200)
}

function keyOf({ kept }: OAuthClient): string | undefined {
  return decodeProtectedHeader(kept.tokens?.access_token ?? '').kid
}

function eventsOf(server: Server): readonly string[] {
  return server.audited().map((record: AuditRecord) => eventOf(record))
}
