import {
  type AuthorizationServerMetadata,
  type OAuthClientMetadata,
  type OAuthClientProvider,
  type OAuthDiscoveryState,
  type StoredOAuthClientInformation,
  type StoredOAuthTokens,
  validateAuthorizationResponseIssuer,
} from '@modelcontextprotocol/client'
import { EXIT, Failed } from './failures.ts'
import type { ClientIdentity, LoginRequest } from './login.ts'
import { explainRefusal } from './login-failures.ts'
import { type Login, serverKey, tokensOf } from './login-store.ts'
import type { RedirectAnswer } from './loopback.ts'

/** One login, as the SDK sees it and as it ends. */
export interface LoginAttempt {
  readonly provider: OAuthClientProvider
  /** @throws {Failed} for an answer without a code; {IssuerMismatchError} for one of another issuer. */
  redeemable(answer: RedirectAnswer): { authorizationCode: string; iss?: string }
  /** @throws {Failed} unless it is complete. */
  login(): Login
}

/** The memory of one login. Nothing of an earlier one is used: not its tokens, not its registration. */
export function startAttempt(
  { server, identity, issuer }: LoginRequest,
  redirectUrl: URL,
  state: string,
  visit: (page: URL) => void,
): LoginAttempt {
  let discovery: OAuthDiscoveryState | undefined
  let resource: string | undefined
  let client: StoredOAuthClientInformation | undefined
  let verifier = ''
  let asked: string | undefined
  let tokens: StoredOAuthTokens | undefined
  const clientMetadata: OAuthClientMetadata = {
    client_name: 'Gatehouse terminal client',
    redirect_uris: [redirectUrl.href],
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
    token_endpoint_auth_method: 'none',
    application_type: 'native',
  }

  const provider: OAuthClientProvider = {
    redirectUrl,
    clientMetadata,
    state: () => state,
    discoveryState: () => discovery,
    saveDiscoveryState(found) {
      assertUsable(found.authorizationServerMetadata, identity)
      discovery = found
    },
    saveResourceUrl(url) {
      resource = url
    },
    clientInformation(context) {
      const found = context?.issuer
      if (issuer !== undefined && found !== issuer) {
        throw new Failed({
          exitCode: EXIT.refused,
          text: `${server.origin} names another issuer than the one of your login.`,
          hint: 'If you trust that, run login again.',
        })
      }
      if (identity.given === undefined || found === undefined) return client
      return { ...identity.given, issuer: found }
    },
    saveClientInformation(registered) {
      client = registered
    },
    tokens: () => undefined,
    saveTokens(received) {
      tokens = received
    },
    codeVerifier: () => verifier,
    saveCodeVerifier(created) {
      verifier = created
    },
    redirectToAuthorization(page) {
      asked = page.searchParams.get('scope') ?? undefined
      visit(page)
    },
    ...(identity.metadataUrl === undefined ? {} : { clientMetadataUrl: identity.metadataUrl }),
  }

  return {
    provider,
    redeemable({ code, error, iss }) {
      const metadata = discovery?.authorizationServerMetadata
      validateAuthorizationResponseIssuer({
        iss,
        expectedIssuer: metadata?.issuer,
        issParameterSupported: metadata?.authorization_response_iss_parameter_supported === true,
      })
      if (code === undefined) throw explainRefusal(error ?? '')
      return { authorizationCode: code, ...(iss === undefined ? {} : { iss }) }
    },
    login() {
      const known: Login['client'] | undefined = identity.given ?? client
      if (tokens?.issuer === undefined || known === undefined) throw new Error('No tokens')
      if (tokens.token_type.toLowerCase() !== 'bearer') {
        throw new Failed({
          exitCode: EXIT.refused,
          text: 'The issuer gives tokens that are no bearer tokens; this client cannot use them.',
        })
      }
      const { client_id, client_secret, token_endpoint_auth_method: method } = known
      return {
        server: serverKey(server),
        issuer: tokens.issuer,
        registration: registrationOf(identity, client_id),
        client: { client_id, client_secret, token_endpoint_auth_method: method },
        resource,
        ...tokensOf(tokens, asked),
      }
    },
  }
}

function registrationOf({ given, metadataUrl }: ClientIdentity, id: string): Login['registration'] {
  if (given !== undefined) return 'given'
  return id === metadataUrl ? 'metadata-document' : 'dynamic'
}

/**
 * @throws {Failed} when the issuer does not say that it knows PKCE, as MCP demands of it, or does not
 *   know this client and has no way to get to know it.
 */
function assertUsable(
  metadata: AuthorizationServerMetadata | undefined,
  { given, metadataUrl }: ClientIdentity,
): void {
  // Without a metadata document it is an issuer of the 2025-03-26 revision, which has PKCE by definition.
  if (metadata === undefined) return
  if (!metadata.code_challenge_methods_supported?.includes('S256')) {
    throw new Failed({
      exitCode: EXIT.refused,
      text: `The issuer ${metadata.issuer} does not say that it supports PKCE (S256).`,
      hint: 'MCP demands that: "code_challenge_methods_supported" is missing in its metadata.',
    })
  }
  const hasDocument =
    metadataUrl !== undefined && metadata.client_id_metadata_document_supported === true
  if (given !== undefined || hasDocument || metadata.registration_endpoint !== undefined) return
  throw new Failed({
    exitCode: EXIT.refused,
    text: `The issuer ${metadata.issuer} does not know this client, and lets none register itself.`,
    hint: 'Register one with redirect URI http://127.0.0.1/callback, and give --client-id ID.',
  })
}
