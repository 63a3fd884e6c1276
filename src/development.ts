import type { Config } from './config.ts'
import type { Identity } from './context.ts'
import type { AllowedOrigin } from './controls/origin-guard.ts'
import type { HttpPolicy } from './policy.ts'
import { LOOPBACK_HOSTS } from './urls.ts'

/**
 * What development adds to policy, in one place: the names of this machine as hosts, pages of this
 * machine as origins, and on request a caller without credential. Production adds nothing.
 */

const LOOPBACK_ORIGIN = /^https?:\/\/(?:localhost|127\.0\.0\.1|\[::1\])(?::[0-9]{1,5})?$/

/** Where this process is reached. */
export interface Addresses {
  /** Canonical resource URI. */
  readonly publicUrl: string
  /** Scheme, address and port of the listener itself, such as `http://127.0.0.1:3000`. */
  readonly bound: string
}

/** Allowed values of `Host`, lower case. */
export function allowedHosts(
  mode: Config['mode'],
  { publicUrl, bound }: Addresses,
  hosts: HttpPolicy['hosts'],
): readonly string[] {
  const local = mode === 'development' ? loopback(bound).map(({ host }) => host) : []
  return [...new Set([new URL(publicUrl).host, ...hosts, ...local])]
}

/** The listener under each name of this machine. A port that is the default of the scheme is left out. */
function loopback(bound: string): readonly URL[] {
  const { protocol, port } = new URL(bound)
  return [...LOOPBACK_HOSTS].map((name) => new URL(`${protocol}//${name}:${port}`))
}

/** In development any page of this machine may call; without authentication only the server's own. */
export function allowedOrigin(
  { mode, anonymous }: Pick<Config, 'mode' | 'anonymous'>,
  { bound }: Addresses,
  origins: HttpPolicy['origins'],
): AllowedOrigin {
  const own = loopback(bound).map(({ origin }) => origin)
  const allowed = new Set(anonymous ? own : origins.map(({ value }) => value))
  if (mode === 'production' || anonymous) return (origin) => allowed.has(origin)
  return (origin) => allowed.has(origin) || LOOPBACK_ORIGIN.test(origin)
}

/** Everybody, with all scopes. Settings allow it in development on loopback only. */
export function anonymousIdentity(scopes: readonly string[]): Identity {
  return {
    principal: {
      kind: 'anonymous',
      issuer: 'gatehouse',
      client: '',
      subject: 'anonymous',
      scopes,
      roles: [],
      tenant: null,
    },
    credentialDigest: '',
    credentialId: null,
    expiresAt: null,
    claims: {},
  }
}

/** What a developer sees at start. The key is printed this once and kept nowhere. */
export function notice(
  { anonymous }: Pick<Config, 'anonymous'>,
  addresses: { readonly url: string; readonly publicUrl: string; readonly adminUrl: string },
  key?: string,
): string {
  const { url, publicUrl, adminUrl } = addresses
  const credential = key === undefined ? '' : ` --key ${key}`
  const warning = anonymous
    ? ['!! Anybody on this machine may call every tool: MCP_DANGEROUSLY_ALLOW_ANONYMOUS !!']
    : []
  return [
    `Gatehouse listens on ${url}`,
    `Probes: ${adminUrl}/livez and ${adminUrl}/readyz`,
    ...(publicUrl === url ? [] : [`Its public URL is ${publicUrl}`]),
    ...warning,
    'Try it from another terminal:',
    '',
    `  npm run client -- ${url} list${credential}`,
    '',
    '',
  ].join('\n')
}
