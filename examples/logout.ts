import {
  discoverAuthorizationServerMetadata,
  type FetchLike,
  selectClientAuthMethod,
} from '@modelcontextprotocol/client'
import { z } from 'zod'
import { IssuerRefused, issuerFetch } from './issuer-fetch.ts'
import { type Login, type LoginStore, serverKey } from './login-store.ts'

/** What the SDK does not read of the metadata (RFC 8414 §2). */
const metadataSchema = z.object({
  revocation_endpoint: z.string().optional(),
  revocation_endpoint_auth_methods_supported: z.array(z.string()).optional(),
  token_endpoint_auth_methods_supported: z.array(z.string()).default([]),
})
type Metadata = z.infer<typeof metadataSchema>

/** What became of the tokens at the issuer. */
export type Revocation = 'revoked' | 'not supported' | 'failed'

/**
 * Ends the login of a server: the tokens are revoked at the issuer (RFC 7009) and deleted here, whatever
 * the issuer says.
 *
 * @returns `undefined` when there was no login.
 */
export async function logOut(
  server: URL,
  store: LoginStore,
  cancelled: AbortSignal,
): Promise<Revocation | undefined> {
  const key = serverKey(server)
  const fetchFn = issuerFetch(server, cancelled)
  let outcome: Revocation | undefined
  try {
    if ((await store.read(key)) === undefined) return undefined
    await store.update(key, async (login) => {
      outcome = login && (await revoke(login, fetchFn).catch((): Revocation => 'failed'))
      return undefined
    })
    return outcome
  } catch {
    // A file that others may have written is not used, but it goes as well.
    await store.delete(key)
    return 'failed'
  }
}

async function revoke(login: Login, fetchFn: FetchLike): Promise<Revocation> {
  const found = await discoverAuthorizationServerMetadata(login.issuer, { fetchFn })
  const metadata = metadataSchema.parse(found ?? {})
  const { revocation_endpoint: endpoint } = metadata
  if (endpoint === undefined) return 'not supported'
  const tokens = [
    ['refresh_token', login.refreshToken],
    ['access_token', login.accessToken],
  ] as const
  for (const [hint, token] of tokens) {
    if (token === undefined) continue
    const headers = new Headers({ accept: 'application/json' })
    const body = new URLSearchParams({ token, token_type_hint: hint })
    authenticate(login, metadata, headers, body)
    try {
      await fetchFn(endpoint, { method: 'POST', headers, body, redirect: 'error' })
    } catch (error) {
      // A JWT is valid until it ends; an issuer may say so (RFC 7009 §2.2.1).
      const isSelfContained = error instanceof IssuerRefused && hint === 'access_token'
      if (!isSelfContained || error.code !== 'unsupported_token_type') throw error
    }
  }
  return 'revoked'
}

/** As at the token endpoint (RFC 7009 §2.1, RFC 6749 §2.3.1). */
function authenticate(
  { client }: Login,
  metadata: Metadata,
  headers: Headers,
  body: URLSearchParams,
): void {
  const methods =
    metadata.revocation_endpoint_auth_methods_supported ??
    metadata.token_endpoint_auth_methods_supported
  const { client_id, client_secret: secret } = client
  if (selectClientAuthMethod(client, methods) === 'client_secret_basic') {
    const credentials = [client_id, secret ?? ''].map(encodeURIComponent).join(':')
    headers.set('authorization', `Basic ${Buffer.from(credentials).toString('base64')}`)
    return
  }
  body.set('client_id', client_id)
  if (secret !== undefined) body.set('client_secret', secret)
}
