import { auth } from '@modelcontextprotocol/client'
import { assertIssuerUrl, issuerFetch } from './issuer-fetch.ts'
import { startAttempt } from './login-attempt.ts'
import { explainLogin } from './login-failures.ts'
import type { Login } from './login-store.ts'
import { listenForRedirect } from './loopback.ts'

/** How this client is known to the issuer, in the order in which it is tried. */
export interface ClientIdentity {
  /** Registered beforehand. */
  readonly given?: Login['client'] | undefined
  /** URL of a Client ID Metadata Document, for an issuer that supports them. Else: dynamic registration. */
  readonly metadataUrl?: string | undefined
}

export interface LoginRequest {
  readonly server: URL
  /** Space-separated; `undefined` for all that the server's metadata lists. */
  readonly scope: string | undefined
  /** From the challenge of the server; `undefined` for the well-known places. */
  readonly resourceMetadataUrl: URL | undefined
  readonly identity: ClientIdentity
  /** The only issuer to go to; `undefined` for the one that the server names. */
  readonly issuer: string | undefined
  /** 0 for a free one. */
  readonly redirectPort: number
  /** How long the person may take. */
  readonly timeoutMs: number
}

/**
 * The authorization code flow in the person's browser, as the SDK does it: discovery (RFC 9728, RFC 8414,
 * OpenID Connect), PKCE (RFC 7636), `resource` (RFC 8707), `iss` (RFC 9207). This file adds what the
 * SDK leaves to its host: `state`, the redirect, which issuers are safe to talk to, and that one
 * without PKCE is none of them.
 *
 * @param visit shows the page to the person
 * @throws {Failed} 3 when the issuer or the person does not answer, 4 when either refuses
 */
export async function logIn(
  request: LoginRequest,
  visit: (page: URL) => void,
  cancelled: AbortSignal,
): Promise<Login> {
  const { server, scope, resourceMetadataUrl } = request
  await using redirect = await listenForRedirect(request.redirectPort)
  const attempt = startAttempt(request, redirect.url, redirect.state, (page) =>
    visit(assertIssuerUrl(page, server)),
  )
  const options = { serverUrl: server, fetchFn: issuerFetch(server, cancelled) }
  try {
    await auth(attempt.provider, {
      ...options,
      ...(scope === undefined ? {} : { scope }),
      ...(resourceMetadataUrl === undefined ? {} : { resourceMetadataUrl }),
    })
    const limit = AbortSignal.timeout(request.timeoutMs)
    const answer = await redirect.answer(AbortSignal.any([cancelled, limit]))
    await auth(attempt.provider, { ...options, ...attempt.redeemable(answer) })
    return attempt.login()
  } catch (error) {
    throw explainLogin(error, request)
  }
}
