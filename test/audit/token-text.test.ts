// optional: oauth

import { afterEach, describe, expect, it } from 'vitest'
import { attempt, BEHIND_PROXY, NO_LIMITS } from '../identity/attempt.ts'
import { type Issuer, jws, type Members, startIssuer } from '../identity/issuer.ts'
import { bearer, issuersPolicy, NOW } from '../identity/target.ts'
import { type Server, startServer, stopServers } from '../server.ts'
import { expectNeutral, HOSTILE } from './hostile-text.ts'

afterEach(stopServers)

const WORDS = { sub: 'erika.mustermann', client_id: 'erikas-laptop', jti: 'erikas-token' }

function tokenOf({ url, key }: Issuer, aud: string, changes: Members): string {
  const claims = { iss: url, aud, scope: 'mcp:use', iat: NOW - 60, exp: NOW + 600, ...WORDS }
  return jws(key, { alg: key.alg, kid: key.kid, typ: 'at+jwt' }, { ...claims, ...changes })
}

/** Uses tokens that work and tokens that do not. @returns the trail that this leaves */
async function trailOf(principal: string, changes: readonly Members[]): Promise<Buffer> {
  const issuer = await startIssuer()
  const server: Server = await startServer({
    env: BEHIND_PROXY,
    policies: [
      ...NO_LIMITS,
      issuersPolicy([issuer]),
      ['audit.yaml', 'principal: clear', `principal: ${principal}`],
    ],
  })
  for (const change of changes) await attempt(server, bearer(tokenOf(issuer, server.url, change)))
  await server.stop()
  await issuer.down()
  return Buffer.from(server.stdout())
}

describe('threat: text of a token in the trail, it forges records or takes over a terminal', () => {
  it.each(['clear', 'pseudonymous'])('is neutral in each claim (%s)', async (principal) => {
    const names = ['sub', 'client_id', 'jti', 'tenant', 'scope', 'iss', 'aud', 'roles']
    const long = 'x'.repeat(1000)
    const trail = await trailOf(principal, [
      ...names.map((name) => ({ [name]: HOSTILE })),
      ...names.map((name) => ({ [name]: `mcp:use ${HOSTILE}` })),
      ...names.map((name) => ({ [name]: long })),
    ])
    expectNeutral(trail)
    expect(trail.toString().split('"event_code":"outcome"').length).toBeGreaterThan(3)
  })
})

describe('threat: names in the trail, whoever reads the log knows who did what', () => {
  const changes: readonly Members[] = [
    {},
    { exp: NOW - 600 },
    { aud: 'https://elsewhere.example' },
    { scope: 'other' },
    { client_id: WORDS.sub },
  ]

  it('has none of a token when policy says pseudonymous', async () => {
    const trail = (await trailOf('pseudonymous', changes)).toString()
    for (const word of ['erika', 'mustermann']) expect(trail).not.toContain(word)
    expect(trail).toContain('"status_code":"expired"')
  })

  it('has them when policy says clear', async () => {
    const trail = (await trailOf('clear', changes)).toString()
    for (const word of Object.values(WORDS)) expect(trail).toContain(word)
  })
})
