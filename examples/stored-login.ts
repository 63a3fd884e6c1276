import {
  type AuthProvider,
  discoverAuthorizationServerMetadata,
  refreshAuthorization,
} from '@modelcontextprotocol/client'
import { EXIT, Failed } from './failures.ts'
import { IssuerRefused, issuerFetch } from './issuer-fetch.ts'
import { explainLogin } from './login-failures.ts'
import { type Login, type LoginStore, serverKey, tokensOf } from './login-store.ts'

/** A token that ends so soon is refreshed before it is sent. */
const LEEWAY_MS = 30_000
const REFRESH_TIMEOUT_MS = 30_000

/**
 * The access token of the stored login. It is refreshed when it is about to end, and once when the server
 * answers 401, under the lock of the store: an issuer that rotates refresh tokens takes a second use of one
 * for theft, so two processes must not both refresh. The issuer's endpoints are looked up from the
 * issuer of the login, never from the server.
 *
 * Its functions throw {@link Failed} 4 when there is no way but a new login, 3 when the issuer cannot be
 * reached.
 */
export function storedLogin(
  server: URL,
  store: LoginStore,
  first: Login,
  cancelled: AbortSignal,
): Required<AuthProvider> {
  let login = first

  async function refresh(): Promise<void> {
    const used = login.accessToken
    const next = await store.update(serverKey(server), async (current) => {
      if (current === undefined) throw loginAgain()
      // Another process has been here in the meantime.
      return current.accessToken === used ? refreshed(server, current, cancelled) : current
    })
    if (next !== undefined) login = next
  }

  return {
    async token() {
      const left = (login.expiresAt ?? Number.POSITIVE_INFINITY) - Date.now()
      if (left < LEEWAY_MS && login.refreshToken !== undefined) {
        try {
          await refresh()
        } catch (error) {
          if (left <= 0) throw error
          // It still works; the next call tries again.
        }
      }
      return login.accessToken
    },
    onUnauthorized: refresh,
  }
}

async function refreshed(server: URL, login: Login, cancelled: AbortSignal): Promise<Login> {
  const { refreshToken, issuer, client, resource } = login
  if (refreshToken === undefined) throw loginAgain()
  const limit = AbortSignal.timeout(REFRESH_TIMEOUT_MS)
  const fetchFn = issuerFetch(server, AbortSignal.any([cancelled, limit]))
  try {
    const metadata = await discoverAuthorizationServerMetadata(issuer, { fetchFn })
    const tokens = await refreshAuthorization(issuer, {
      ...(metadata === undefined ? {} : { metadata }),
      clientInformation: client,
      refreshToken,
      ...(resource === undefined ? {} : { resource }),
      fetchFn,
    })
    return { ...login, ...tokensOf(tokens, login.scope) }
  } catch (error) {
    throw error instanceof IssuerRefused
      ? loginAgain()
      : explainLogin(error, { timeoutMs: REFRESH_TIMEOUT_MS })
  }
}

function loginAgain(): Failed {
  return new Failed({
    exitCode: EXIT.refused,
    text: 'Your login has ended.',
    hint: 'Log in again with the command login.',
  })
}
