import { hash, randomUUID } from 'node:crypto'
import { constants } from 'node:fs'
import { mkdir, open, rename, rm, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { OAuthTokens } from '@modelcontextprotocol/client'
import { z } from 'zod'
import { EXIT, Failed } from './failures.ts'

/** What a login leaves: all it takes to call, to refresh and to log out, bound to one server and issuer. */
export const loginSchema = z.strictObject({
  /** URL of the MCP server. The tokens go nowhere else. */
  server: z.string(),
  /** Refresh tokens and client secrets go nowhere else. */
  issuer: z.string(),
  /** How the issuer knows this client; one that registered itself registers anew at each login. */
  registration: z.enum(['given', 'metadata-document', 'dynamic']),
  client: z.object({
    client_id: z.string(),
    client_secret: z.string().optional(),
    token_endpoint_auth_method: z.string().optional(),
  }),
  /** RFC 8707 resource indicator. */
  resource: z.string().optional(),
  accessToken: z.string().min(1),
  refreshToken: z.string().optional(),
  /** Space-separated; what was asked for when the issuer does not say what it gave (RFC 6749 §5.1). */
  scope: z.string().optional(),
  /** Milliseconds since 1970; absent when the issuer does not say. */
  expiresAt: z.number().optional(),
})

export type Login = Readonly<z.infer<typeof loginSchema>>

/** The name of a server in the store. */
export function serverKey(server: URL): string {
  const key = new URL(server)
  key.hash = ''
  return key.href
}

/** @param asked the scope that was asked for */
export function tokensOf(
  tokens: OAuthTokens,
  asked: string | undefined,
): Pick<Login, 'accessToken' | 'refreshToken' | 'scope' | 'expiresAt'> {
  return {
    accessToken: tokens.access_token,
    refreshToken: tokens.refresh_token,
    scope: tokens.scope ?? asked,
    expiresAt: tokens.expires_in === undefined ? undefined : Date.now() + tokens.expires_in * 1000,
  }
}

/** One login for each server, in files of the person's own. */
export interface LoginStore {
  /** @throws {Failed} when others can read or change the file, or it makes no sense. */
  read(server: string): Promise<Login | undefined>
  /**
   * Replaces the login by what `change` makes of it, or deletes it. No other process does the same for this
   * server meanwhile, so one refresh token is used once.
   */
  update(
    server: string,
    change: (current: Login | undefined) => Promise<Login | undefined>,
  ): Promise<Login | undefined>
  /** Deletes the login, whatever the file contains. */
  delete(server: string): Promise<void>
}

const LOCK_RETRY_MS = 50
/** Longer than a refresh may take. Only a process that died leaves a lock so old. */
export const LOCK_STALE_MS = 60_000

/**
 * Threat:  another user of the machine reads the tokens, or puts a login of his own in their place.
 * Rule:    a folder of mode 700 and files of mode 600, both the person's own, or nothing is read. A
 *          file that is a symbolic link is not followed. Files are replaced whole, by renaming, so a
 *          crash leaves the old login or the new one. Windows has no such modes: there the folder of
 *          the user's profile protects them.
 * Config:  XDG_CONFIG_HOME
 * Refuses: 2
 * Source:  CWE-732, CWE-59; XDG Base Directory Specification
 */
export function loginStore(folder: string): LoginStore {
  const pathOf = (server: string): string => join(folder, `login-${hash('sha256', server)}.json`)

  async function read(server: string): Promise<Login | undefined> {
    const path = pathOf(server)
    const text = await usable(path, readPrivate)
    if (text === undefined) return undefined
    const login = loginSchema.safeParse(parseJson(text))
    if (login.success && login.data.server === server) return login.data
    throw refused(`The stored login is damaged: ${path}`, 'Run logout, then login.')
  }

  return {
    read,
    async update(server, change) {
      const path = pathOf(server)
      await usable(folder, makePrivate)
      return locked(`${path}.lock`, async () => {
        const current = await read(server)
        const next = await change(current)
        if (next === undefined) await rm(path, { force: true })
        else if (next !== current) await usable(path, () => replace(path, JSON.stringify(next)))
        return next
      })
    },
    async delete(server) {
      const path = pathOf(server)
      await usable(path, () => rm(path, { force: true }))
    },
  }
}

/** @throws {Failed} instead of an error of the file system, which names no next step. */
async function usable<T>(path: string, work: (path: string) => Promise<T>): Promise<T> {
  try {
    return await work(path)
  } catch (error) {
    if (error instanceof Failed) throw error
    const text = `Logins cannot be kept in ${path}: ${codeOf(error)}`
    throw refused(text, 'Choose another folder with XDG_CONFIG_HOME, or use a key.')
  }
}

async function readPrivate(path: string): Promise<string | undefined> {
  try {
    await assertPrivate(dirname(path))
    await using file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW)
    assertMode(await file.stat(), path, '600')
    return await file.readFile('utf8')
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined
    if (codeOf(error) !== 'ELOOP') throw error
    throw refused(`The stored login is a symbolic link: ${path}`, 'Run logout, then login.')
  }
}

async function makePrivate(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 })
  await assertPrivate(folder)
}

async function assertPrivate(folder: string): Promise<void> {
  assertMode(await stat(folder), folder, '700')
}

function assertMode(
  { mode, uid }: { mode: number; uid: number },
  path: string,
  wanted: string,
): void {
  if (process.getuid === undefined) return
  if (uid === process.getuid() && (mode & 0o077) === 0) return
  throw refused(`Others can read or change ${path}`, `Make it your own: chmod ${wanted} '${path}'`)
}

async function replace(path: string, text: string): Promise<void> {
  const draft = `${path}.${randomUUID()}`
  try {
    await using file = await open(draft, 'wx', 0o600)
    await file.writeFile(text)
    await file.sync()
    await rename(draft, path)
  } catch (error) {
    await rm(draft, { force: true })
    throw error
  }
}

async function locked<T>(lock: string, work: () => Promise<T>): Promise<T> {
  while (!(await usable(lock, takes))) await sleep(LOCK_RETRY_MS)
  try {
    return await work()
  } finally {
    await rm(lock, { force: true })
  }
}

/** @returns whether this process has the lock now. */
async function takes(lock: string): Promise<boolean> {
  try {
    await (await open(lock, 'wx', 0o600)).close()
    return true
  } catch (error) {
    if (codeOf(error) !== 'EEXIST') throw error
    const since = await stat(lock).then(
      ({ mtimeMs }) => mtimeMs,
      () => Date.now(),
    )
    if (Date.now() - since > LOCK_STALE_MS) await rm(lock, { force: true })
    return false
  }
}

function refused(text: string, hint: string): Failed {
  return new Failed({ exitCode: EXIT.usage, text, hint })
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined
}
