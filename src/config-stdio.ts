// optional: stdio
import { HTTP, type Use } from './config-checks.ts'
import type { Problem } from './problems.ts'

/**
 * What a process on standard input and output reads. It ignores every other variable, also unknown
 * ones that begin with `MCP_`: a desktop host passes on what it has, and gives other servers theirs.
 */
const READ: ReadonlySet<string> = new Set([
  'NODE_ENV',
  'NODE_OPTIONS',
  'NODE_TLS_REJECT_UNAUTHORIZED',
  'MCP_POLICY_DIR',
  'MCP_SECRET',
  'MCP_SECRET_FILE',
  'MCP_API_KEYS_FILE',
  'MCP_DENY_LIST_FILE',
  'REDIS_URL',
  'REDIS_URL_FILE',
  'MCP_AUDIT_FILE',
  'MCP_AUDIT_SIGNING_KEY_FILE',
  'MCP_DRAIN_SECONDS',
  'MCP_STDIO_KEY',
  'MCP_STDIO_KEY_FILE',
  'LOG_LEVEL',
])

/** Combinations that are wrong on every transport. */
const COMMON: ReadonlySet<string> = new Set(['uid', 'MCP_SECRET', 'REDIS_URL'])

export const STDIO: Use = {
  read: (env) => Object.fromEntries(Object.entries(env).filter(([name]) => READ.has(name))),

  together(settings, runtime) {
    const all = HTTP.together(settings, runtime).filter(({ field }) => COMMON.has(field))
    const { NODE_ENV: mode, MCP_STDIO_KEY: key, MCP_API_KEYS_FILE: file } = settings
    if (mode === 'production' && key === undefined) all.push(NO_KEY)
    if (key !== undefined && file === undefined) all.push(NO_FILE)
    return all
  },
}

const NO_KEY: Problem = {
  field: 'MCP_STDIO_KEY',
  message: 'or MCP_STDIO_KEY_FILE is required in production: the API key to run as',
}
const NO_FILE: Problem = { field: 'MCP_STDIO_KEY', message: 'needs MCP_API_KEYS_FILE' }
