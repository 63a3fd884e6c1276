import { accessSync, constants, statSync } from 'node:fs'
import type { Settings } from './config.ts'
import { redisProblems } from './config-redis.ts' // optional: redis
import { isCidr, isLoopbackAddress, isWithin, networkList } from './networks.ts'
import type { Problem } from './problems.ts'
import { isLoopbackUrl, isSerializedOrigin } from './urls.ts'

/** What the process says of itself. */
export interface Runtime {
  /** `process.version` */
  readonly nodeVersion: string
  /** `undefined` where the platform has none. */
  readonly uid: number | undefined
  /** Flags of Node on the command line. */
  readonly execArgv: readonly string[]
}

/** What one way of serving makes of the environment. */
export interface Use {
  /** The variables that count. */
  read(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv
  /** What is wrong only in the company of other settings. Each is named after the one to change. */
  together(settings: Settings, runtime: Runtime): Problem[]
}

export const HTTP: Use = { read: (env) => env, together: combinationProblems }

/** Variables of features that a version may not have. Setting one must not look like it works. */
const NOT_AVAILABLE = new Set([
  'MCP_STDIO_KEY',
  'MCP_STDIO_KEY_FILE',
  'REDIS_URL',
  'REDIS_URL_FILE',
])

/** Kubernetes sets these for services whose name begins with `mcp` (Service links). */
const SERVICE_LINK =
  /^MCP_(?:[A-Z0-9_]+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_[A-Z0-9_]+)?|PORT(?:_\d+_[A-Z0-9_]+)?)$/

export function unknownProblems(env: NodeJS.ProcessEnv, known: readonly string[]): Problem[] {
  return Object.keys(env).flatMap((field) => {
    if (known.includes(field)) return []
    if (NOT_AVAILABLE.has(field)) return [{ field, message: 'not available in this version' }]
    if (!field.startsWith('MCP_') || SERVICE_LINK.test(field)) return []
    return [{ field, message: 'is not a setting; .env.example lists them' }]
  })
}

/** Older ones drop headers silently (CVE-2026-58044) or misread them (CVE-2026-21710). */
function isSafeNode(version: string): boolean {
  const [, major = 0, minor = 0, patch = 0] =
    /^v(\d+)\.(\d+)\.(\d+)$/.exec(version)?.map(Number) ?? []
  if (major === 24) return minor > 18 || (minor === 18 && patch >= 1)
  if (major === 26) return minor > 5 || (minor === 5 && patch >= 1)
  return major > 26
}

export function runtimeProblems(env: NodeJS.ProcessEnv, runtime: Runtime): Problem[] {
  const problems: Problem[] = []
  const add = (field: string, message: string): void => {
    problems.push({ field, message })
  }
  if (!isSafeNode(runtime.nodeVersion)) add('node', 'must be ^24.18.1 or >=26.5.1')
  // A debugger reads every secret and runs what it likes, for whoever reaches its port.
  const production = env['NODE_ENV'] !== 'development'
  for (const flag of ['--insecure-http-parser', ...(production ? ['--inspect'] : [])]) {
    // Node reads underscores in its flags as dashes.
    const has = (text: string): boolean => text.replaceAll('_', '-').includes(flag)
    if (runtime.execArgv.some(has)) add('node', `must not run with ${flag}`)
    if (has(env['NODE_OPTIONS'] ?? '')) add('NODE_OPTIONS', `must not contain ${flag}`)
  }
  if (env['NODE_TLS_REJECT_UNAUTHORIZED'] === '0') {
    add('NODE_TLS_REJECT_UNAUTHORIZED', 'must not switch off certificate checks')
  }
  return problems
}

function combinationProblems(settings: Settings, { uid }: Runtime): Problem[] {
  const problems: Problem[] = []
  const refuse = (wrong: boolean, field: keyof Settings | 'uid', message: string): void => {
    if (wrong) problems.push({ field, message })
  }
  const production = settings.NODE_ENV === 'production'
  const tls = settings.MCP_TLS_CERT_FILE !== undefined
  const behindProxy = settings.MCP_BEHIND_TLS_PROXY
  const url = URL.parse(settings.MCP_PUBLIC_URL ?? '')

  refuse(production && uid === 0, 'uid', 'must not be 0 (root) in production: run as another user')
  refuse(
    production && settings.MCP_SECRET === undefined,
    'MCP_SECRET',
    'or MCP_SECRET_FILE is required in production; make one with: openssl rand -base64 32',
  )
  refuse(
    production && url === null,
    'MCP_PUBLIC_URL',
    'is required in production: the https URL that clients use, such as https://host/mcp',
  )
  refuse(production && url?.protocol === 'http:', 'MCP_PUBLIC_URL', 'must be https in production')
  refuse(
    !production && url?.protocol === 'http:' && !isLoopbackUrl(url),
    'MCP_PUBLIC_URL',
    'must be https or on loopback',
  )
  refuse(!production && !isLoopback(settings.HOST), 'HOST', 'must be loopback in development')
  refuse(
    !production && !isLoopback(settings.ADMIN_HOST),
    'ADMIN_HOST',
    'must be loopback in development',
  )
  refuse(
    production && !isLoopback(settings.HOST) && !tls && !behindProxy,
    'HOST',
    'is not loopback: needs MCP_TLS_CERT_FILE or MCP_BEHIND_TLS_PROXY=true',
  )
  refuse(
    settings.PORT !== 0 && settings.PORT === settings.ADMIN_PORT,
    'ADMIN_PORT',
    'must differ from PORT',
  )
  refuse(
    behindProxy && settings.MCP_TRUSTED_PROXIES.length === 0,
    'MCP_BEHIND_TLS_PROXY',
    'needs MCP_TRUSTED_PROXIES',
  )
  refuse(
    tls && settings.MCP_TLS_KEY_FILE === undefined,
    'MCP_TLS_CERT_FILE',
    'needs MCP_TLS_KEY_FILE',
  )
  refuse(
    !tls && settings.MCP_TLS_KEY_FILE !== undefined,
    'MCP_TLS_KEY_FILE',
    'needs MCP_TLS_CERT_FILE',
  )
  refuse(
    !tls && settings.MCP_TLS_CLIENT_CA_FILE !== undefined,
    'MCP_TLS_CLIENT_CA_FILE',
    'needs MCP_TLS_CERT_FILE',
  )
  problems.push(...redisProblems(settings)) // optional: redis
  const anonymous = settings.MCP_DANGEROUSLY_ALLOW_ANONYMOUS
  refuse(anonymous && production, 'MCP_DANGEROUSLY_ALLOW_ANONYMOUS', 'is only for development')
  refuse(
    anonymous && settings.MCP_API_KEYS_FILE !== undefined,
    'MCP_DANGEROUSLY_ALLOW_ANONYMOUS',
    'must not be set beside MCP_API_KEYS_FILE',
  )
  const ownKey = settings.MCP_STDIO_KEY !== undefined // optional: stdio
  refuse(ownKey, 'MCP_STDIO_KEY', 'is for `node src/stdio.ts` alone') // optional: stdio
  return problems
}

export function fileProblems(settings: Settings): Problem[] {
  const files = [
    'MCP_API_KEYS_FILE',
    'MCP_DENY_LIST_FILE',
    'MCP_TLS_CERT_FILE',
    'MCP_TLS_KEY_FILE',
    'MCP_TLS_CLIENT_CA_FILE',
    'MCP_AUDIT_SIGNING_KEY_FILE',
  ] as const
  return files.flatMap((field) => {
    const file = settings[field]
    return file === undefined || isReadable(file)
      ? []
      : [{ field, message: 'names no file that this user can read' }]
  })
}

function isReadable(file: string): boolean {
  try {
    accessSync(file, constants.R_OK)
    return statSync(file).isFile()
  } catch {
    return false
  }
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || isLoopbackAddress(host)
}

/** One spelling only, because `aud` and `resource` compare byte for byte (RFC 8707 §2, RFC 9728 §3.3). */
export function isPublicUrl(value: string): boolean {
  const origin = URL.parse(value)?.origin
  return origin !== undefined && isSerializedOrigin(origin) && value === `${origin}/mcp`
}

/** Writes an IPv4 network that is mapped into IPv6 (RFC 4291 §2.5.5.2) as IPv4. */
export function plainCidr(cidr: string): string {
  const [, network, prefix] = /^::ffff:([\d.]+)\/(\d{2,3})$/i.exec(cidr) ?? []
  return network === undefined ? cidr : `${network}/${Number(prefix) - 96}`
}

/**
 * Whether a network may be that of proxies. Anything shorter than /8 is a typing error or the whole
 * Internet; IPv6 networks that cover all of IPv4 are the same in disguise.
 */
export function isTrustworthyCidr(cidr: string): boolean {
  return (
    isCidr(cidr) &&
    Number(cidr.split('/')[1]) >= 8 &&
    (cidr.includes('.') || !isWithin(networkList([cidr]), '::ffff:192.0.2.1'))
  )
}
