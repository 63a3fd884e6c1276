// optional: oauth
import { randomUUID } from 'node:crypto'
import {
  Client,
  type OAuthClientProvider,
  type OAuthDiscoveryState,
  type StoredOAuthClientInformation,
  type StoredOAuthTokens,
  StreamableHTTPClientTransport,
  UnauthorizedError,
} from '@modelcontextprotocol/client'
import { UnauthorizedError as FirstUnauthorizedError } from '@modelcontextprotocol/sdk/client/auth.js'
import { Client as FirstClient } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport as FirstTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import { expect } from 'vitest'
import type { Person } from './browser.ts'

/** The clients that are in use: the library, and the revision of the protocol that it speaks. */
export const SDKS = ['v2, 2026-07-28', 'v2, 2025-11-25', 'v1, 2025-11-25'] as const
export type Sdk = (typeof SDKS)[number]

/** How a client is known: beforehand, by a document, or, with neither, by registering itself. */
export interface ClientIdentity {
  readonly client?: StoredOAuthClientInformation
  readonly clientMetadataUrl?: string
}

export interface OAuthClientOptions extends ClientIdentity {
  readonly sdk: Sdk
  /** Of the MCP server. */
  readonly url: string
  readonly person: Person
}

/** What an application keeps of a login. */
export interface Kept {
  client?: StoredOAuthClientInformation | undefined
  tokens?: StoredOAuthTokens | undefined
  verifier?: string
  discovery?: OAuthDiscoveryState
}

/** An application that calls an MCP server for a person, and asks the person when it must. */
export interface OAuthClient {
  connect(): Promise<void>
  /** @returns the structured result */
  // biome-ignore lint/suspicious/noExplicitAny: results are inspected by the tests
  call(name: string, args?: Record<string, unknown>): Promise<any>
  /** @returns the text of a resource */
  read(uri: string): Promise<string>
  close(): Promise<void>
  /** Revision of the protocol that it speaks with the server. */
  version(): string | undefined
  /** Authorization requests, oldest first. */
  readonly pages: readonly URL[]
  /** What the person's browser was sent back with, oldest first. */
  readonly redirects: readonly URL[]
  readonly kept: Kept
  /** Every token, code and verifier so far. */
  readonly secrets: ReadonlySet<string>
  /** All HTTP of the client: method, path and status. */
  readonly steps: string[]
  /** Every answer of the MCP server, whole. */
  answers(): Promise<string>
}

const REDIRECT_URL = 'http://127.0.0.1:45454/callback'
const INFO = { name: 'test', version: '1.0.0' }

export function oauthClient(options: OAuthClientOptions): OAuthClient {
  const { sdk, person } = options
  const url = new URL(options.url)
  const steps: string[] = []
  const answers: Promise<string>[] = []
  const pages: URL[] = []
  const redirects: URL[] = []
  const kept: Kept = { client: options.client }
  const secrets = new Set<string>()
  const state = randomUUID()

  const authProvider: OAuthClientProvider = {
    redirectUrl: REDIRECT_URL,
    clientMetadata: {
      client_name: 'Client of the tests',
      redirect_uris: [REDIRECT_URL],
      token_endpoint_auth_method: 'none',
      application_type: 'native',
      grant_types: ['authorization_code', 'refresh_token'],
    },
    ...(options.clientMetadataUrl && { clientMetadataUrl: options.clientMetadataUrl }),
    state: () => state,
    clientInformation: () => kept.client,
    saveClientInformation(client) {
      kept.client = client
    },
    tokens: () => kept.tokens,
    saveTokens(tokens) {
      kept.tokens = tokens
      const { access_token: token } = tokens
      for (const part of [token, ...token.split('.').slice(1)]) secrets.add(part)
      if (tokens.refresh_token !== undefined) secrets.add(tokens.refresh_token)
    },
    codeVerifier: () => kept.verifier ?? '',
    saveCodeVerifier(verifier) {
      kept.verifier = verifier
      secrets.add(verifier)
    },
    discoveryState: () => kept.discovery,
    saveDiscoveryState(discovery) {
      kept.discovery = discovery
    },
    invalidateCredentials(scope) {
      if (scope === 'tokens' || scope === 'all') kept.tokens = undefined
      if (scope === 'client' || scope === 'all') kept.client = undefined
    },
    redirectToAuthorization(page) {
      pages.push(page)
    },
  }

  async function watchedFetch(input: URL | string, init?: RequestInit): Promise<Response> {
    const response = await fetch(input, init)
    const { origin, pathname } = new URL(input)
    steps.push(`${init?.method ?? 'GET'} ${pathname} ${response.status}`)
    if (origin === url.origin) {
      const headers = [...response.headers].join('\n')
      answers.push(
        response
          .clone()
          .text()
          .then((body) => headers + body)
          .catch(() => headers), // Closed in the middle.
      )
    }
    return response
  }

  const open = (): Connection => CONNECTIONS[sdk](url, { authProvider, fetch: watchedFetch })
  let connection = open()

  /** The person does what the last authorization request asks for. */
  async function logIn(): Promise<void> {
    const page = pages.at(-1)
    if (page === undefined) throw new Error('Nobody was sent anywhere')
    const redirect = await person.visit(page)
    redirects.push(redirect)
    expect(redirect.searchParams.get('state')).toBe(state)
    for (const code of redirect.searchParams.getAll('code')) secrets.add(code)
    await connection.finish(redirect)
  }

  async function withLogin<T>(work: () => Promise<T>, again = work): Promise<T> {
    try {
      return await work()
    } catch (error) {
      const isForPerson =
        error instanceof UnauthorizedError || error instanceof FirstUnauthorizedError
      if (!isForPerson) throw error
    }
    await logIn()
    return again()
  }

  return {
    pages,
    redirects,
    kept,
    secrets,
    steps,
    answers: async () => (await Promise.all(answers)).join('\n'),
    connect: () =>
      withLogin(
        () => connection.connect(),
        () => {
          connection = open()
          return connection.connect()
        },
      ),
    call: (name, args = {}) => withLogin(() => connection.call(name, args)),
    read: (uri) => withLogin(() => connection.read(uri)),
    close: () => connection.close(),
    version: () => connection.version(),
  }
}

interface Connection {
  connect(): Promise<void>
  finish(redirect: URL): Promise<void>
  call(name: string, args: Record<string, unknown>): Promise<unknown>
  read(uri: string): Promise<string>
  close(): Promise<void>
  version(): string | undefined
}

interface TransportOptions {
  readonly authProvider: OAuthClientProvider
  readonly fetch: (input: URL | string, init?: RequestInit) => Promise<Response>
}

const secondSdk =
  (mode: 'auto' | 'legacy') =>
  (url: URL, options: TransportOptions): Connection => {
    const client = new Client(INFO, { versionNegotiation: { mode } })
    const transport = new StreamableHTTPClientTransport(url, options)
    return {
      connect: () => client.connect(transport),
      finish: ({ searchParams }) => transport.finishAuth(searchParams),
      async call(name, args) {
        const result = await client.callTool({ name, arguments: args })
        expect(result.isError).toBeFalsy()
        return result.structuredContent
      },
      read: async (uri) => JSON.stringify((await client.readResource({ uri })).contents),
      close: () => client.close(),
      version: () => client.getNegotiatedProtocolVersion(),
    }
  }

function firstSdk(url: URL, options: TransportOptions): Connection {
  const client = new FirstClient(INFO)
  const transport = new FirstTransport(url, options)
  return {
    connect: () => client.connect(transport),
    async finish({ searchParams }) {
      const code = searchParams.get('code')
      if (code === null) throw new Error(searchParams.get('error') ?? 'no code')
      await transport.finishAuth(code)
    },
    async call(name, args) {
      const result = await client.callTool({ name, arguments: args })
      expect(result.isError).toBeFalsy()
      return result.structuredContent
    },
    read: async (uri) => JSON.stringify((await client.readResource({ uri })).contents),
    close: () => client.close(),
    version: () => transport.protocolVersion,
  }
}

const CONNECTIONS = {
  'v2, 2026-07-28': secondSdk('auto'),
  'v2, 2025-11-25': secondSdk('legacy'),
  'v1, 2025-11-25': firstSdk,
} as const satisfies Record<Sdk, (url: URL, options: TransportOptions) => Connection>
