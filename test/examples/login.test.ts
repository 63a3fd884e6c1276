// optional: oauth
import { chmodSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { stopServers } from '../server.ts'
import { browserOf, type LoginTarget, startLoginTarget } from './login-target.ts'

const TOKEN_PATH = '/token'
const REVOCATION_PATH = '/token/revocation'
const INPUT = '{"documents":[{"name":"a.md","text":"firewalls"}]}'
const DOCUMENTS = ['call', 'process_documents', '--args', INPUT]

// Each is several processes.
vi.setConfig({ testTimeout: 60_000 })

let target: LoginTarget
beforeAll(async () => {
  target = await startLoginTarget()
})
afterAll(async () => {
  await target[Symbol.asyncDispose]()
  await stopServers()
})
beforeEach(() => target.forget())

describe.each(['modern', 'legacy'])('contract: a person logs in, era %s', (era) => {
  it.each([
    ['a client that registers itself', () => [], 'dynamic'],
    [
      'a client registered beforehand',
      () => ['--client-id', target.issuer.publicClient.client_id],
      'given',
    ],
    [
      'a Client ID Metadata Document',
      () => ['--client-metadata-url', target.issuer.clientMetadataUrl],
      'metadata-document',
    ],
  ])('as %s, calls, steps up, and logs out', async (_name, identity, registration) => {
    const line = ['login', '--scope', 'reports:read', ...identity()]
    const login = await target.client([...line, '--era', era])
    expect(login.err).toContain(`${target.issuer.url}/auth?`)
    expect(login.out).toContain(`Logged in to ${target.server.url}\nIssuer: ${target.issuer.url}\n`)
    expect(login.code).toBe(0)
    expect(target.login()).toMatchObject({
      server: target.server.url,
      issuer: target.issuer.url,
      resource: target.server.url,
      registration,
    })

    const whoami = await target.client(['call', 'whoami', '--era', era])
    expect(whoami.out).toContain('subject: alice')
    expect(whoami.code).toBe(0)

    const stepUp = await target.client([...DOCUMENTS, '--step-up', '--era', era])
    expect(stepUp.err).toContain('This needs more than your login has')
    expect(stepUp.out).toContain('reportId: ')
    expect(stepUp.code).toBe(0)
    const scopes = target.login().scope?.split(' ')
    expect(scopes).toEqual(expect.arrayContaining(['mcp:use', 'reports:read', 'documents:process']))
    expect(target.login()).toMatchObject({ registration })

    const again = await target.client([...DOCUMENTS, '--no-step-up', '--era', era])
    expect(again.code).toBe(0)

    const logout = await target.client(['logout'])
    expect(logout).toEqual({
      code: 0,
      out: 'Logged out. The issuer has revoked the tokens.\n',
      err: '',
    })
    expect((await target.client(['call', 'whoami', '--era', era])).code).toBe(4)
  })

  it('says what to type when there is no terminal to step up', async () => {
    await target.client(['login', '--era', era])
    const { code, err } = await target.client([...DOCUMENTS, '--era', era])
    expect(code).toBe(4)
    expect(err).toMatch(/login --scope 'mcp:use( offline_access)? documents:process'/)
  })
})

describe('contract: a login lasts', () => {
  let target: LoginTarget
  beforeAll(async () => {
    // So short that the client refreshes before each call.
    target = await startLoginTarget({ accessTokenSeconds: 20 })
  })
  afterAll(() => target[Symbol.asyncDispose]())

  it('refreshes silently and keeps the new tokens', async () => {
    await target.client(['login'])
    const before = target.login()
    expect(before.refreshToken).toBeDefined()
    const { code, err } = await target.client(['call', 'whoami'])
    expect({ code, err }).toEqual({ code: 0, err: '' })
    const after = target.login()
    expect(after.accessToken).not.toBe(before.accessToken)
    expect(after.refreshToken).not.toBe(before.refreshToken)
    expect(after.scope).toBe(before.scope)
  })

  it('uses each refresh token once when several processes need it', async () => {
    await target.client(['login'])
    const runs = Array.from({ length: 4 }, () => target.client(['call', 'whoami']))
    expect((await Promise.all(runs)).map(({ code }) => code)).toEqual([0, 0, 0, 0])
    expect((await target.client(['call', 'whoami'])).code).toBe(0)
  })

  it('still calls while the issuer is down and the token is good', async () => {
    await target.client(['login'])
    await target.issuer.down()
    const { code } = await target.client(['call', 'whoami'])
    await target.issuer.up()
    expect(code).toBe(0)
  })

  it('says that it has ended when the issuer does not renew it', async () => {
    await target.client(['login'])
    const path = join(target.folder, readdirSync(target.folder)[0] ?? '')
    const ended = { ...target.login(), refreshToken: 'revoked-refresh-token', expiresAt: 0 }
    writeFileSync(path, JSON.stringify(ended))
    const { code, err } = await target.client(['call', 'whoami'])
    expect(code).toBe(4)
    expect(err).toBe('Your login has ended.\nLog in again with the command login.\n')
  })

  it('goes after --key and GATEHOUSE_KEY', async () => {
    await target.client(['login'])
    const key = target.server.key
    const withKey = await target.client(['call', 'whoami', '--key', key])
    expect(withKey.out).toContain('kind: api-key')
    const withVariable = await target.client(['call', 'whoami'], { GATEHOUSE_KEY: key })
    expect(withVariable.out).toContain('kind: api-key')
    expect((await target.client(['call', 'whoami'])).out).toContain('kind: oauth')
  })
})

describe('contract: logging out', () => {
  it('revokes the tokens at the issuer', async () => {
    await target.client(['login'])
    const { refreshToken = '', client } = target.login()
    const before = target.requestsOf(REVOCATION_PATH)
    await target.client(['logout'])
    expect(target.requestsOf(REVOCATION_PATH)).toBeGreaterThan(before)
    expect(target.logins()).toBe(0)
    const response = await fetch(target.issuer.url + TOKEN_PATH, {
      method: 'POST',
      body: new URLSearchParams({
        grant_type: 'refresh_token',
        refresh_token: refreshToken,
        client_id: client.client_id,
      }),
    })
    expect(await response.json()).toMatchObject({ error: 'invalid_grant' })
  })

  it('deletes them when the issuer is down, and says so', async () => {
    await target.client(['login'])
    await target.issuer.down()
    const logout = await target.client(['logout'])
    await target.issuer.up()
    expect(logout.out).toContain('did not revoke')
    expect(logout.code).toBe(0)
    expect(target.logins()).toBe(0)
  })

  it('says when there is nothing to do', async () => {
    expect(await target.client(['logout'])).toEqual({
      code: 0,
      out: 'You were not logged in.\n',
      err: '',
    })
  })
})

describe('threat: another user of the machine, who reads tokens or plants some', () => {
  it('keeps them in a folder of mode 700, in a file of mode 600, and uses no other', async () => {
    await target.client(['login'])
    expect(statSync(target.folder).mode & 0o777).toBe(0o700)
    const names = readdirSync(target.folder)
    expect(names).toHaveLength(1)
    const path = join(target.folder, names[0] ?? '')
    expect(statSync(path).mode & 0o777).toBe(0o600)

    chmodSync(path, 0o640)
    const refused = await target.client(['call', 'whoami'])
    expect(refused.code).toBe(2)
    expect(refused.err).toContain('chmod 600')
    chmodSync(path, 0o600)
    expect((await target.client(['call', 'whoami'])).code).toBe(0)

    chmodSync(path, 0o640)
    expect((await target.client(['logout'])).out).toContain('did not revoke')
    expect(target.logins()).toBe(0)
  })
})

describe('threat: the way through the browser is attacked', () => {
  it('ends without a login when the person says no', async () => {
    const { code, out, err } = await target.client(['login'], { BROWSER: browserOf('alice', 'no') })
    expect(code).toBe(4)
    expect(out).toBe('')
    expect(err).toContain('The issuer refused the login: access_denied.')
    expect((await target.client(['call', 'whoami'])).code).toBe(4)
  })

  it('ends without a login when no answer arrives', async () => {
    const { code, err } = await target.client(['login', '--no-browser', '--timeout', '1'])
    expect(code).toBe(3)
    expect(err).toContain('No answer arrived within 1 s')
  })

  it('needs no browser that works', async () => {
    const line = ['login', '--timeout', '1']
    const { code, err } = await target.client(line, { BROWSER: '/nowhere/browser' })
    expect(err).toContain(`${target.issuer.url}/auth?`)
    expect(code).toBe(3)
  })
})
