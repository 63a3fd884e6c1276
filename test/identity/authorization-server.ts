// optional: oauth
import { randomBytes } from 'node:crypto'
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import { text } from 'node:stream/consumers'
import Provider from 'oidc-provider'
import { createMemoryAdapter } from 'oidc-provider/lib/adapters/memory_adapter.js'
import { httpServer, json, type TestServer } from '../http-server.ts'
import type { Question } from './browser.ts'
import { type Algorithm, METADATA_PATH, type SigningKey, signingKey } from './issuer.ts'

/** Where its clients listen, on whatever port (RFC 8252 §7.3). */
const REDIRECT_URI = 'http://127.0.0.1/callback'

/** Everything that the shipped policies ask for. */
const SCOPES = 'mcp:use documents:process reports:read reports:delete'

export interface AuthorizationServerOptions {
  /** Life of access tokens; 600 when left out. */
  readonly accessTokenSeconds?: number
  /** What access tokens for a resource are; JWT when left out. Without a resource they are opaque. */
  readonly accessTokens?: 'opaque'
  /** Of tokens; ES256 when left out. */
  readonly algorithm?: Algorithm
  /** Which metadata it publishes (RFC 8414, OpenID Connect Discovery); both when left out. */
  readonly metadata?: 'openid'
  /** Who gets refresh tokens; when left out, clients that ask for `offline_access`. */
  readonly refreshTokens?: 'everybody'
}

/** A real authorization server on loopback, for any resource. `person` logs in there. */
export interface AuthorizationServer
  extends Pick<TestServer, 'down' | 'up' | 'requests'>,
    AsyncDisposable {
  /** The value of `iss`. */
  readonly url: string
  /** Registered beforehand, without a secret. */
  readonly publicClient: { readonly client_id: string }
  /** Registered beforehand, for introspection. */
  readonly confidentialClient: { readonly client_id: string; readonly client_secret: string }
  /** URL of a Client ID Metadata Document that it can fetch. */
  readonly clientMetadataUrl: string
  /** How it has done so. */
  readonly documentRequests: readonly IncomingMessage[]
  /** Publishes another key and signs with it from now on. `without` takes the old ones away. */
  rotate(without?: 'old keys'): void
}

export async function startAuthorizationServer(
  options: AuthorizationServerOptions = {},
): Promise<AuthorizationServer> {
  const { algorithm = 'ES256' } = options
  const secret = randomBytes(32).toString('base64url')
  const publicClient = { client_id: 'registered-client' }
  const confidentialClient = { client_id: CONFIDENTIAL_CLIENT_ID, client_secret: secret }
  const clientMetadataUrl = 'https://client.example/oauth/client.json'
  const documents = await httpServer(json({ client_id: clientMetadataUrl, ...NATIVE_CLIENT }))
  const server = await httpServer((_request, response) => response.writeHead(503).end())

  let keys = [signingKey(algorithm, 'first')]
  let rotations = 0
  const lasting = { adapter: createMemoryAdapter(), cookies: { keys: [secret] } }
  /** A provider has its keys for life, so others follow it on the same store. */
  function serve(): void {
    const provider = new Provider(server.origin, {
      ...configurationOf(options, keys),
      ...lasting,
      clients: [
        { ...publicClient, ...NATIVE_CLIENT },
        { ...confidentialClient, redirect_uris: [], response_types: [], grant_types: [] },
      ],
      // Documents are on https alone, and no name leads to loopback: this is the way there.
      fetch: (url: string, { signal }: RequestInit) =>
        fetch(`${documents.origin}${new URL(url).pathname}`, { signal: signal ?? null }),
    })
    server.answer = answersOf(provider, options)
  }
  serve()

  return {
    url: server.origin,
    publicClient,
    confidentialClient,
    clientMetadataUrl,
    documentRequests: documents.requests,
    requests: server.requests,
    down: server.down,
    up: server.up,
    rotate(without) {
      rotations += 1
      const key = signingKey(algorithm, `rotated-${rotations}`)
      keys = without === undefined ? [key, ...keys] : [key]
      serve()
    },
    async [Symbol.asyncDispose]() {
      await Promise.all([server.down(), documents.down()])
    },
  }
}

const CONFIDENTIAL_CLIENT_ID = 'gatehouse'
const NATIVE_CLIENT = {
  client_name: 'Client of the tests',
  redirect_uris: [REDIRECT_URI],
  application_type: 'native',
  token_endpoint_auth_method: 'none',
  grant_types: ['authorization_code', 'refresh_token'],
  response_types: ['code'],
}

/** @param keys the first one signs */
function configurationOf(options: AuthorizationServerOptions, keys: readonly SigningKey[]): object {
  const { accessTokenSeconds = 600, accessTokens, algorithm = 'ES256' } = options
  return {
    jwks: {
      keys: keys.map(({ privateKey, kid, alg }) => ({
        ...privateKey.export({ format: 'jwk' }),
        kid,
        alg,
      })),
    },
    clientDefaults: { id_token_signed_response_alg: algorithm },
    // Pages of any origin may redeem their codes.
    clientBasedCORS: () => true,
    scopes: ['openid', 'offline_access', ...SCOPES.split(' ')],
    findAccount: (_context: unknown, sub: string) => ({ accountId: sub, claims: () => ({ sub }) }),
    interactions: { url: (_context: unknown, { uid }: { uid: string }) => `/interaction/${uid}` },
    renderError(context: { body: unknown }, out: object) {
      context.body = out
    },
    ...(options.refreshTokens === undefined ? {} : { issueRefreshToken: () => true }),
    ttl: {
      ...{ Interaction: 600, Session: 3600, Grant: 3600, RefreshToken: 3600, IdToken: 600 },
      AccessToken: () => accessTokenSeconds,
    },
    features: {
      devInteractions: { enabled: false },
      dPoP: { enabled: true },
      introspection: {
        enabled: true,
        allowedPolicy: (_context: unknown, { clientId }: { clientId: string }) =>
          clientId === CONFIDENTIAL_CLIENT_ID,
      },
      registration: { enabled: true },
      revocation: { enabled: true, allowedPolicy: () => true },
      clientIdMetadataDocument: { enabled: true, ack: 'draft-02' },
      resourceIndicators: {
        enabled: true,
        useGrantedResource: () => true,
        getResourceServerInfo: (_context: unknown, resource: string) => ({
          scope: SCOPES,
          audience: resource,
          ...(accessTokens === undefined
            ? { accessTokenFormat: 'jwt', jwt: { sign: { alg: algorithm } } }
            : { accessTokenFormat: accessTokens }),
        }),
      },
    },
  }
}

/** The provider, its page for persons, and nothing at the place of metadata that it does not have. */
function answersOf(provider: Provider, { metadata }: AuthorizationServerOptions): RequestListener {
  const callback = provider.callback()
  const missing = metadata === 'openid' ? METADATA_PATH : undefined
  return (request, response) => {
    const { url = '' } = request
    if (url === missing) response.writeHead(404).end()
    else if (!url.startsWith('/interaction/')) callback(request, response)
    else {
      interact(provider, request, response).catch((error: unknown) => {
        response.writeHead(400).end(String(error))
      })
    }
  }
}

/** Asks the person (`Question`), and takes `login=ACCOUNT` or `consent=yes` for an answer. */
async function interact(
  provider: Provider,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const { prompt, params, session, grantId } = await provider.interactionDetails(request, response)
  if (request.method === 'GET') {
    const { client_id: client, scope = '' } = params
    return json({ prompt: prompt.name, client, scope } satisfies Question)(request, response)
  }
  const form = new URLSearchParams(await text(request))
  const finish = (
    answer: Parameters<Provider['interactionFinished']>[2],
    mergeWithLastSubmission: boolean,
  ): Promise<void> =>
    provider.interactionFinished(request, response, answer, { mergeWithLastSubmission })
  const login = form.get('login')
  if (login !== null) return finish({ login: { accountId: login } }, false)
  if (form.get('consent') !== 'yes') {
    return finish({ error: 'access_denied', error_description: 'The person said no' }, false)
  }
  const { missingOIDCScope = [], missingResourceScopes = {} } = prompt.details
  const grant =
    (grantId === undefined ? undefined : await provider.Grant.find(grantId)) ??
    new provider.Grant({ accountId: session?.accountId ?? '', clientId: params.client_id })
  grant.addOIDCScope(missingOIDCScope.join(' '))
  for (const [resource, scopes] of Object.entries(missingResourceScopes)) {
    grant.addResourceScope(resource, scopes.join(' '))
  }
  return finish({ consent: { grantId: await grant.save() } }, true)
}
