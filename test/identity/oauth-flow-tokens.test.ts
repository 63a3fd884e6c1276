// optional: oauth
import {
  discoverAuthorizationServerMetadata,
  exchangeAuthorization,
  type OAuthTokens,
  startAuthorization,
} from '@modelcontextprotocol/client'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type PolicyEdit, type Server, startServer, stopServers } from '../server.ts'
import {
  attempt,
  BEHIND_PROXY,
  eventOf,
  expectRefused,
  NO_LIMITS,
  recordsOf,
  resultOf,
} from './attempt.ts'
import { type AuthorizationServer, startAuthorizationServer } from './authorization-server.ts'
import { person } from './browser.ts'
import { bearer, issuersPolicy } from './target.ts'

const REDIRECT_URL = 'http://127.0.0.1:45454/callback'

let issuer: AuthorizationServer
let server: Server
beforeAll(async () => {
  issuer = await startAuthorizationServer()
  server = await startServer({
    env: BEHIND_PROXY,
    policies: [...NO_LIMITS, issuersPolicy([issuer])],
  })
})
afterAll(async () => {
  await stopServers()
  await issuer[Symbol.asyncDispose]()
})

/** What the issuer gives to a client that Mallory logs in to, for a resource or for none. */
async function tokensFor(resource?: string): Promise<OAuthTokens> {
  const metadata = await discoverAuthorizationServerMetadata(issuer.url)
  if (metadata === undefined) throw new Error('No metadata')
  const request = {
    metadata,
    clientInformation: issuer.publicClient,
    ...(resource === undefined ? {} : { resource }),
  }
  const { authorizationUrl, codeVerifier } = await startAuthorization(issuer.url, {
    ...request,
    redirectUrl: REDIRECT_URL,
    scope: 'openid mcp:use offline_access',
  })
  const { searchParams } = await person('mallory').visit(authorizationUrl)
  return exchangeAuthorization(issuer.url, {
    ...request,
    authorizationCode: searchParams.get('code') ?? '',
    iss: searchParams.get('iss') ?? '',
    codeVerifier,
    redirectUri: REDIRECT_URL,
  })
}

describe('threat: another token of the same issuer, for the same person, opens this server', () => {
  it('lets the access token for this server through', async () => {
    const { access_token } = await tokensFor(server.url)
    const result = resultOf(await attempt(server, bearer(access_token)))
    expect(result).toMatchObject({ issuer: issuer.url, subject: 'mallory', scopes: ['mcp:use'] })
  })

  const own = (): Promise<OAuthTokens> => tokensFor(server.url)
  it.each<readonly [string, string, () => Promise<OAuthTokens>, keyof OAuthTokens]>([
    [
      'for another server',
      'audience',
      () => tokensFor('https://other.example/mcp'),
      'access_token',
    ],
    ['for its origin', 'audience', () => tokensFor(new URL('/', server.url).href), 'access_token'],
    ['for a path below', 'audience', () => tokensFor(`${server.url}/x`), 'access_token'],
    ['with a slash behind', 'audience', () => tokensFor(`${server.url}/`), 'access_token'],
    ['with a query behind', 'audience', () => tokensFor(`${server.url}?x=1`), 'access_token'],
    ['for no resource, which is opaque', 'shape', () => tokensFor(), 'access_token'],
    ['of OpenID Connect: an ID token', 'type', own, 'id_token'],
    ['to refresh with', 'shape', own, 'refresh_token'],
  ])('refuses one %s', async (_name, cause, obtain, kind) => {
    const token = String((await obtain())[kind])
    const secrets = token.split('.').filter((part) => part.length > 15)
    expect(secrets).not.toEqual([])
    const answer = await attempt(server, bearer(token))
    await expectRefused(server, answer, {
      status: 401,
      reason: 'authenticate.rejected',
      cause,
      secrets,
    })
  })
})

describe('threat: policy takes tokens of any type, and those of a client for its own', () => {
  it('serves nothing to an ID token all the same: no issuer puts the base scope into one', async () => {
    const careless = {
      issuer: issuer.url,
      audiences: [issuer.publicClient.client_id],
      tokenTypes: ['at+jwt', 'absent', 'JWT'],
      why: 'of the test',
    }
    const edit: PolicyEdit = ['auth.yaml', 'issuers: []', `issuers: ${JSON.stringify([careless])}`]
    const target = await startServer({ env: BEHIND_PROXY, policies: [...NO_LIMITS, edit] })
    const { id_token = '' } = await tokensFor(target.url)
    const answer = await attempt(target, bearer(id_token))
    expect(answer.status).toBe(403)
    const records = await recordsOf(target, answer)
    expect(records.map((record) => [eventOf(record), record.status_detail])).toEqual([
      ['decision', 'authorize.missing-scope'],
      ['request', 'authorize.missing-scope'],
    ])
  })
})
