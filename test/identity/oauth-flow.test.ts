// optional: oauth
import { discoverOAuthProtectedResourceMetadata } from '@modelcontextprotocol/client'
import { decodeJwt } from 'jose'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type AuditRecord, type Server, startServer, stopServers } from '../server.ts'
import { eventOf, NO_LIMITS } from './attempt.ts'
import { type AuthorizationServer, startAuthorizationServer } from './authorization-server.ts'
import { person } from './browser.ts'
import {
  type ClientIdentity,
  type OAuthClient,
  oauthClient,
  SDKS,
  type Sdk,
} from './oauth-client.ts'
import { issuersPolicy } from './target.ts'

const DOCUMENTS = { documents: [{ name: 'a.md', text: 'firewalls' }] }
const PROTECTED_RESOURCE = 'GET /.well-known/oauth-protected-resource/mcp 200'
const OAUTH_METADATA = '/.well-known/oauth-authorization-server'
const OPENID_METADATA = '/.well-known/openid-configuration'

let issuer: AuthorizationServer
let server: Server
beforeAll(async () => {
  issuer = await startAuthorizationServer()
  server = await startServer({ policies: [...NO_LIMITS, issuersPolicy([issuer])] })
})
afterAll(async () => {
  await stopServers()
  await issuer[Symbol.asyncDispose]()
})

const registered = (): ClientIdentity => ({
  client: { ...issuer.publicClient, issuer: issuer.url },
})
const documented = (): ClientIdentity => ({ clientMetadataUrl: issuer.clientMetadataUrl })
const unknown = (): ClientIdentity => ({})

const clients: OAuthClient[] = []

/** A client of Alice's. */
function clientOf(sdk: Sdk, identity: ClientIdentity): OAuthClient {
  const client = oauthClient({ sdk, url: server.url, person: person('alice'), ...identity })
  clients.push(client)
  return client
}

/** Scopes of an authorization request; `offline_access` is between the client and the issuer. */
function askedBy(page: URL | undefined): readonly string[] {
  const scopes = page?.searchParams.get('scope')?.split(' ') ?? []
  return scopes.filter((scope) => scope !== 'offline_access').toSorted()
}

describe.each(SDKS)('contract: from no credential to an answer, SDK %s', (sdk) => {
  it.each<readonly [string, () => ClientIdentity, readonly string[]]>([
    ['registered beforehand', registered, []],
    ['known by a metadata document', documented, []],
    ['that registers itself', unknown, ['POST /reg 201']],
  ])('leads a client %s all the way', async (_name, identity, registration) => {
    const client = clientOf(sdk, identity())
    await client.connect()
    expect(client.steps.slice(0, 5 + registration.length)).toEqual([
      'POST /mcp 401',
      PROTECTED_RESOURCE,
      `GET ${OAUTH_METADATA} 200`,
      ...registration,
      'POST /token 200',
      'POST /mcp 200',
    ])

    expect(client.pages).toHaveLength(1)
    expect(Object.fromEntries(client.pages[0]?.searchParams ?? [])).toMatchObject({
      response_type: 'code',
      client_id: client.kept.client?.client_id,
      code_challenge: expect.stringMatching(/^[\w-]{43}$/),
      code_challenge_method: 'S256',
      resource: server.url,
    })
    expect(askedBy(client.pages[0])).toEqual(['mcp:use'])
    expect(client.redirects[0]?.searchParams.get('iss')).toBe(issuer.url)

    expect(sdk).toContain(client.version())
    expect(await client.call('whoami')).toEqual({
      kind: 'oauth',
      issuer: issuer.url,
      client: client.kept.client?.client_id,
      subject: 'alice',
      scopes: ['mcp:use'],
      roles: [],
      tenant: null,
    })
    await client.close()
  })
})

describe('contract: how a client is known decides what becomes its identity', () => {
  it.each<readonly [string, () => ClientIdentity, () => string]>([
    ['the registered id', registered, () => issuer.publicClient.client_id],
    ['the URL of its document', documented, () => issuer.clientMetadataUrl],
  ])('is %s', async (_name, identity, id) => {
    const client = clientOf('v2, 2026-07-28', identity())
    await client.connect()
    expect(await client.call('whoami')).toMatchObject({ client: id() })
    await client.close()
  })

  it('has read the document where it says it is', () => {
    expect(new Set(issuer.documentRequests.map(({ url }) => url))).toEqual(
      new Set([new URL(issuer.clientMetadataUrl).pathname]),
    )
  })
})

describe('contract: the metadata of the resource is where RFC 9728 puts it', () => {
  it('is the same for clients that look at the path and at the root', async () => {
    const { origin } = new URL(server.url)
    const [atPath, atRoot] = await Promise.all([
      discoverOAuthProtectedResourceMetadata(server.url),
      discoverOAuthProtectedResourceMetadata(origin),
    ])
    expect(atPath).toEqual(atRoot)
    expect(atPath.resource).toBe(server.url)
    expect(atPath.authorization_servers).toEqual([issuer.url])
  })
})

describe.each([SDKS[0], SDKS[1]])('contract: an issuer of OpenID Connect alone, SDK %s', (sdk) => {
  it('is found by the client and by the server', async () => {
    await using openid = await startAuthorizationServer({ metadata: 'openid', algorithm: 'RS256' })
    const target = await startServer({ policies: [...NO_LIMITS, issuersPolicy([openid])] })
    const client = oauthClient({ sdk, url: target.url, person: person('bob') })
    await client.connect()
    expect(client.steps.slice(0, 5)).toEqual([
      'POST /mcp 401',
      PROTECTED_RESOURCE,
      `GET ${OAUTH_METADATA} 404`,
      `GET ${OPENID_METADATA} 200`,
      'POST /reg 201',
    ])
    expect(await client.call('whoami')).toMatchObject({ issuer: openid.url, subject: 'bob' })
    await client.close()
    await target.stop('SIGKILL')
  })
})

describe.each(SDKS)('contract: a call that takes more scopes, SDK %s', (sdk) => {
  /** SDK v2 asks for what it has and what it needs; v1 for what it needs. */
  const keeps = sdk.startsWith('v2')

  it.each<readonly [string, () => ClientIdentity]>([
    ['registered beforehand', registered],
    ['known by a metadata document', documented],
  ])('lets a client %s step up, again and again', async (_name, identity) => {
    const client = clientOf(sdk, identity())
    await client.connect()
    client.steps.length = 0
    const { reportId } = await client.call('process_documents', DOCUMENTS)
    const steps = client.steps.filter((step) => !step.startsWith('GET '))
    expect(steps).toEqual(['POST /mcp 403', 'POST /token 200', 'POST /mcp 200'])
    expect(askedBy(client.pages[1])).toEqual(['documents:process', 'mcp:use'])
    expect(client.pages[1]?.searchParams.get('resource')).toBe(server.url)

    expect(await client.read(`report://${reportId}`)).toContain('a.md')
    const held = ['mcp:use', 'reports:read']
    const union = keeps ? ['documents:process', ...held] : held
    expect(askedBy(client.pages[2])).toEqual(union)
    const { scopes } = await client.call('whoami')
    expect(scopes.toSorted()).toEqual(union)
    expect(client.pages).toHaveLength(3)
    await client.close()
  })

  it('tells a client that may not ask for more, and serves it on', async () => {
    // The issuer holds a client to the scopes that it registered: those of the first challenge.
    const client = clientOf(sdk, unknown())
    await client.connect()
    const first = client.kept.client?.client_id
    await expect(client.call('process_documents', DOCUMENTS)).rejects.toThrow()
    expect(client.redirects[1]?.searchParams.get('error')).toBe('invalid_scope')
    expect(await client.call('whoami')).toMatchObject({ client: first, scopes: ['mcp:use'] })

    // The way out: it forgets its registration and makes another one, for what it needs now.
    client.kept.client = undefined
    expect(await client.call('process_documents', DOCUMENTS)).toHaveProperty('reportId')
    expect(client.kept.client).not.toHaveProperty('client_id', first)
    await client.close()
  })

  it('tells the client that the person said no, and there is no token', async () => {
    const reluctant = person('carol', 'no')
    const client = oauthClient({ sdk, url: server.url, person: reluctant, ...registered() })
    await expect(client.connect()).rejects.toThrow()
    expect(client.redirects[0]?.searchParams.get('error')).toBe('access_denied')
    expect(client.kept.tokens).toBeUndefined()
  })
})

describe('contract: the trail of the whole way', () => {
  it('names issuer, client, subject and token of each call', async () => {
    const client = clientOf('v2, 2026-07-28', registered())
    await client.connect()
    await client.call('process_documents', DOCUMENTS)
    await client.close()
    const { jti, ...claims } = decodeJwt(client.kept.tokens?.access_token ?? '')
    expect(jti).toBeTypeOf('string')
    const credentials = [{ uid: jti, type: 'Access Token' }]
    const outcome = await server.recorded(
      (record) =>
        eventOf(record) === 'outcome' &&
        record.actor.user.programmatic_credentials?.[0].uid === jti,
    )
    expect(outcome.actor).toMatchObject({
      user: { uid: claims.sub, programmatic_credentials: credentials },
      idp: { uid: claims.iss },
      app_uid: claims['client_id'],
    })
  })

  it('has the refusals on the way, the first of which knows nobody', async () => {
    const refused = (reason: string): AuditRecord =>
      server
        .audited()
        .find((record) => eventOf(record) === 'request' && record.status_detail === reason)
    expect(refused('authenticate.missing').actor.user).toEqual({ name: 'unknown', type_id: 0 })
    expect(refused('authorize.missing-scope').actor.user.uid).toBe('alice')
  })
})

describe('threat: a secret of a login is read in a log, the trail or an answer', () => {
  it('has none of them anywhere', async () => {
    const last = clientOf('v2, 2026-07-28', registered())
    await last.connect()
    await last.call('process_documents', DOCUMENTS)
    await last.close()
    const answers = await Promise.all(clients.map((client) => client.answers()))
    const said = [server.stdout(), server.stderr(), ...answers].join('\n')
    expect(said).toContain('alice')
    for (const { secrets } of clients) {
      expect(secrets.size).toBeGreaterThanOrEqual(5)
      for (const secret of secrets) expect(said).not.toContain(secret)
    }
  })
})
