import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Failed } from '../../examples/failures.ts'
import { type Login, type LoginStore, loginStore } from '../../examples/login-store.ts'
import { storedLogin } from '../../examples/stored-login.ts'
import { httpServer, json, type TestServer } from '../http-server.ts'

const SERVER = new URL('http://127.0.0.1:3000/mcp')
const never = new AbortController().signal

let folder: string
let store: LoginStore
let issuer: TestServer
/** Forms that the token endpoint has had. */
let refreshes: URLSearchParams[]
/** The only refresh token that works: the issuer rotates them. */
let current: string

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'stored-login-'))
  store = loginStore(join(folder, 'gatehouse'))
  refreshes = []
  current = 'refresh-0'
  issuer = await httpServer(async (request, response) => {
    if (request.url !== '/token') return json(metadata())(request, response)
    const form = new URLSearchParams(await text(request))
    refreshes.push(form)
    if (form.get('refresh_token') !== current) {
      return response.writeHead(400).end('{"error":"invalid_grant"}')
    }
    current = `refresh-${refreshes.length}`
    const tokens = { access_token: `access-${refreshes.length}`, token_type: 'Bearer' }
    json({ ...tokens, refresh_token: current, expires_in: 600 })(request, response)
  })
})
afterEach(async () => {
  await issuer.down()
  rmSync(folder, { recursive: true })
})

const metadata = (): object => ({
  issuer: issuer.origin,
  authorization_endpoint: `${issuer.origin}/authorize`,
  token_endpoint: `${issuer.origin}/token`,
  response_types_supported: ['code'],
})

/** Keeps a login, and is a process that uses it. @param lifeMs left to its access token */
async function processWith(lifeMs: number, changes: Partial<Login> = {}) {
  const login: Login = {
    server: SERVER.href,
    issuer: issuer.origin,
    registration: 'dynamic',
    client: { client_id: 'client-1' },
    resource: SERVER.href,
    accessToken: 'access-0',
    refreshToken: 'refresh-0',
    scope: 'mcp:use',
    expiresAt: Date.now() + lifeMs,
    ...changes,
  }
  await store.update(SERVER.href, async () => login)
  return storedLogin(SERVER, store, login, never)
}

type Process = Awaited<ReturnType<typeof processWith>>

/** What the SDK does when the server answers 401. */
function challenge(process: Process): Promise<void> {
  const response = new Response(null, { status: 401 })
  return process.onUnauthorized({ response, serverUrl: SERVER, fetchFn: fetch })
}

async function failure(work: Promise<unknown>): Promise<Failed['failure']> {
  const error = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  )
  if (error instanceof Failed) return error.failure
  throw new Error('It did not fail', { cause: error })
}

describe('contract: the token of a login', () => {
  it('is sent as it is while it lasts', async () => {
    const process = await processWith(600_000)
    expect(await process.token()).toBe('access-0')
    expect(issuer.requests).toEqual([])
  })

  it.each([
    ['it is about to end', 20_000],
    ['it has ended', -20_000],
  ])('is refreshed when %s, and kept', async (_name, lifeMs) => {
    const process = await processWith(lifeMs)
    expect(await process.token()).toBe('access-1')
    expect(await process.token()).toBe('access-1')
    expect(await store.read(SERVER.href)).toMatchObject({
      accessToken: 'access-1',
      refreshToken: 'refresh-1',
      scope: 'mcp:use',
    })
    expect(refreshes.map((form) => Object.fromEntries(form))).toEqual([
      {
        grant_type: 'refresh_token',
        refresh_token: 'refresh-0',
        client_id: 'client-1',
        resource: SERVER.href,
      },
    ])
  })

  it('is refreshed when the server does not take it', async () => {
    const process = await processWith(600_000)
    await challenge(process)
    expect(await process.token()).toBe('access-1')
  })

  it.each([
    ['another process has used its refresh token', { refreshToken: 'used' }],
    ['it came without a refresh token', { refreshToken: undefined }],
  ])('ends when %s', async (_name, changes) => {
    const refusal = await failure(challenge(await processWith(600_000, changes)))
    expect(refusal).toMatchObject({ exitCode: 4, hint: expect.stringContaining('login') })
    expect(await store.read(SERVER.href)).toMatchObject({ accessToken: 'access-0' })
  })

  it('ends when somebody has logged out', async () => {
    const process = await processWith(600_000)
    await store.delete(SERVER.href)
    expect((await failure(challenge(process))).exitCode).toBe(4)
    expect(await store.read(SERVER.href)).toBeUndefined()
    expect(refreshes).toEqual([])
  })

  it('is used to its end while the issuer is down, and then says so', async () => {
    await issuer.down()
    expect(await (await processWith(20_000)).token()).toBe('access-0')
    expect((await failure((await processWith(-1)).token())).exitCode).toBe(3)
    await issuer.up()
    expect(await (await processWith(-1)).token()).toBe('access-1')
  })
})

describe('threat: two processes use one refresh token, and the issuer takes it for theft', () => {
  it('is refreshed by one of them, for all', async () => {
    const processes = await Promise.all([0, 1, 2].map(() => processWith(600_000)))
    await Promise.all(processes.map(challenge))
    expect(refreshes).toHaveLength(1)
    expect(await Promise.all(processes.map((process) => process.token()))).toEqual([
      'access-1',
      'access-1',
      'access-1',
    ])
  })
})

describe('threat: the refresh token goes to somebody else than its issuer', () => {
  it.each([
    ['metadata of another issuer', { issuer: 'https://evil.example' }],
    ['a token endpoint over plain http', { token_endpoint: 'http://evil.example/token' }],
  ])('does not follow %s', async (_name, change) => {
    const process = await processWith(600_000)
    issuer.answer = json({ ...metadata(), ...change })
    const refusal = await failure(challenge(process))
    expect(refusal.exitCode).toBe(4)
    expect(JSON.stringify(refusal)).not.toMatch(/refresh-0|access-0/)
  })

  it('does not follow a redirect to another place', async () => {
    const process = await processWith(600_000)
    const elsewhere = await httpServer(json({ access_token: 'evil', token_type: 'Bearer' }))
    issuer.answer = (request, response) => {
      if (request.url !== '/token') return json(metadata())(request, response)
      response.writeHead(307, { location: `${elsewhere.origin}/token` }).end()
    }
    expect((await failure(challenge(process))).exitCode).toBe(4)
    expect(elsewhere.requests).toEqual([])
    await elsewhere.down()
  })
})
