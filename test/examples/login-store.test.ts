import {
  chmodSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Failed } from '../../examples/failures.ts'
import {
  LOCK_STALE_MS,
  type Login,
  type LoginStore,
  loginStore,
  serverKey,
  tokensOf,
} from '../../examples/login-store.ts'

const SERVER = 'https://mcp.example.com/mcp'
const LOGIN: Login = {
  server: SERVER,
  issuer: 'https://auth.example.com',
  registration: 'dynamic',
  client: { client_id: 'client-1' },
  accessToken: 'access-token-1',
  refreshToken: 'refresh-token-1',
}

let home: string
let folder: string
let store: LoginStore
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'login-store-'))
  folder = join(home, 'gatehouse')
  store = loginStore(folder)
})
afterEach(() => rmSync(home, { recursive: true }))

const keep = (login: Login): Promise<unknown> => store.update(login.server, async () => login)
const files = (): string[] => readdirSync(folder).map((name) => join(folder, name))
const onlyFile = (): string => files()[0] ?? ''

async function failure(work: Promise<unknown>): Promise<Failed['failure']> {
  const error = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  )
  if (error instanceof Failed) return error.failure
  throw new Error('It did not fail', { cause: error })
}

describe('contract: logins are kept, one for each server', () => {
  it('knows none at first, and makes no folder for that', async () => {
    expect(await store.read(SERVER)).toBeUndefined()
    expect(readdirSync(home)).toEqual([])
  })

  it('gives back what it was given, and nothing for another server', async () => {
    await keep(LOGIN)
    expect(await store.read(SERVER)).toEqual(LOGIN)
    expect(await store.read(`${SERVER}/`)).toBeUndefined()
    expect(await store.read('https://mcp.example.com:8443/mcp')).toBeUndefined()
  })

  it('forgets', async () => {
    await keep(LOGIN)
    await store.update(SERVER, async () => undefined)
    expect(files()).toEqual([])
    await keep(LOGIN)
    await store.delete(SERVER)
    expect(files()).toEqual([])
  })

  it('names a server without its fragment', () => {
    expect(serverKey(new URL('HTTPS://MCP.example.com:443/mcp#top'))).toBe(SERVER)
  })

  it('reads what a token response says, and what it leaves out', () => {
    const response = { access_token: 'a', token_type: 'Bearer' }
    expect(tokensOf(response, 'mcp:use')).toMatchObject({ accessToken: 'a', scope: 'mcp:use' })
    const told = { ...response, scope: 'less', expires_in: 60, refresh_token: 'r' }
    const { expiresAt = 0, ...rest } = tokensOf(told, 'mcp:use')
    expect(rest).toEqual({ accessToken: 'a', refreshToken: 'r', scope: 'less' })
    expect(Math.abs(expiresAt - Date.now() - 60_000)).toBeLessThan(5000)
  })
})

describe('contract: processes take turns', () => {
  it('shows each what the one before has left', async () => {
    await keep({ ...LOGIN, accessToken: '0' })
    const other = loginStore(folder)
    const turn = (which: LoginStore): Promise<unknown> =>
      which.update(SERVER, async (login) => {
        await new Promise(setImmediate)
        return login && { ...login, accessToken: `${Number(login.accessToken) + 1}` }
      })
    await Promise.all([turn(store), turn(other), turn(store), turn(other)])
    expect(await store.read(SERVER)).toMatchObject({ accessToken: '4' })
    expect(files()).toHaveLength(1)
  })

  it('keeps the login when a change fails, and lets the next one through', async () => {
    await keep(LOGIN)
    const fails = store.update(SERVER, () => Promise.reject(new Error('The issuer is down')))
    await expect(fails).rejects.toThrow('The issuer is down')
    expect(await store.read(SERVER)).toEqual(LOGIN)
    await keep({ ...LOGIN, accessToken: 'next' })
    expect(await store.read(SERVER)).toMatchObject({ accessToken: 'next' })
  })

  it('does not wait for a process that died', async () => {
    await keep(LOGIN)
    const lock = `${onlyFile()}.lock`
    writeFileSync(lock, '')
    const then = new Date(Date.now() - LOCK_STALE_MS - 1000)
    utimesSync(lock, then, then)
    await keep({ ...LOGIN, accessToken: 'next' })
    expect(await store.read(SERVER)).toMatchObject({ accessToken: 'next' })
  })
})

describe('threat: another user of the machine, who reads tokens or plants some', () => {
  beforeEach(() => keep(LOGIN))

  it('writes files of mode 600 into a folder of mode 700, whatever the umask', async () => {
    const before = process.umask(0)
    rmSync(folder, { recursive: true })
    await keep(LOGIN)
    process.umask(before)
    expect(statSync(folder).mode & 0o777).toBe(0o700)
    expect(statSync(onlyFile()).mode & 0o777).toBe(0o600)
  })

  it.each([0o640, 0o604, 0o620, 0o602, 0o601])('reads no file of mode %o', async (mode) => {
    chmodSync(onlyFile(), mode)
    const { exitCode, text, hint } = await failure(store.read(SERVER))
    expect(exitCode).toBe(2)
    expect(hint).toContain('chmod 600')
    expect(text).not.toContain('token-1')
    expect((await failure(keep(LOGIN))).exitCode).toBe(2)
  })

  it.each([0o750, 0o705, 0o720, 0o701])('uses no folder of mode %o', async (mode) => {
    chmodSync(folder, mode)
    expect((await failure(store.read(SERVER))).hint).toContain('chmod 700')
    expect((await failure(keep(LOGIN))).hint).toContain('chmod 700')
  })

  it.skipIf(process.getuid?.() !== 0)('reads no file of another owner', async () => {
    const path = onlyFile()
    const { chownSync } = await import('node:fs')
    chownSync(path, 1000, 1000)
    expect((await failure(store.read(SERVER))).exitCode).toBe(2)
  })

  it('follows no symbolic link', async () => {
    const path = onlyFile()
    renameSync(path, join(home, 'elsewhere'))
    symlinkSync(join(home, 'elsewhere'), path)
    expect((await failure(store.read(SERVER))).text).toContain('symbolic link')
  })

  it.each([
    ['nothing', ''],
    ['what is not JSON', 'access-token-1'],
    ['another shape', '{"server":1}'],
    ['a member too many', JSON.stringify({ ...LOGIN, admin: true })],
    ['the login of another server', JSON.stringify({ ...LOGIN, server: 'https://evil.example/' })],
  ])('refuses a file with %s, and does not show it', async (_name, text) => {
    writeFileSync(onlyFile(), text)
    const refusal = await failure(store.read(SERVER))
    expect(refusal.text).toContain('damaged')
    expect(JSON.stringify(refusal)).not.toMatch(/token-1|evil/)
    await store.delete(SERVER)
    await keep(LOGIN)
    expect(await store.read(SERVER)).toEqual(LOGIN)
  })

  it('says where it cannot keep logins', async () => {
    const path = join(home, 'file')
    writeFileSync(path, '')
    const { exitCode, hint } = await failure(
      loginStore(join(path, 'gatehouse')).update(SERVER, async () => LOGIN),
    )
    expect(exitCode).toBe(2)
    expect(hint).toContain('XDG_CONFIG_HOME')
  })

  it('leaves a whole file at every moment', async () => {
    const text = readFileSync(onlyFile(), 'utf8')
    const inode = statSync(onlyFile()).ino
    await keep({ ...LOGIN, accessToken: 'next' })
    expect(JSON.parse(text)).toEqual(LOGIN)
    expect(statSync(onlyFile()).ino).not.toBe(inode)
    expect(files()).toHaveLength(1)
  })
})
