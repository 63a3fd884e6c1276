// optional: oauth
import type { IncomingMessage, ServerResponse } from 'node:http'
import { httpServer, json } from '../http-server.ts'
import { jwksOf, jws, type Members, type SigningKey, signingKey } from './issuer.ts'

/** Tokens as six providers make them: what their documentation shows, with names of the examples. */

/** When the tests began, seconds since the epoch. */
const NOW = Math.floor(Date.now() / 1000)
/** The resource, as the providers know it. */
export const RESOURCE = 'https://mcp.example.com/mcp'

export interface TokenShape {
  /** Besides `alg` and `kid`. */
  readonly header: Members
  readonly claims: Members
}

/** What the server makes of an access token. */
interface Caller {
  readonly client: string
  readonly subject: string
  readonly roles: readonly string[]
  readonly tenant: string | null
}

/** Why a token does not get in: the cause on record of a 401, or the scope that a 403 asks for. */
type Refusal = 'issuer' | 'audience' | 'algorithm' | 'type' | 'sender-constrained' | 'scope'

export interface Profile {
  /** Heading of its entry in docs/identity-providers.md. */
  readonly heading: string
  readonly issuer: string
  /** Where its metadata is. */
  readonly metadata: string
  /** Members of its keys besides those that a signature needs; `undefined` takes one away. */
  readonly keyMembers: Members
  readonly access: TokenShape
  /** Other shapes of its access tokens. */
  readonly variants: Readonly<Record<string, TokenShape>>
  readonly caller: Caller
  /** Its tokens that are none for this server. */
  readonly refused: Readonly<Record<string, readonly [Refusal, TokenShape]>>
}

const TIMES = { iat: NOW - 60, exp: NOW + 3540 } as const
const AUTH_TIME = { auth_time: NOW - 60 } as const
const JWT = { typ: 'JWT' } as const
const AT_JWT = { typ: 'at+jwt' } as const
const NO_TYP = {} as const

function tokenOf(header: Members, claims: Members, changes: Members = {}): TokenShape {
  return { header, claims: { ...claims, ...changes } }
}

const ENTRA_TENANT = 'aaaabbbb-0000-cccc-1111-dddd2222eeee'
const ENTRA_API = '00001111-aaaa-2222-bbbb-3333cccc4444'
const ENTRA_CLIENT = '11112222-bbbb-3333-cccc-4444dddd5555'
const ENTRA_COMMON = {
  iss: `https://login.microsoftonline.com/${ENTRA_TENANT}/v2.0`,
  ...TIMES,
  nbf: NOW - 60,
  name: 'Ann Example',
  oid: 'bbbbcccc-1111-dddd-2222-eeee3333ffff',
  preferred_username: 'ann@example.com',
  rh: '0.AAAA',
  sub: 'sub-of-ann-at-this-application',
  tid: ENTRA_TENANT,
  uti: 'uti-1',
  ver: '2.0',
}
const ENTRA_ACCESS = {
  ...ENTRA_COMMON,
  aud: ENTRA_API,
  aio: 'AXQAi/8TAAAA',
  azp: ENTRA_CLIENT,
  azpacr: '0',
  roles: ['bulk'],
  scp: 'mcp:use documents:process',
  sid: 'sid-1',
}

const entra: Profile = {
  heading: 'Microsoft Entra ID',
  issuer: ENTRA_COMMON.iss,
  metadata: `${ENTRA_COMMON.iss}/.well-known/openid-configuration`,
  keyMembers: { alg: undefined, x5t: 'AAAA', x5c: ['MIIC'], issuer: ENTRA_COMMON.iss },
  access: tokenOf(JWT, ENTRA_ACCESS),
  variants: {},
  caller: {
    client: ENTRA_CLIENT,
    subject: ENTRA_COMMON.sub,
    roles: ['bulk'],
    tenant: ENTRA_TENANT,
  },
  refused: {
    'of version 1': [
      'issuer',
      tokenOf(JWT, ENTRA_ACCESS, {
        iss: `https://sts.windows.net/${ENTRA_TENANT}/`,
        aud: `api://${ENTRA_API}`,
        appid: ENTRA_CLIENT,
        azp: undefined,
        ver: '1.0',
      }),
    ],
    'of another tenant': [
      'issuer',
      tokenOf(JWT, ENTRA_ACCESS, { iss: 'https://login.microsoftonline.com/other/v2.0' }),
    ],
    'for Microsoft Graph': [
      'audience',
      tokenOf(JWT, ENTRA_ACCESS, { aud: '00000003-0000-0000-c000-000000000000' }),
    ],
    'of an application for itself': [
      'scope',
      tokenOf(JWT, ENTRA_ACCESS, { scp: undefined, idtyp: 'app' }),
    ],
    'ID token': ['audience', tokenOf(JWT, ENTRA_COMMON, { aud: ENTRA_CLIENT, nonce: 'nonce-1' })],
    'ID token of the application itself': [
      'type',
      tokenOf(JWT, ENTRA_COMMON, { aud: ENTRA_API, nonce: 'nonce-1' }),
    ],
    'ID token of the application itself without nonce': [
      'scope',
      tokenOf(JWT, ENTRA_COMMON, { aud: ENTRA_API, roles: ['bulk'] }),
    ],
  },
}

const AUTH0 = 'https://example.eu.auth0.com/'
const AUTH0_CLIENT = 'K1AUPhZq8mRi0Q0pjhkfu1D7y6KjDQja'
const AUTH0_COMMON = {
  iss: AUTH0,
  sub: 'auth0|6553da60a54af58e29493993',
  aud: [RESOURCE, `${AUTH0}userinfo`],
  iat: NOW - 60,
  exp: NOW - 60 + 86_400,
  scope: 'openid profile mcp:use',
  permissions: ['bulk'],
}
const AUTH0_RFC_9068 = tokenOf(AT_JWT, AUTH0_COMMON, { client_id: AUTH0_CLIENT, jti: '73Wak' })
const AUTH0_ID = {
  nickname: 'ann',
  name: 'Ann',
  email: 'ann@example.com',
  iss: AUTH0,
  aud: AUTH0_CLIENT,
  sub: AUTH0_COMMON.sub,
  sid: 'sid-1',
  ...TIMES,
}

const auth0: Profile = {
  heading: 'Auth0',
  issuer: AUTH0,
  metadata: `${AUTH0}.well-known/oauth-authorization-server`,
  keyMembers: { x5t: 'AAAA', x5c: ['MIIC'] },
  access: tokenOf(JWT, AUTH0_COMMON, { azp: AUTH0_CLIENT }),
  variants: {
    'of the profile RFC 9068': AUTH0_RFC_9068,
    'with one audience': tokenOf(JWT, AUTH0_COMMON, { azp: AUTH0_CLIENT, aud: RESOURCE }),
  },
  caller: {
    client: AUTH0_CLIENT,
    subject: AUTH0_COMMON.sub,
    roles: ['bulk'],
    tenant: null,
  },
  refused: {
    'without the slash in iss': [
      'issuer',
      tokenOf(JWT, AUTH0_COMMON, { iss: AUTH0.slice(0, -1), azp: AUTH0_CLIENT }),
    ],
    'for the user info endpoint alone': [
      'audience',
      tokenOf(JWT, AUTH0_COMMON, { aud: `${AUTH0}userinfo`, azp: AUTH0_CLIENT }),
    ],
    'ID token': ['audience', tokenOf(JWT, AUTH0_ID)],
    'ID token with nonce': ['audience', tokenOf(JWT, AUTH0_ID, { nonce: 'nonce-1' })],
  },
}

const OKTA = 'https://example.okta.com/oauth2/aus1a2b3c4D5E6F7G8h9'
const OKTA_CLIENT = '0oa1a2b3c4D5E6F7G8h9'
const OKTA_ACCESS = {
  ver: 1,
  jti: 'AT.MNAoEQ_jbKqoinrQo1D0XKjMX28U5d7ZszBceot7-Ts',
  iss: OKTA,
  aud: RESOURCE,
  ...TIMES,
  cid: OKTA_CLIENT,
  uid: '00u1a2b3c4D5E6F7G8h9',
  scp: ['openid', 'mcp:use'],
  ...AUTH_TIME,
  sub: 'ann@example.com',
  groups: ['bulk'],
}
const OKTA_ID = {
  sub: '00u1a2b3c4D5E6F7G8h9',
  name: 'Ann Example',
  ver: 1,
  iss: OKTA,
  aud: OKTA_CLIENT,
  ...TIMES,
  jti: 'ID.radCQMOQUmyvcTBmmIL0J6BaS60apUEiC7-vI7pOmkw',
  amr: ['pwd'],
  idp: '00o1a2b3c4D5E6F7G8h9',
  preferred_username: 'ann@example.com',
  ...AUTH_TIME,
}

const okta: Profile = {
  heading: 'Okta',
  issuer: OKTA,
  metadata: `${OKTA}/.well-known/openid-configuration`,
  keyMembers: {},
  access: tokenOf(NO_TYP, OKTA_ACCESS),
  variants: {},
  caller: {
    client: OKTA_CLIENT,
    subject: 'ann@example.com',
    roles: ['bulk'],
    tenant: null,
  },
  refused: {
    'of the org authorization server': [
      'issuer',
      tokenOf(NO_TYP, OKTA_ACCESS, {
        iss: 'https://example.okta.com',
        aud: 'https://example.okta.com',
      }),
    ],
    'of another audience': [
      'audience',
      tokenOf(NO_TYP, OKTA_ACCESS, { aud: 'https://other.example.com' }),
    ],
    'ID token': ['audience', tokenOf(NO_TYP, OKTA_ID, { nonce: 'n', at_hash: 'fPlsvVszI29L' })],
    'ID token of a client named like this resource': [
      'type',
      tokenOf(NO_TYP, OKTA_ID, { aud: RESOURCE, at_hash: 'fPlsvVszI29L' }),
    ],
    'logout token': [
      'type',
      tokenOf({ typ: 'logout+jwt' }, OKTA_ID, {
        events: { 'http://schemas.openid.net/event/backchannel-logout': {} },
      }),
    ],
  },
}

const KEYCLOAK = 'https://sso.example.com/realms/acme'
const KEYCLOAK_COMMON = {
  ...TIMES,
  ...AUTH_TIME,
  jti: 'onrtac:6f2b1f0a-0c4e-4f3b-9b7e-1a2b3c4d5e6f',
  iss: KEYCLOAK,
  sub: 'f1b9a5d2-6a61-4c59-8a0e-2f8f3e1c7d11',
  azp: 'console',
  sid: 'sid-1',
}
const KEYCLOAK_ACCESS = {
  ...KEYCLOAK_COMMON,
  aud: [RESOURCE, 'account'],
  typ: 'Bearer',
  acr: '1',
  'allowed-origins': ['https://console.example.com'],
  realm_access: { roles: ['default-roles-acme', 'bulk'] },
  resource_access: { account: { roles: ['view-profile'] } },
  scope: 'openid mcp:use profile email',
  email_verified: true,
  preferred_username: 'ann',
  roles: ['bulk'],
}

const keycloak: Profile = {
  heading: 'Keycloak',
  issuer: KEYCLOAK,
  metadata: `${KEYCLOAK}/.well-known/openid-configuration`,
  keyMembers: { x5t: 'AAAA', 'x5t#S256': 'AAAA', x5c: ['MIIC'] },
  access: tokenOf(JWT, KEYCLOAK_ACCESS),
  variants: { 'of a client with the type at+jwt': tokenOf(AT_JWT, KEYCLOAK_ACCESS) },
  caller: {
    client: 'console',
    subject: KEYCLOAK_COMMON.sub,
    roles: ['bulk'],
    tenant: null,
  },
  refused: {
    'without the audience mapper': ['audience', tokenOf(JWT, KEYCLOAK_ACCESS, { aud: 'account' })],
    'without any audience': ['audience', tokenOf(JWT, KEYCLOAK_ACCESS, { aud: undefined })],
    'of another realm': [
      'issuer',
      tokenOf(JWT, KEYCLOAK_ACCESS, { iss: 'https://sso.example.com/realms/master' }),
    ],
    'ID token': [
      'audience',
      tokenOf(JWT, KEYCLOAK_COMMON, { aud: 'console', typ: 'ID', at_hash: 'a', nonce: 'n' }),
    ],
    'ID token of a client named like this resource': [
      'type',
      tokenOf(JWT, KEYCLOAK_COMMON, { aud: RESOURCE, typ: 'ID', scope: 'mcp:use' }),
    ],
    'bound to a key and sent without a proof': [
      'sender-constrained',
      tokenOf(JWT, KEYCLOAK_ACCESS, { typ: 'DPoP', cnf: { jkt: 'A'.repeat(43) } }),
    ],
    'refresh token': [
      'algorithm',
      tokenOf({ ...JWT, alg: 'HS512' }, KEYCLOAK_ACCESS, { aud: KEYCLOAK, typ: 'Refresh' }),
    ],
    'refresh token signed like an access token': [
      'type',
      tokenOf(JWT, KEYCLOAK_ACCESS, { typ: 'Refresh' }),
    ],
    'offline token signed like an access token': [
      'type',
      tokenOf(JWT, KEYCLOAK_ACCESS, { typ: 'Offline' }),
    ],
    'logout token': ['type', tokenOf(JWT, KEYCLOAK_ACCESS, { typ: 'Logout', events: {} })],
  },
}

const COGNITO = 'https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_EXAMPLE12'
const COGNITO_CLIENT = '1example23456789'
const COGNITO_COMMON = {
  sub: 'aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee',
  'cognito:groups': ['bulk'],
  iss: COGNITO,
  origin_jti: 'aaaaaaaa-bbbb-cccc-dddd-000000000000',
  event_id: 'aaaaaaaa-bbbb-cccc-dddd-111111111111',
  ...AUTH_TIME,
  ...TIMES,
  jti: 'aaaaaaaa-bbbb-cccc-dddd-222222222222',
}
const COGNITO_ACCESS = {
  ...COGNITO_COMMON,
  version: 2,
  client_id: COGNITO_CLIENT,
  token_use: 'access',
  scope: `openid ${RESOURCE}/use mcp:use`,
  username: 'ann',
  aud: RESOURCE,
}
const COGNITO_ID = {
  ...COGNITO_COMMON,
  'cognito:username': 'ann',
  aud: COGNITO_CLIENT,
  token_use: 'id',
  email: 'ann@example.com',
}

const cognito: Profile = {
  heading: 'Amazon Cognito',
  issuer: COGNITO,
  metadata: `${COGNITO}/.well-known/openid-configuration`,
  keyMembers: {},
  access: tokenOf(NO_TYP, COGNITO_ACCESS),
  variants: {},
  caller: {
    client: COGNITO_CLIENT,
    subject: COGNITO_COMMON.sub,
    roles: ['bulk'],
    tenant: null,
  },
  refused: {
    'that is bound to no resource': [
      'audience',
      tokenOf(NO_TYP, COGNITO_ACCESS, { aud: undefined }),
    ],
    'with the scope of Cognito alone': [
      'scope',
      tokenOf(NO_TYP, COGNITO_ACCESS, { scope: `${RESOURCE}/use` }),
    ],
    'of another user pool': [
      'issuer',
      tokenOf(NO_TYP, COGNITO_ACCESS, { iss: COGNITO.replace('EXAMPLE12', 'EXAMPLE13') }),
    ],
    'ID token': ['audience', tokenOf(NO_TYP, COGNITO_ID, { at_hash: 'a' })],
    'ID token of a client named like this resource': [
      'type',
      tokenOf(NO_TYP, COGNITO_ID, { aud: RESOURCE, scope: 'mcp:use' }),
    ],
  },
}

const GOOGLE = 'https://securetoken.google.com/example-project'
const GOOGLE_COMMON = {
  iss: GOOGLE,
  aud: 'example-project',
  ...AUTH_TIME,
  user_id: 'HVYrTxXqJ9aBcDeFgHiJkLmNoPq2',
  sub: 'HVYrTxXqJ9aBcDeFgHiJkLmNoPq2',
  ...TIMES,
  email: 'ann@example.com',
  email_verified: true,
  firebase: { identities: { email: ['ann@example.com'] }, sign_in_provider: 'google.com' },
}
const GOOGLE_ACCESS = { ...GOOGLE_COMMON, mcp_scopes: ['mcp:use'] }
/** What an account of Google signs in with: at a client, or a service account for any audience. */
export const GOOGLE_ACCOUNT_ID_TOKEN: TokenShape = tokenOf(JWT, {
  iss: 'https://accounts.google.com',
  azp: '1234-abc.apps.googleusercontent.com',
  aud: RESOURCE,
  sub: '110169484474386276334',
  email: 'ann@example.com',
  email_verified: true,
  ...TIMES,
})

const google: Profile = {
  heading: 'Google',
  issuer: GOOGLE,
  metadata: `${GOOGLE}/.well-known/openid-configuration`,
  keyMembers: {},
  access: tokenOf(JWT, GOOGLE_ACCESS),
  variants: {},
  caller: { client: '', subject: GOOGLE_COMMON.sub, roles: [], tenant: null },
  refused: {
    'of a user without the custom claim': ['scope', tokenOf(JWT, GOOGLE_COMMON)],
    'with the scopes in another claim': [
      'scope',
      tokenOf(JWT, GOOGLE_COMMON, { scope: 'mcp:use', scp: ['mcp:use'] }),
    ],
    'of another project, signed by the same key': [
      'issuer',
      tokenOf(JWT, GOOGLE_ACCESS, {
        iss: 'https://securetoken.google.com/other-project',
        aud: 'other-project',
      }),
    ],
    'of another project that calls itself this one': [
      'audience',
      tokenOf(JWT, GOOGLE_ACCESS, { aud: 'other-project' }),
    ],
    'session cookie': [
      'issuer',
      tokenOf(JWT, GOOGLE_ACCESS, { iss: 'https://session.firebase.google.com/example-project' }),
    ],
    'ID token of a Google account': ['issuer', GOOGLE_ACCOUNT_ID_TOKEN],
  },
}

export const PROFILES: readonly Profile[] = [entra, auth0, okta, keycloak, cognito, google]

/** The providers as far as a resource server sees them: each publishes one key, on loopback. */
export interface Providers {
  key(profile: Profile): SigningKey
  /** A token of this shape, signed by the provider unless another key is given. */
  token(profile: Profile, shape: TokenShape, key?: SigningKey): string
  /** Where its keys are. */
  jwksUri(profile: Profile): string
  down(): Promise<void>
}

export async function startProviders(profiles: readonly Profile[]): Promise<Providers> {
  const keys = new Map(
    profiles.map(({ heading }, index) => [heading, signingKey('RS256', `${index}1234example=`)]),
  )
  const keyOf = ({ heading }: Profile): SigningKey => {
    const key = keys.get(heading)
    if (key === undefined) throw new Error(`No key of ${heading}`)
    return key
  }
  const pathOf = ({ heading }: Profile): string => `/${encodeURIComponent(heading)}`
  const documents = new Map(
    profiles.map((profile) => {
      const published = jwksOf([keyOf(profile)]).keys
      return [
        pathOf(profile),
        { keys: published.map((jwk) => ({ ...jwk, ...profile.keyMembers })) },
      ]
    }),
  )
  const server = await httpServer((request: IncomingMessage, response: ServerResponse) => {
    const document = documents.get(request.url ?? '')
    if (document === undefined) response.writeHead(404).end()
    else json(document)(request, response)
  })
  return {
    key: keyOf,
    token(profile, { header, claims }, key = keyOf(profile)) {
      return jws(key, { alg: key.alg, kid: key.kid, ...header }, claims)
    },
    jwksUri: (profile) => `${server.origin}${pathOf(profile)}`,
    down: server.down,
  }
}
