// optional: oauth
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'vitest'
import { type Login, loginSchema } from '../../examples/login-store.ts'
import { NO_LIMITS } from '../identity/attempt.ts'
import {
  type AuthorizationServer,
  type AuthorizationServerOptions,
  startAuthorizationServer,
} from '../identity/authorization-server.ts'
import { issuersPolicy } from '../identity/target.ts'
import { type Server, startServer } from '../server.ts'

const CLIENT = join(import.meta.dirname, '../../examples/client.ts')
const PERSON = join(import.meta.dirname, 'person.ts')

/** A `BROWSER` in which somebody logs in and gives or refuses consent. */
export function browserOf(account: string, consent: 'yes' | 'no' = 'yes'): string {
  return `${process.execPath} ${PERSON} ${account} ${consent}`
}

export interface Result {
  readonly code: number | null
  readonly out: string
  readonly err: string
}

/** The server, the issuer that it trusts, and somebody with a home folder at a terminal. */
export interface LoginTarget extends AsyncDisposable {
  readonly server: Server
  readonly issuer: AuthorizationServer
  /** Of the logins. */
  readonly folder: string
  /** Runs the client against the server. No output has a token or code of these logins in it. */
  client(line: readonly string[], env?: Readonly<Record<string, string>>): Promise<Result>
  /** The login as it is stored. @throws {Error} when there is none. */
  login(): Login
  /** Number of logins stored. */
  logins(): number
  /** Takes all logins away without a word to the issuer. */
  forget(): void
  /** Requests that the issuer has had so far at this path. */
  requestsOf(path: string): number
}

export async function startLoginTarget(
  options: AuthorizationServerOptions = {},
): Promise<LoginTarget> {
  const issuer = await startAuthorizationServer(options)
  const server = await startServer({ policies: [...NO_LIMITS, issuersPolicy([issuer])] })
  const home = mkdtempSync(join(tmpdir(), 'login-'))
  const folder = join(home, 'gatehouse')
  const secrets = new Set<string>()

  function files(): string[] {
    if (!existsSync(folder)) return []
    return readdirSync(folder)
      .filter((name) => name.endsWith('.json'))
      .map((name) => join(folder, name))
  }
  function login(): Login {
    const [path = ''] = files()
    return loginSchema.parse(JSON.parse(readFileSync(path, 'utf8')))
  }
  return {
    server,
    issuer,
    folder,
    login,
    logins: () => files().length,
    forget: () => rmSync(folder, { recursive: true, force: true }),
    requestsOf: (path) => issuer.requests.filter(({ url }) => url === path).length,
    async client(line, env = {}) {
      const child = spawn(process.execPath, [CLIENT, server.url, ...line], {
        stdio: ['ignore', 'pipe', 'pipe'],
        env: {
          PATH: process.env['PATH'],
          XDG_CONFIG_HOME: home,
          BROWSER: browserOf('alice'),
          ...env,
        },
      })
      const output = { out: '', err: '' }
      child.stdout.setEncoding('utf8').on('data', (text: string) => {
        output.out += text
      })
      child.stderr.setEncoding('utf8').on('data', (text: string) => {
        output.err += text
      })
      await once(child, 'close')
      try {
        const { accessToken, refreshToken = accessToken } = login()
        secrets.add(accessToken).add(refreshToken)
      } catch {
        // No login.
      }
      const text = output.out + output.err
      for (const secret of secrets) expect(text).not.toContain(secret)
      expect(text).not.toMatch(/[?&]code=|code_verifier|eyJ/)
      return { code: child.exitCode, ...output }
    },
    async [Symbol.asyncDispose]() {
      await server.stop()
      await issuer[Symbol.asyncDispose]()
      rmSync(home, { recursive: true })
    },
  }
}
