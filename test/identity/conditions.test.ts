// optional: oauth
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Server, startServer, stopServers } from '../server.ts'
import { attempt, BEHIND_PROXY, eventOf, NO_LIMITS, recordsOf, resultOf } from './attempt.ts'
import { type Issuer, jws, type Members, startIssuer } from './issuer.ts'
import { bearer, issuersPolicy, NOW } from './target.ts'

const WHEN = [
  "principal.claims.acr == '2'",
  `double(principal.claims.auth_time) > ${NOW - 300}.0`,
  "principal.claims.authorization_details.exists(d, d.type == 'report')",
].join(' && ')

let issuer: Issuer
let server: Server
beforeAll(async () => {
  issuer = await startIssuer()
  server = await startServer({
    env: BEHIND_PROXY,
    policies: [
      ...NO_LIMITS,
      issuersPolicy([issuer]),
      [
        'access.yaml',
        '  whoami: { scopes: []',
        `  whoami: { when: ${JSON.stringify(WHEN)}, scopes: []`,
      ],
    ],
  })
})
afterAll(async () => {
  await stopServers()
  await issuer.down()
})

function token(changes: Members): string {
  const { alg, kid } = issuer.key
  const times = { iat: NOW - 60, exp: NOW + 600 }
  const own = { iss: issuer.url, aud: server.url, sub: 'user-1', client_id: 'c', scope: 'mcp:use' }
  const login = { acr: '2', auth_time: NOW - 60, authorization_details: [{ type: 'report' }] }
  return jws(issuer.key, { alg, kid, typ: 'at+jwt' }, { ...own, ...times, ...login, ...changes })
}

describe('threat: a login that is too weak, too old or for something else, the caller acts all the same', () => {
  it.each<[string, Members]>([
    ['another acr', { acr: '1' }],
    ['an acr of another type', { acr: 2 }],
    ['no acr', { acr: undefined }],
    ['an auth_time of an hour ago', { auth_time: NOW - 3600 }],
    ['no auth_time', { auth_time: undefined }],
    ['authorization_details of another type', { authorization_details: [{ type: 'payment' }] }],
    ['authorization_details that are no list', { authorization_details: { type: 'report' } }],
    ['no authorization_details', { authorization_details: undefined }],
  ])('refuses a token with %s', async (_name, changes) => {
    const answer = await attempt(server, bearer(token(changes)))
    expect({ status: answer.status, body: answer.body }).toEqual({
      status: 403,
      body: '{"jsonrpc":"2.0","id":1,"error":{"code":-32600,"message":"Forbidden"}}',
    })
    expect(answer.headers.has('www-authenticate')).toBe(false)
    const records = await recordsOf(server, answer)
    expect(records.map((record) => [eventOf(record), record.status_detail])).toEqual([
      ['decision', 'authorize.condition'],
      ['request', 'authorize.condition'],
    ])
  })

  it('lets a token through that has all of them', async () => {
    const answer = await attempt(server, bearer(token({})))
    expect(resultOf(answer)).toMatchObject({ subject: 'user-1' })
  })
})
