// optional: oauth

import { type PolicyEdit, type Server, startServer, stopServers } from '../server.ts'
import { type Attempt, attempt, BEHIND_PROXY, expectRefused, NO_LIMITS } from './attempt.ts'
import {
  type Issuer,
  jws,
  type Members,
  type SigningKey,
  signingKey,
  startIssuer,
} from './issuer.ts'

/** When the tests began, seconds since the epoch. */
export const NOW = Math.floor(Date.now() / 1000)

/** What an outsider has who can make tokens, and what the outsider attacks. */
export interface Target extends AsyncDisposable {
  readonly server: Server
  /** Trusted by the server. */
  readonly issuer: Issuer
  /** Trusted as well. The outsider has an account there. */
  readonly other: Issuer
  /** Of no issuer. */
  readonly stranger: SigningKey
  /** Claims of a good token but for these; `undefined` takes one away. */
  claims(changes?: Members): Members
  /** A good token but for these claims and headers, signed by its issuer. */
  token(changes?: Members, header?: Members, key?: SigningKey): string
  /** Sends a token that must be refused like every other, with this cause on record. */
  refuses(cause: string, token: string): Promise<void>
}

export async function startTarget(): Promise<Target> {
  const [issuer, other] = await Promise.all([startIssuer(), startIssuer()])
  const server = await startServer({
    env: BEHIND_PROXY,
    policies: [...NO_LIMITS, issuersPolicy([issuer, other])],
  })

  function claims(changes: Members = {}): Members {
    return {
      iss: issuer.url,
      aud: server.url,
      sub: 'user-1',
      client_id: 'client-1',
      scope: 'mcp:use',
      iat: NOW - 60,
      exp: NOW + 600,
      jti: 'token-1',
      ...changes,
    }
  }
  return {
    server,
    issuer,
    other,
    stranger: signingKey('RS256', 'RS256'),
    claims,
    token(changes = {}, header = {}, key = issuer.key) {
      return jws(key, { alg: key.alg, kid: key.kid, typ: 'at+jwt', ...header }, claims(changes))
    },
    async refuses(cause, token) {
      const answer = await attempt(server, bearer(token))
      const secrets = token.split(/[^\w-]+/).filter((part) => part.length > 15)
      const reason = 'authenticate.rejected'
      await expectRefused(server, answer, { status: 401, reason, cause, secrets })
    },
    async [Symbol.asyncDispose]() {
      await stopServers()
      await Promise.all([issuer.down(), other.down()])
    },
  }
}

/** Trusts these issuers, with roles and tenant of the caller where tokens have them. */
export function issuersPolicy(issuers: readonly { readonly url: string }[]): PolicyEdit {
  const rest = { rolesClaim: 'roles', tenantClaim: 'tenant', why: 'of the test' }
  const entries = issuers.map(({ url }) => ({ issuer: url, ...rest }))
  return ['auth.yaml', 'issuers: []', `issuers: ${JSON.stringify(entries)}`]
}

export function bearer(token: string): Attempt {
  return { lines: [`Authorization: Bearer ${token}`] }
}
