import { createHash, randomBytes } from 'node:crypto'
import { isIP } from 'node:net'
import { z } from 'zod'
import {
  fileProblems,
  HTTP,
  isPublicUrl,
  isTrustworthyCidr,
  plainCidr,
  type Runtime,
  runtimeProblems,
  unknownProblems,
} from './config-checks.ts'
import { type CommandSettings, commandSettingsOf } from './config-commands.ts'
import { redisUrl } from './config-redis.ts' // optional: redis
import { SECRETS, secretList } from './config-secrets.ts'
import { STDIO } from './config-stdio.ts' // optional: stdio
import { collect, without } from './config-values.ts'
import { inWords, Problems } from './problems.ts'

/** `z.coerce.boolean()` reads "false" as true. */
const flag = z.enum(['true', 'false']).transform((value) => value === 'true')

const address = z
  .string()
  .refine(
    (value) => isIP(value) !== 0 || value === 'localhost',
    'must be an IP address or localhost',
  )

function integer(min: number, max: number): z.ZodType<number, string> {
  return z
    .string()
    .regex(/^(?:0|[1-9]\d{0,5})$/, 'must be a whole number')
    .transform(Number)
    .refine((value) => value >= min && value <= max, `must be from ${min} to ${max}`)
}

const publicUrl = z
  .string()
  .refine(
    isPublicUrl,
    'must be https://host[:port]/mcp, canonical, without user, query or fragment',
  )

const cidrs = z
  .string()
  .transform((value) => value.split(/[ ,]+/).map(plainCidr))
  .refine((all) => all.every(isTrustworthyCidr), 'must be CIDRs of /8 or longer')

/** Every variable. The same words and defaults stand in `.env.example`. */
export const environment = z.object({
  /** Mode: production, or development: loopback only, an ephemeral API key printed at start. */
  NODE_ENV: z.enum(['production', 'development']).default('production'),
  /** Address of the public listener: an IP address or localhost. */
  HOST: address.default('127.0.0.1'),
  /** Port of the public listener; 0 means a free port. */
  PORT: integer(0, 65_535).default(3000),
  /** Address of the admin listener: probes and metrics, without authentication. */
  ADMIN_HOST: address.default('127.0.0.1'),
  /** Port of the admin listener; 0 means a free port. */
  ADMIN_PORT: integer(0, 65_535).default(9090),
  /**
   * Canonical URI of this server as clients see it: https://host[:port]/mcp. Required in production;
   * in development it follows from the bound port. All public URLs come from it, never from a request.
   */
  MCP_PUBLIC_URL: publicUrl.optional(),
  /** Folder of the policies: http.yaml, auth.yaml, access.yaml, limits.yaml and audit.yaml. */
  MCP_POLICY_DIR: z.string().default('policies'),
  /**
   * Root secrets: base64 values of at least 32 random bytes, separated by spaces. The first signs, all
   * verify. Make one with `openssl rand -base64 32`. Required in production, random in development.
   * MCP_SECRET_FILE names a file that holds them instead.
   */
  MCP_SECRET: secretList.optional(),
  /** File of the API keys. Without it API keys are off. */
  MCP_API_KEYS_FILE: z.string().optional(),
  /** File of revoked tokens (`jti`) and subjects. A change of it is in force within 5 seconds. */
  MCP_DENY_LIST_FILE: z.string().optional(),
  /** Certificate chain (PEM) for TLS in this process. Goes with MCP_TLS_KEY_FILE. */
  MCP_TLS_CERT_FILE: z.string().optional(),
  /** Private key (PEM) of the certificate. */
  MCP_TLS_KEY_FILE: z.string().optional(),
  /** Authorities (PEM) of client certificates, which every client must then present. */
  MCP_TLS_CLIENT_CA_FILE: z.string().optional(),
  /**
   * A proxy in front of this server terminates TLS. Needed to bind to more than loopback without TLS
   * in this process; needs MCP_TRUSTED_PROXIES.
   */
  MCP_BEHIND_TLS_PROXY: flag.default(false),
  /**
   * Networks of the proxies whose X-Forwarded-For is read, as CIDRs of /8 or longer, separated by
   * spaces or commas.
   */
  MCP_TRUSTED_PROXIES: cidrs.default([]).readonly(),
  /** State that processes share: redis:// or rediss:// URL, or REDIS_URL_FILE. */ // optional: redis
  REDIS_URL: redisUrl.optional(), // optional: redis
  /** The trace that a caller names becomes that of its request. False: it is only linked. */ // optional: telemetry
  MCP_TRUST_TRACE_CONTEXT: flag.default(false), // optional: telemetry
  /** File that the audit trail is appended to. Standard output when not set. */
  MCP_AUDIT_FILE: z.string().optional(),
  /**
   * Ed25519 private key (PEM) that signs the checkpoints of the audit trail. Make one with
   * `openssl genpkey -algorithm ed25519`. Without it checkpoints are not signed.
   */
  MCP_AUDIT_SIGNING_KEY_FILE: z.string().optional(),
  /** How long calls in flight may finish after SIGTERM, seconds, 0 to 120. */
  MCP_DRAIN_SECONDS: integer(0, 120).default(10),
  /**
   * Serve without authentication: everybody holds every scope. Refused unless in development, without
   * an API key file and without issuers. For the conformance runner.
   */
  MCP_DANGEROUSLY_ALLOW_ANONYMOUS: flag.default(false),
  /** API key that `node src/stdio.ts` runs as, or MCP_STDIO_KEY_FILE. Required there in production. */ // optional: stdio
  MCP_STDIO_KEY: z.string().optional(), // optional: stdio
  /** Least severity that is logged. The audit trail does not depend on it. */
  LOG_LEVEL: z.enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']).default('info'),
})

export type Settings = z.output<typeof environment>
export type Mode = Settings['NODE_ENV']

/** Where and how this process runs, frozen. */
export interface Config {
  readonly mode: Mode
  readonly host: string
  /** `0` means a free port, here and in `adminPort`. */
  readonly port: number
  readonly adminHost: string
  readonly adminPort: number
  /** Canonical resource URI. `undefined` only in development: it then follows from the bound port. */
  readonly publicUrl: string | undefined
  readonly policyDir: string
  /** Root secrets, at least 32 bytes each, newest first. Random in development when none is set. */
  readonly secrets: readonly [Buffer, ...Buffer[]]
  readonly apiKeysFile: string | undefined
  readonly denyListFile: string | undefined
  readonly tls:
    | {
        readonly certFile: string
        readonly keyFile: string
        readonly clientCaFile: string | undefined
      }
    | undefined
  /** CIDRs of the proxies whose `X-Forwarded-For` is read. Empty: only the TCP peer counts. */
  readonly trustedProxies: readonly string[]
  readonly redisUrl: string | undefined // optional: redis
  readonly trustTraceContext: boolean // optional: telemetry
  /** `undefined` means standard output. */
  readonly auditFile: string | undefined
  readonly auditSigningKeyFile: string | undefined
  readonly drainSeconds: number
  readonly anonymous: boolean
  readonly stdioKey: string | undefined // optional: stdio
  readonly logLevel: Settings['LOG_LEVEL']
  /** SHA-256, hex, over the names and values of all settings; of secrets, whether they are set. */
  readonly digest: string
}

/** The configuration of this process. The only reader of `process.env`. @throws {Problems} */
export function readConfig(): Config {
  return loadConfig(process.env, thisRuntime())
}

/** That of a process on standard input and output. @throws {Problems} */ // optional: stdio
export const readStdioConfig = (): Config => loadConfig(process.env, thisRuntime(), STDIO) // optional: stdio

function thisRuntime(): Runtime {
  return { nodeVersion: process.version, uid: process.getuid?.(), execArgv: process.execArgv }
}

/** What the environment says to commands that need no other setting. */
export function commandSettings(): CommandSettings {
  return commandSettingsOf(process.env)
}

/**
 * Turns environment variables into a configuration, or refuses all of them.
 *
 * Not checked here: what depends on policies as well (a way to authenticate, anonymous access beside
 * issuers), and whether the audit file can be written.
 *
 * @param use which settings count
 * @throws {Problems} with everything that is wrong, by name and never by value.
 */
export function loadConfig(all: NodeJS.ProcessEnv, runtime: Runtime, use = HTTP): Config {
  const env = use.read(all)
  const known = Object.keys(environment.shape)
  const { values, problems } = collect(env, known)
  problems.push(
    ...runtimeProblems(env, runtime),
    ...unknownProblems(env, [...known, ...SECRETS.map((name) => `${name}_FILE`)]),
  )
  const faulty = (): Set<string> => new Set(problems.map(({ field }) => field))

  const parsed = environment.safeParse(without(values, faulty()), { error: inWords })
  for (const { path, message } of parsed.error?.issues ?? []) {
    problems.push({ field: String(path[0]), message })
  }

  // What is wrong by itself counts as not set, so that the rest is still checked together.
  const named = faulty()
  const settings = environment.parse(without(values, named))
  const others = [...use.together(settings, runtime), ...fileProblems(settings)]
  problems.push(...others.filter(({ field }) => !named.has(field) && !named.has(`${field}_FILE`)))

  if (problems.length > 0) throw new Problems(problems)
  return configOf(settings)
}

function configOf(settings: Settings): Config {
  const { MCP_TLS_CERT_FILE: certFile, MCP_TLS_KEY_FILE: keyFile } = settings
  return Object.freeze({
    mode: settings.NODE_ENV,
    host: settings.HOST,
    port: settings.PORT,
    adminHost: settings.ADMIN_HOST,
    adminPort: settings.ADMIN_PORT,
    publicUrl: settings.MCP_PUBLIC_URL,
    policyDir: settings.MCP_POLICY_DIR,
    secrets: settings.MCP_SECRET ?? Object.freeze([randomBytes(32)] as const),
    apiKeysFile: settings.MCP_API_KEYS_FILE,
    denyListFile: settings.MCP_DENY_LIST_FILE,
    tls:
      certFile === undefined || keyFile === undefined
        ? undefined
        : Object.freeze({ certFile, keyFile, clientCaFile: settings.MCP_TLS_CLIENT_CA_FILE }),
    trustedProxies: settings.MCP_TRUSTED_PROXIES,
    redisUrl: settings.REDIS_URL, // optional: redis
    trustTraceContext: settings.MCP_TRUST_TRACE_CONTEXT, // optional: telemetry
    auditFile: settings.MCP_AUDIT_FILE,
    auditSigningKeyFile: settings.MCP_AUDIT_SIGNING_KEY_FILE,
    drainSeconds: settings.MCP_DRAIN_SECONDS,
    anonymous: settings.MCP_DANGEROUSLY_ALLOW_ANONYMOUS,
    stdioKey: settings.MCP_STDIO_KEY, // optional: stdio
    logLevel: settings.LOG_LEVEL,
    digest: digestOf(settings),
  })
}

function digestOf(settings: Settings): string {
  const secrets = Object.fromEntries(SECRETS.map((name) => [name, name in settings]))
  return createHash('sha256')
    .update(JSON.stringify({ ...settings, ...secrets }))
    .digest('hex')
}
