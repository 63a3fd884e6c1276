import { text } from 'node:stream/consumers'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Failed } from '../../examples/failures.ts'
import { type LoginRequest, logIn } from '../../examples/login.ts'
import type { Login } from '../../examples/login-store.ts'
import { httpServer, json, type TestServer } from '../http-server.ts'

/** What the issuer of these tests says in each place; a test changes what it needs. */
interface Script {
  metadata: Record<string, unknown>
  token: readonly [status: number, body: Record<string, unknown>]
  /** Of the answer that the browser brings, besides `state`. */
  answer: Record<string, string>
}

let place: TestServer
let script: Script
let visited: URL[]
let tokenRequests: URLSearchParams[]

beforeEach(async () => {
  visited = []
  tokenRequests = []
  place = await httpServer(async (request, response) => {
    const form = new URLSearchParams(await text(request))
    if (request.url === '/token') tokenRequests.push(form)
    const [status, body] = request.url === '/token' ? script.token : [200, documentAt(request.url)]
    if (body === undefined) return response.writeHead(404).end()
    if (status === 200) return json(body)(request, response)
    response.writeHead(status).end(JSON.stringify(body))
  })
  script = {
    metadata: {
      issuer: place.origin,
      authorization_endpoint: `${place.origin}/authorize`,
      token_endpoint: `${place.origin}/token`,
      registration_endpoint: `${place.origin}/register`,
      response_types_supported: ['code'],
      code_challenge_methods_supported: ['S256'],
      authorization_response_iss_parameter_supported: true,
    },
    token: [200, { access_token: 'access-1', token_type: 'Bearer', expires_in: 60 }],
    answer: { code: 'the-code', iss: place.origin },
  }
})
afterEach(() => place.down())

function documentAt(path = ''): Record<string, unknown> | undefined {
  const documents = new Map<string, Record<string, unknown>>([
    [
      '/.well-known/oauth-protected-resource/mcp',
      { resource: `${place.origin}/mcp`, authorization_servers: [place.origin] },
    ],
    ['/.well-known/oauth-authorization-server', script.metadata],
    ['/register', { client_id: 'client-1', redirect_uris: ['http://127.0.0.1/callback'] }],
  ])
  return documents.get(path)
}

/** Logs in with a browser that brings the answer of the script. */
function attempt(changes: Partial<LoginRequest> = {}): Promise<Login> {
  const request: LoginRequest = {
    server: new URL(`${place.origin}/mcp`),
    scope: 'mcp:use',
    resourceMetadataUrl: undefined,
    identity: {},
    issuer: undefined,
    redirectPort: 0,
    timeoutMs: 5000,
    ...changes,
  }
  const visit = (page: URL): void => {
    visited.push(page)
    const back = new URL(page.searchParams.get('redirect_uri') ?? '')
    back.search = `${new URLSearchParams({
      ...script.answer,
      state: page.searchParams.get('state') ?? '',
    })}`
    fetch(back).catch(() => {})
  }
  return logIn(request, visit, new AbortController().signal)
}

async function failure(work: Promise<unknown>): Promise<Failed['failure']> {
  const error = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  )
  if (error instanceof Failed) return error.failure
  throw new Error('It did not fail', { cause: error })
}

describe('contract: the flow, and what is kept of it', () => {
  it('asks for the code with PKCE and resource, and redeems it with both', async () => {
    const login = await attempt()
    expect(login).toMatchObject({
      server: `${place.origin}/mcp`,
      issuer: place.origin,
      registration: 'dynamic',
      client: { client_id: 'client-1' },
      resource: `${place.origin}/mcp`,
      accessToken: 'access-1',
      refreshToken: undefined,
      scope: 'mcp:use',
    })
    const asked = Object.fromEntries(visited[0]?.searchParams ?? [])
    expect(asked).toMatchObject({
      response_type: 'code',
      code_challenge_method: 'S256',
      resource: `${place.origin}/mcp`,
      scope: 'mcp:use',
    })
    expect(tokenRequests).toHaveLength(1)
    expect(Object.fromEntries(tokenRequests[0] ?? [])).toMatchObject({
      code: 'the-code',
      code_verifier: expect.stringMatching(/^[\w.~-]{43,128}$/),
      redirect_uri: asked['redirect_uri'],
      resource: `${place.origin}/mcp`,
    })
  })

  it.each([
    ['the issuer of an earlier login', () => ({ issuer: place.origin })],
    ['a client registered beforehand', () => ({ identity: { given: { client_id: 'given-1' } } })],
  ])('goes on with %s', async (_name, changes) => {
    expect((await attempt(changes())).accessToken).toBe('access-1')
  })

  it('takes the scope that the issuer gave, not the one that was asked for', async () => {
    script.token = [200, { access_token: 'access-1', token_type: 'bearer', scope: 'less' }]
    expect((await attempt()).scope).toBe('less')
  })
})

describe('threat: mix-up, the answer of one issuer is used at another', () => {
  it.each([
    ['a code of another issuer', { code: 'evil', iss: 'https://evil.example' }],
    ['a code without an issuer', { code: 'evil' }],
    ['an error of another issuer', { error: 'evil_error', iss: 'https://evil.example' }],
    ['an error without an issuer', { error: 'evil_error' }],
  ])('does not use %s, or show it', async (_name, answer) => {
    script.answer = answer
    const refusal = await failure(attempt())
    expect(refusal).toMatchObject({ exitCode: 4, text: expect.stringContaining('not come from') })
    expect(JSON.stringify(refusal)).not.toContain('evil')
    expect(tokenRequests).toEqual([])
  })

  it('does not use metadata that names another issuer', async () => {
    script.metadata = { ...script.metadata, issuer: 'https://evil.example' }
    expect((await failure(attempt())).exitCode).toBe(4)
    expect(visited).toEqual([])
  })

  it('does not take scopes to another issuer than the one of the login', async () => {
    const { exitCode, text } = await failure(attempt({ issuer: 'https://auth.example.com' }))
    expect(exitCode).toBe(4)
    expect(text).toContain('another issuer')
    expect(visited).toEqual([])
  })
})

describe('threat: an issuer with which a code or token could be stolen', () => {
  it.each<readonly [string, (metadata: Record<string, unknown>) => void, RegExp]>([
    ['no PKCE', (m) => delete m['code_challenge_methods_supported'], /PKCE/],
    ['PKCE in the clear', (m) => (m['code_challenge_methods_supported'] = ['plain']), /PKCE/],
    [
      'a page over plain http',
      (m) => (m['authorization_endpoint'] = 'http://auth.example.com/authorize'),
      /not safe/,
    ],
    [
      'a page that is a script',
      (m) => (m['authorization_endpoint'] = 'javascript:alert(1)'),
      /makes no sense|not safe/,
    ],
    [
      'a registration over plain http',
      (m) => (m['registration_endpoint'] = 'http://auth.example.com/register'),
      /not safe/,
    ],
  ])('does not open the browser for one with %s', async (_name, change, text) => {
    change(script.metadata)
    expect(await failure(attempt())).toMatchObject({
      exitCode: 4,
      text: expect.stringMatching(text),
    })
    expect(visited).toEqual([])
  })

  it('sends no code to a token endpoint over plain http', async () => {
    script.metadata['token_endpoint'] = 'http://auth.example.com/token'
    expect((await failure(attempt())).exitCode).toBe(4)
  })

  it('keeps no token of a kind that it cannot use', async () => {
    script.token = [200, { access_token: 'access-1', token_type: 'DPoP' }]
    expect((await failure(attempt())).text).toContain('no bearer tokens')
  })
})

describe('contract: a login that fails says why, and nothing that is secret', () => {
  it('names a way out when the issuer does not register clients', async () => {
    delete script.metadata['registration_endpoint']
    const { hint } = await failure(attempt({ identity: { metadataUrl: 'https://a.example/c' } }))
    expect(hint).toContain('--client-id')
    expect(visited).toEqual([])
  })

  it.each([
    ['invalid_client', '--client-id'],
    ['invalid_scope', 'scopes'],
    ['invalid_target', 'resource'],
  ])('explains %s, after one request', async (code, hint) => {
    script.token = [400, { error: code, error_description: 'secret-1' }]
    const refusal = await failure(attempt())
    expect(refusal).toMatchObject({ exitCode: 4, text: expect.stringContaining(code) })
    expect(refusal.hint).toContain(hint)
    expect(JSON.stringify(refusal)).not.toContain('secret-1')
    expect(tokenRequests).toHaveLength(1)
  })

  it('shows nothing of an answer that makes no sense', async () => {
    script.token = [200, { access_token: 5, refresh_token: 'secret-1' }]
    const refusal = await failure(attempt())
    expect(refusal).toMatchObject({ exitCode: 4, text: expect.stringContaining('no sense') })
    expect(JSON.stringify(refusal)).not.toContain('secret-1')
  })

  it('shows an error as the issuer calls it, when that is a name', async () => {
    script.answer = { error: 'access_denied', iss: place.origin }
    expect((await failure(attempt())).text).toContain('access_denied')
    script.answer = { error: '<b>\u001b[2J', iss: place.origin }
    expect((await failure(attempt())).text).toBe('The issuer refused the login.')
  })

  it('says that the issuer cannot be reached', async () => {
    const request = attempt({ server: new URL('http://127.0.0.1:9/mcp') })
    expect(await failure(request)).toMatchObject({ exitCode: 3 })
  })
})
