/** @import { Token } from '../types.ts' */
import * as oauth from './vendor/oauth4webapi.js'

/**
 * The authorization code flow of a page: a public client with PKCE.
 *
 * Threat:  a page of another origin, or an issuer of its own, gets hold of a code or token, or logs
 *          the person in under another account.
 * Rule:    the issuer is one that the server names (RFC 9728); state, issuer (RFC 9207) and PKCE (RFC
 *          7636) are checked by oauth4webapi; the token is for this server alone (RFC 8707) and lives in
 *          memory alone. What must survive the way to the issuer and back is in `sessionStorage` and
 *          taken out at the first look: no token, and worth nothing without the code.
 *          Not covered: refresh. When the token ends, the person signs in again.
 * Source:  MCP 2026-07-28 Authorization; OAuth 2.0 for Browser-Based Applications
 */

const PENDING = 'sign-in'

/** What the issuer, or the person there, said. Never its own words: they are a stranger's. */
export class SignInFailed extends Error {}

/**
 * @typedef {object} Pending
 * @property {string} state
 * @property {string} verifier
 * @property {string} issuer
 * @property {string} clientId
 * @property {string} server
 * @property {string[]} scopes
 * @property {string | null} tool that was open, to return to
 */

/**
 * Who gives out tokens for a server, and for what (RFC 9728).
 *
 * @param {string} server
 * @returns {Promise<{ issuers: string[], scopes: string[] }>}
 */
export async function authorizationOf(server) {
  const url = new URL(server)
  const response = await oauth.resourceDiscoveryRequest(url, optionsFor(url))
  const metadata = await oauth.processResourceDiscoveryResponse(url, response)
  return {
    issuers: metadata.authorization_servers ?? [],
    scopes: metadata.scopes_supported ?? [],
  }
}

/**
 * Leaves the page for the issuer's.
 *
 * @param {Omit<Pending, 'state' | 'verifier'>} request
 */
export async function signIn({ issuer, clientId, server, scopes, tool }) {
  const as = await metadataOf(issuer)
  if (as.code_challenge_methods_supported?.includes('S256') !== true) {
    throw new SignInFailed('The issuer does not say that it supports PKCE, as MCP demands.')
  }
  if (as.authorization_endpoint === undefined) {
    throw new SignInFailed('The issuer has no page to sign in.')
  }
  const state = oauth.generateRandomState()
  const verifier = oauth.generateRandomCodeVerifier()
  const page = secure(as.authorization_endpoint)
  for (const [name, value] of Object.entries({
    response_type: 'code',
    client_id: clientId,
    redirect_uri: redirectUri(),
    scope: scopes.join(' '),
    resource: server,
    state,
    code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
  })) {
    page.searchParams.set(name, value)
  }
  /** @type {Pending} */
  const pending = { state, verifier, issuer, clientId, server, scopes, tool }
  sessionStorage.setItem(PENDING, JSON.stringify(pending))
  location.assign(page)
}

/**
 * Back from the issuer: takes the code out of the address and turns it into a token.
 *
 * @param {string} server that the page is for
 * @returns {Promise<{ token: Token, tool: string | null } | undefined>} `undefined`: nobody comes back
 * @throws {SignInFailed}
 */
export async function returnFromIssuer(server) {
  const stored = sessionStorage.getItem(PENDING)
  sessionStorage.removeItem(PENDING)
  const here = new URL(location.href)
  if (here.pathname !== '/callback') return undefined
  history.replaceState(null, '', '/')
  /** @type {Pending | null} */
  const pending = JSON.parse(stored ?? 'null')
  if (pending === null || pending.server !== server) {
    throw new SignInFailed('Nobody has begun to sign in here.')
  }
  try {
    const as = await metadataOf(pending.issuer)
    const client = { client_id: pending.clientId }
    const parameters = oauth.validateAuthResponse(as, client, here, pending.state)
    const response = await oauth.authorizationCodeGrantRequest(
      as,
      client,
      oauth.None(),
      parameters,
      redirectUri(),
      pending.verifier,
      { ...optionsFor(new URL(pending.issuer)), additionalParameters: { resource: server } },
    )
    const answer = await oauth.processAuthorizationCodeResponse(as, client, response)
    if (answer.token_type !== 'bearer') {
      throw new SignInFailed('The issuer gives tokens that are no bearer tokens.')
    }
    const scopes = answer.scope === undefined ? pending.scopes : answer.scope.split(' ')
    const token = { accessToken: answer.access_token, issuer: pending.issuer, scopes }
    return { token, tool: pending.tool }
  } catch (error) {
    throw explained(error)
  }
}

/** @param {string} issuer */
async function metadataOf(issuer) {
  const url = secure(issuer)
  const options = optionsFor(url)
  let response = await oauth.discoveryRequest(url, { ...options, algorithm: 'oauth2' })
  if (response.status === 404) response = await oauth.discoveryRequest(url, options)
  return oauth.processDiscoveryResponse(url, response)
}

function redirectUri() {
  return new URL('/callback', location.origin).href
}

/** @param {URL} url */
function optionsFor(url) {
  return { [oauth.allowInsecureRequests]: isLoopback(url), signal: AbortSignal.timeout(15_000) }
}

/** @param {URL} url */
function isLoopback({ hostname }) {
  return hostname === 'localhost' || hostname === '[::1]' || /^127(\.\d{1,3}){3}$/.test(hostname)
}

/**
 * @param {string} text
 * @throws {SignInFailed} unless a secret may go there
 */
function secure(text) {
  const url = new URL(text)
  if (url.protocol === 'https:' || (url.protocol === 'http:' && isLoopback(url))) return url
  throw new SignInFailed('The issuer is not reached over https.')
}

/** @param {unknown} error */
function explained(error) {
  if (error instanceof SignInFailed) return error
  const answered =
    error instanceof oauth.AuthorizationResponseError || error instanceof oauth.ResponseBodyError
  const code = answered && /^[a-z_]{1,60}$/.test(error.error) ? error.error : undefined
  if (code === 'access_denied') return new SignInFailed('You, or a policy of the issuer, said no.')
  if (code !== undefined) return new SignInFailed(`The issuer refused: ${code}.`)
  if (error instanceof TypeError) return new SignInFailed('The issuer did not answer this page.')
  return new SignInFailed('The answer does not belong to this sign-in, so it was not used.')
}
