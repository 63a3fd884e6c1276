// optional: introspection
import { describe, expect, it } from 'vitest'
import type { Mode } from '../src/config.ts'
import { authPolicy } from '../src/policy-schemas.ts'

const CANARY = 'canary-6e2f7a'
const ENDPOINT = {
  endpoint: 'https://auth.example.com/introspect',
  clientId: 'gatehouse',
  clientSecretFile: '/run/secrets/introspection',
}
const ASKED = {
  issuer: 'https://auth.example.com',
  verification: 'introspection',
  introspection: ENDPOINT,
  why: 'a test',
}
const SIGNING = { issuer: 'https://other.example.com', why: 'a test' }

/** Places of what is wrong in a list of issuers. */
function problemsOf(issuers: readonly object[], mode: Mode = 'production'): readonly string[] {
  const result = authPolicy(mode).safeParse({
    baseScope: 'mcp:use',
    apiKeys: { enabled: true, maxLifetimeDays: 365, header: null },
    issuers,
    jwks: { cacheSeconds: 600, cooldownSeconds: 30, staleIfErrorSeconds: 3600, timeoutMs: 3000 },
    verificationCacheSeconds: 60,
  })
  expect(result.error?.message ?? '').not.toContain(CANARY)
  return result.error?.issues.map(({ path }) => path.join('.')) ?? []
}

describe('contract: an issuer that is asked about its tokens', () => {
  it.each<[string, readonly object[]]>([
    ['alone', [ASKED]],
    ['beside others whose tokens are JWTs', [SIGNING, ASKED]],
    ['whose endpoint has a query', [withEndpoint({ endpoint: 'https://a.example/i?t=1' })]],
    ['that knows this server by an odd name', [withEndpoint({ clientId: 'a b:c' })]],
    ['whose tokens are bound to certificates', [{ ...ASKED, senderConstraint: 'mtls' }]],
  ])('accepts one %s', (_name, issuers) => {
    expect(problemsOf(issuers)).toEqual([])
  })

  it('accepts an endpoint on loopback over http in development only', () => {
    const local = [withEndpoint({ endpoint: 'http://127.0.0.1:9000/introspect' })]
    expect(problemsOf(local, 'development')).toEqual([])
    expect(problemsOf(local)).toEqual(['issuers.0.introspection.endpoint'])
    const remote = [withEndpoint({ endpoint: 'http://auth.example.com/introspect' })]
    expect(problemsOf(remote, 'development')).toEqual(['issuers.0.introspection.endpoint'])
  })
})

describe('threat: a mistake in a policy, tokens go to strangers or are verified in no way', () => {
  it.each<[string, readonly object[], string]>([
    ['nobody to ask', [{ ...ASKED, introspection: null }], '0.introspection'],
    ['an endpoint that nobody asks', [{ ...ASKED, verification: 'jwt' }], '0.introspection'],
    ['an endpoint by default', [{ ...SIGNING, introspection: ENDPOINT }], '0.introspection'],
    ['another verification', [{ ...ASKED, verification: CANARY }], '0.verification'],
    [
      'two issuers that are asked',
      [ASKED, SIGNING, { ...ASKED, issuer: 'https://third.example.com' }],
      '2.verification',
    ],
    [
      'proofs that are not verified',
      [{ ...ASKED, senderConstraint: 'dpop' }],
      '0.senderConstraint',
    ],
    ['no endpoint', [withEndpoint({ endpoint: undefined })], '0.introspection.endpoint'],
    ['no client', [withEndpoint({ clientId: undefined })], '0.introspection.clientId'],
    [
      'no secret',
      [withEndpoint({ clientSecretFile: undefined })],
      '0.introspection.clientSecretFile',
    ],
    [
      'an empty name of a file',
      [withEndpoint({ clientSecretFile: '' })],
      '0.introspection.clientSecretFile',
    ],
    ['a secret in the policy', [withEndpoint({ clientSecret: CANARY })], '0.introspection'],
    ['an empty client', [withEndpoint({ clientId: '' })], '0.introspection.clientId'],
    [
      'a line break in the client',
      [withEndpoint({ clientId: `a\n${CANARY}` })],
      '0.introspection.clientId',
    ],
    [
      'a user in the endpoint',
      [withEndpoint({ endpoint: `https://${CANARY}@auth.example.com/i` })],
      '0.introspection.endpoint',
    ],
  ])('refuses %s', (_name, issuers, field) => {
    expect(problemsOf(issuers)).toEqual([`issuers.${field}`])
  })
})

function withEndpoint(changes: object): object {
  return { ...ASKED, introspection: { ...ENDPOINT, ...changes } }
}
