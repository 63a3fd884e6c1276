import {
  computeScopeUnion,
  extractWWWAuthenticateParams,
  isStrictScopeSuperset,
} from '@modelcontextprotocol/client'
import type { Arguments } from './arguments.ts'
import { openBrowser } from './browser.ts'
import { EXIT, type Exchange } from './failures.ts'
import { type ClientIdentity, type LoginRequest, logIn } from './login.ts'
import { type Login, type LoginStore, serverKey } from './login-store.ts'
import { logOut, type Revocation } from './logout.ts'
import type { Terminal } from './terminal.ts'

/** What one run of the client works with. */
export interface Session {
  readonly options: Arguments
  readonly terminal: Terminal
  readonly store: LoginStore
  readonly exchange: Exchange
  readonly cancelled: AbortSignal
}

/**
 * The command `login`. The server is asked without a credential first: its challenge says where to log in
 * and for which scopes (MCP 2026-07-28 Authorization, Scope Selection Strategy). Then it has to take
 * the new token.
 *
 * @param converse asks something of the server
 * @returns the exit code.
 */
export async function enter(
  session: Session,
  converse: (login: Login | undefined) => Promise<number>,
): Promise<number> {
  const { options, terminal, store, exchange } = session
  const server = serverKey(options.url)
  // A store that cannot be used is found before the person has logged in.
  await store.update(server, async (login) => login)
  try {
    await converse(undefined)
    terminal.result({ server, login: null }, `${server} asks for no login.`)
    return EXIT.ok
  } catch (error) {
    if (exchange.response?.status !== 401) throw error
  }
  const challenge = extractWWWAuthenticateParams(exchange.response)
  const { issuer, scope } = await obtain(session, {
    ...requestOf(options),
    scope: computeScopeUnion(challenge.scope, options.scope),
    resourceMetadataUrl: challenge.resourceMetadataUrl,
    identity: options.identity,
    issuer: undefined,
  })
  await converse(await store.read(server))
  const text = [`Logged in to ${server}`, `Issuer: ${issuer}`, `Scopes: ${scope ?? 'not told'}`]
  terminal.result({ server, issuer, scope }, text.join('\n'))
  return EXIT.ok
}

/**
 * What to ask the issuer for when the server wants more scopes than the login has: all of both, since the
 * new token replaces the old one. `undefined` when the answer was another one, the login has those
 * scopes already, or there is nobody to ask.
 */
export function stepUpRequest(
  { options, terminal, exchange }: Session,
  login: Login | undefined,
): LoginRequest | undefined {
  const { response } = exchange
  if (login === undefined || response?.status !== 403) return undefined
  const challenge = extractWWWAuthenticateParams(response)
  if (challenge.error !== 'insufficient_scope') return undefined
  const scope = computeScopeUnion(login.scope, challenge.scope)
  if (!isStrictScopeSuperset(scope, login.scope)) return undefined
  const hasPerson = !options.json && process.stdin.isTTY && process.stderr.isTTY
  if (!(options.stepUp ?? hasPerson)) return undefined

  const text = `This needs more than your login has: ${challenge.scope}`
  terminal.log('notice', text, text)
  return {
    ...requestOf(options),
    scope,
    resourceMetadataUrl: challenge.resourceMetadataUrl,
    identity: identityOf(login),
    issuer: login.issuer,
  }
}

/** Logs in and keeps the login. */
export async function obtain(session: Session, request: LoginRequest): Promise<Login> {
  const { options, terminal, store, cancelled } = session
  const visit = (page: URL): void => {
    terminal.visit(page)
    if (options.opensBrowser) openBrowser(page, options.browser)
  }
  const login = await logIn(request, visit, cancelled)
  await store.update(serverKey(options.url), async () => login)
  return login
}

function requestOf({ url, redirectPort, timeoutMs }: Arguments) {
  return { server: url, redirectPort, timeoutMs }
}

/** A client that registered itself does so again: for the new scopes, with the new redirect URI. */
function identityOf({ registration, client }: Login): ClientIdentity {
  if (registration === 'given') return { given: client }
  return { metadataUrl: registration === 'metadata-document' ? client.client_id : undefined }
}

const OUTCOMES = {
  revoked: 'Logged out. The issuer has revoked the tokens.',
  'not supported': 'Logged out here. The issuer cannot revoke tokens: they end by themselves.',
  failed: 'Logged out here. The issuer did not revoke the tokens: they end by themselves.',
} as const satisfies Record<Revocation, string>

/**
 * The command `logout`.
 *
 * @returns the exit code.
 */
export async function leave({ options, terminal, store, cancelled }: Session): Promise<number> {
  const revocation = await logOut(options.url, store, cancelled)
  const value = { server: serverKey(options.url), revocation: revocation ?? null }
  terminal.result(
    value,
    revocation === undefined ? 'You were not logged in.' : OUTCOMES[revocation],
  )
  return EXIT.ok
}
