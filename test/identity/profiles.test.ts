// optional: oauth
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import { fetchKeys } from '../../src/auth/jwks.ts'
import { type Outbound, OutboundError } from '../../src/outbound.ts'
import type { AuthPolicy } from '../../src/policy.ts'
import { authPolicy } from '../../src/policy-schemas.ts'
import { parseStrictYaml } from '../../src/strict-yaml.ts'
import { type TestApp, type TestResponse, testApp, toolCall } from '../app.ts'
import { expectRefused } from '../expect-refused.ts'
import { textOf } from '../source-tree.ts'
import { jwksOf, jws, type Members, signingKey } from './issuer.ts'
import {
  GOOGLE_ACCOUNT_ID_TOKEN,
  PROFILES,
  type Profile,
  type Providers,
  RESOURCE,
  startProviders,
  type TokenShape,
} from './profiles.ts'

type Entry = AuthPolicy['issuers'][number]

/** The entries of docs/identity-providers.md by heading. */
const SECTION = /^## (?<heading>.+)\n(?<text>(?:(?!## ).*\n)*)/gm
const BLOCK = /^```yaml\n(?<yaml>.*?)^```$/ms
const documented = new Map(
  [...textOf('docs/identity-providers.md').matchAll(SECTION)].flatMap(({ groups }) => {
    const yaml = BLOCK.exec(groups?.['text'] ?? '')?.groups?.['yaml']
    return yaml === undefined ? [] : [[groups?.['heading'] ?? '', yaml] as const]
  }),
)

/** The issuer with default settings beside them. */
const STRICT = 'https://auth.example.com'
const strictKey = signingKey('ES256', 'strict')

const AUTH = {
  baseScope: 'mcp:use',
  apiKeys: { enabled: true, maxLifetimeDays: 365, header: null },
  jwks: { cacheSeconds: 600, cooldownSeconds: 30, staleIfErrorSeconds: 3600, timeoutMs: 3000 },
  verificationCacheSeconds: 60,
}

/** The one entry of a block, as it would be in `auth.yaml`. */
function rawEntry({ heading }: Profile): Members {
  const yaml = parseStrictYaml(Buffer.from(documented.get(heading) ?? ''))
  if ('problems' in yaml) throw new Error(`${heading}: ${yaml.problems}`)
  const { issuers } = z
    .strictObject({ issuers: z.array(z.record(z.string(), z.unknown())).length(1) })
    .parse(yaml.value)
  return issuers[0] ?? {}
}

let providers: Providers
let strictProvider: Providers
beforeAll(async () => {
  providers = await startProviders(PROFILES)
  strictProvider = await startProviders(PROFILES.slice(0, 1))
  everybody = appFor(PROFILES)
})
afterAll(async () => {
  everybody.close()
  await Promise.all([providers.down(), strictProvider.down()])
})

/** Trusts these entries. Only where keys come from is added: the real places are not asked. */
function appOf(entries: readonly Members[], baseScope = AUTH.baseScope): TestApp {
  const auth = authPolicy('development').parse({ ...AUTH, baseScope, issuers: entries })
  return testApp({
    policies: (policies) => ({
      ...policies,
      auth,
      limits: {
        ...policies.limits,
        address: { ...policies.limits.address, authFailuresPerMinute: 1000 },
      },
    }),
  })
}

function appFor(profiles: readonly Profile[], changes: Members = {}): TestApp {
  const entries = profiles.map((profile) => ({
    ...rawEntry(profile),
    jwksUri: providers.jwksUri(profile),
    ...changes,
  }))
  const [any] = PROFILES
  const jwksUri = any === undefined ? '' : strictProvider.jwksUri(any)
  return appOf([...entries, { issuer: STRICT, jwksUri, why: 'the default entry' }])
}

function appOfTest(...parameters: Parameters<typeof appFor>): TestApp {
  const app = appFor(...parameters)
  onTestFinished(() => app.close())
  return app
}

let everybody: TestApp

function send(app: TestApp, token: string): Promise<TestResponse> {
  return app.send({ headers: { authorization: `Bearer ${token}` }, body: toolCall('whoami', {}) })
}

const result = z.object({ result: z.object({ structuredContent: z.looseObject({}) }) })
function callerOf(response: TestResponse): Members {
  expect(response.status).toBe(200)
  return result.parse(response.json).result.structuredContent
}

/** Refused with 401 and this cause on record, or with 403 and a challenge that asks for the scope. */
async function refuses(app: TestApp, token: string, why: string): Promise<void> {
  const response = await send(app, token)
  const canary = token.split('.').reduce((a, b) => (a.length > b.length ? a : b))
  if (why === 'scope') {
    expect(response.status).toBe(403)
    expect(response.headers.get('www-authenticate')).toContain('error="insufficient_scope"')
    expect(response.reached).toBe(0)
    return
  }
  expectRefused(app, response, 401, 'authenticate.rejected', { canary })
  const [failed] = response.events.filter(({ event }) => event === 'authn.fail')
  expect(failed).toMatchObject({ cause: why })
}

const named = PROFILES.map((profile) => [profile.heading, profile] as const)
const variants = PROFILES.flatMap((profile) =>
  Object.entries({ 'as it is by default': profile.access, ...profile.variants }).map(
    ([name, shape]) => [profile.heading, name, profile, shape] as const,
  ),
)
const refusals = PROFILES.flatMap((profile) =>
  Object.entries(profile.refused).map(
    ([name, [why, shape]]) => [profile.heading, name, why, profile, shape] as const,
  ),
)

describe('contract: the entries of docs/identity-providers.md', () => {
  it('are one for each provider', () => {
    expect([...documented.keys()]).toEqual(PROFILES.map(({ heading }) => heading))
  })

  it.each(named)('are good in production: %s', (_heading, profile) => {
    const entry = rawEntry(profile)
    const parsed = authPolicy('production').parse({ ...AUTH, issuers: [entry] })
    expect(parsed.issuers[0]).toMatchObject({ issuer: profile.issuer, jwksUri: null })
    expect(parsed.issuers[0]?.algorithms).toEqual(['RS256'])
  })

  it('stand beside each other in one file', () => {
    const issuers = PROFILES.map(rawEntry)
    const parsed = authPolicy('production').parse({ ...AUTH, issuers })
    expect(parsed.issuers.map(({ issuer }) => issuer)).toEqual(PROFILES.map(({ issuer }) => issuer))
  })

  it.each(named)('find the keys of %s where its metadata is', async (_heading, profile) => {
    const asked: string[] = []
    const keys = jwksOf([providers.key(profile)]).keys
    const documents = new Map<string, object>([
      [profile.metadata, { issuer: profile.issuer, jwks_uri: 'https://keys.example.com/' }],
      ['https://keys.example.com/', { keys }],
    ])
    const outbound: Pick<Outbound, 'json'> = {
      async json(url) {
        asked.push(url)
        const document = documents.get(url)
        if (document === undefined) throw new OutboundError('status')
        return document
      },
    }
    const { issuer, jwksUri, algorithms }: Entry = parsedEntry(profile)
    const source = { issuer, jwksUri, algorithms, timeoutMs: 1000 }
    expect(await fetchKeys(source, outbound)).toHaveLength(1)
    expect(asked.slice(-2)).toEqual([profile.metadata, 'https://keys.example.com/'])
    expect(asked.length).toBeLessThanOrEqual(3)
  })

  it('are what clients learn of this server', async () => {
    const response = await everybody.send({
      method: 'GET',
      target: '/.well-known/oauth-protected-resource/mcp',
      headers: { authorization: null, 'content-length': null, 'content-type': null },
    })
    expect(response.json).toMatchObject({
      resource: RESOURCE,
      authorization_servers: [...PROFILES.map(({ issuer }) => issuer), STRICT],
    })
  })

  function parsedEntry(profile: Profile): Entry {
    const [entry] = authPolicy('production').parse({
      ...AUTH,
      issuers: [rawEntry(profile)],
    }).issuers
    if (entry === undefined) throw new Error('No entry')
    return entry
  }
})

describe('contract: several identity providers at once', () => {
  it.each(variants)('%s: an access token %s gets in', async (_heading, _name, profile, shape) => {
    const caller = callerOf(await send(everybody, providers.token(profile, shape)))
    const { scopes, ...rest } = caller
    expect(rest).toEqual({ kind: 'oauth', issuer: profile.issuer, ...profile.caller })
    expect(scopes).toContain('mcp:use')
  })

  it.each(named)('%s: without its entry its tokens fail, the others do not', async (_h, gone) => {
    const rest = PROFILES.filter((profile) => profile !== gone)
    const app = appOfTest(rest)
    await refuses(app, providers.token(gone, gone.access), 'issuer')
    for (const profile of rest) {
      const caller = callerOf(await send(app, providers.token(profile, profile.access)))
      expect(caller['issuer']).toBe(profile.issuer)
    }
  })

  it('Amazon Cognito: as the only issuer, with the scope that Cognito writes', async () => {
    const cognito = profileOf('Amazon Cognito')
    const entry = { ...rawEntry(cognito), jwksUri: providers.jwksUri(cognito) }
    const app = appOf([entry], `${RESOURCE}/use`)
    onTestFinished(() => app.close())
    const plain = { ...cognito.access.claims, scope: `${RESOURCE}/use` }
    const token = providers.token(cognito, { header: {}, claims: plain })
    expect(callerOf(await send(app, token))['scopes']).toEqual([`${RESOURCE}/use`])
  })

  it.each(['Auth0', 'Keycloak'])('%s: set to RFC 9068, without tokenTypes', async (heading) => {
    const profile = profileOf(heading)
    const app = appOfTest([profile], { tokenTypes: ['at+jwt'] })
    const [modern] = Object.values(profile.variants)
    if (modern === undefined) throw new Error('No such token')
    expect((await send(app, providers.token(profile, modern))).status).toBe(200)
    await refuses(app, providers.token(profile, profile.access), 'type')
  })
})

describe('threat: token confusion, what a provider made for something else opens this server', () => {
  it.each(refusals)('%s: refuses a token %s', async (_heading, _name, why, profile, shape) => {
    await refuses(everybody, providers.token(profile, shape), why)
  })

  it.each(named)('%s: refuses what says that it is another kind of token', async (_h, profile) => {
    const foreign: readonly Members[] = [
      { nonce: 'n' },
      { at_hash: 'a' },
      { c_hash: 'c' },
      { s_hash: 's' },
      { events: { 'http://schemas.openid.net/event/backchannel-logout': {} } },
      { htm: 'POST', htu: RESOURCE },
      { token_use: 'id' },
      { token_use: 'refresh' },
      { typ: 'ID' },
      { typ: 'Refresh' },
    ]
    for (const claims of foreign) {
      const { header, claims: good } = profile.access
      const token = providers.token(profile, { header, claims: { ...good, ...claims } })
      await refuses(everybody, token, 'type')
    }
  })

  it.each(named)('%s: refuses other types in the header', async (_heading, profile) => {
    const types = ['logout+jwt', 'dpop+jwt', 'secevent+jwt', 'id+jwt', 'absent', 'Absent', '', null]
    for (const typ of [...types, 'application/absent', 'jwt2', ['JWT'], 1]) {
      const token = providers.token(profile, { ...profile.access, header: { typ } })
      await refuses(everybody, token, 'type')
    }
  })

  it.each(named)('%s: refuses the types that only others use', async (_heading, profile) => {
    const headers: Readonly<Record<string, Members>> = {
      'at+jwt': { typ: 'at+jwt' },
      JWT: { typ: 'JWT' },
      absent: {},
    }
    for (const [type, header] of Object.entries(headers)) {
      const token = providers.token(profile, { ...profile.access, header })
      if (typesOf(profile).includes(type)) expect((await send(everybody, token)).status).toBe(200)
      else await refuses(everybody, token, 'type')
    }
  })

  it.each([
    ['an opaque access token of Google', 'ya29.a0AfB_byC-0123456789abcdefghijklmnopqrstuvwxyz'],
    ['an opaque access token of Auth0', 'GLcbk1fa3XSKRlJk0a1b2c3d4e5f6g7h'],
    ['an encrypted access token of Auth0', 'eyJhbGciOiJkaXIifQ..AAAA.BBBB.CCCC'],
    ['a refresh token of Cognito', 'eyJjdHkiOiJKV1QifQ.AAAA.BBBB.CCCC.DDDD'],
  ])('refuses %s', async (_name, token) => {
    await refuses(everybody, token, 'shape')
  })

  it('gives an ID token of a Google account nothing, even where somebody trusts that issuer', async () => {
    const google = profileOf('Google')
    const jwksUri = providers.jwksUri(google)
    const issuer = 'https://accounts.google.com'
    const app = appOf([{ issuer, jwksUri, tokenTypes: ['JWT'], why: 'a mistake' }])
    onTestFinished(() => app.close())
    await refuses(app, providers.token(google, GOOGLE_ACCOUNT_ID_TOKEN), 'scope')
  })
})

describe('threat: one provider speaks for another, its users become somebody else’s', () => {
  const pairs = PROFILES.flatMap((from) =>
    PROFILES.filter((to) => to !== from).map((to) => [from.heading, to.heading, from, to] as const),
  )

  it.each(pairs)('%s cannot make tokens of %s', async (_from, _to, from, to) => {
    const key = providers.key(from)
    const { kid } = providers.key(to)
    const { header, claims } = to.access
    await refuses(everybody, providers.token(to, to.access, key), 'unknown')
    await refuses(everybody, providers.token(to, to.access, { ...key, kid }), 'signature')
    const nameless = { header: { ...header, kid: undefined }, claims }
    await refuses(everybody, providers.token(to, nameless, key), 'signature')
  })

  it.each(pairs)('%s cannot label its tokens as those of %s', async (_from, _to, from, to) => {
    const { header, claims } = from.access
    const relabelled = { header, claims: { ...claims, iss: to.issuer } }
    const why = typesOf(to).includes(typeOf(from.access)) ? 'unknown' : 'type'
    await refuses(everybody, providers.token(from, relabelled), why)
  })

  const unlike = pairs.filter(([, , from, to]) => !typesOf(to).includes(typeOf(from.access)))
  it.each(unlike)('the entry of %s does not widen that of %s', async (_f, _t, from, to) => {
    const token = providers.token(to, { ...to.access, header: from.access.header })
    await refuses(everybody, token, 'type')
  })

  const apart = pairs.filter(([, , from, to]) => audiencesOf(from).isDisjointFrom(audiencesOf(to)))
  it.each(apart)('the audience of %s is none of %s', async (_from, _to, from, to) => {
    const { header, claims } = to.access
    const { aud } = from.access.claims
    await refuses(
      everybody,
      providers.token(to, { header, claims: { ...claims, aud } }),
      'audience',
    )
  })

  it.each(named)('%s does not loosen the default entry beside it', async (_heading, profile) => {
    const { header, claims } = profile.access
    const [any] = PROFILES
    if (any === undefined) throw new Error('No profile')
    const strict = { ...claims, iss: STRICT, aud: RESOURCE, scope: 'mcp:use' }
    const token = strictProvider.token(any, { header, claims: strict })
    await refuses(everybody, token, 'type')
    const good = strictProvider.token(any, { header: { typ: 'at+jwt' }, claims: strict })
    expect(callerOf(await send(everybody, good))['issuer']).toBe(STRICT)
  })

  it('refuses a token whose issuer is on no list, without asking anybody', async () => {
    const claims = { ...profileOf('Okta').access.claims, iss: 'https://evil.example/oauth2' }
    await refuses(everybody, jws(strictKey, { alg: 'ES256', kid: 'strict' }, claims), 'issuer')
  })
})

/** What the entry of a provider accepts as type. */
function typesOf(profile: Profile): readonly string[] {
  return z.object({ tokenTypes: z.array(z.string()) }).parse(rawEntry(profile)).tokenTypes
}

/** For whom a token is. */
function audiencesOf({ access }: Profile): Set<unknown> {
  return new Set([access.claims['aud']].flat())
}

function typeOf({ header }: TokenShape): string {
  return String(header['typ'] ?? 'absent')
}

function profileOf(heading: string): Profile {
  const profile = PROFILES.find((candidate) => candidate.heading === heading)
  if (profile === undefined) throw new Error(`No profile ${heading}`)
  return profile
}
