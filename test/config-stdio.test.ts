import { randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { loadConfig } from '../src/config.ts'
import { STDIO } from '../src/config-stdio.ts'
import { type Problem, Problems } from '../src/problems.ts'
import { temporaryFolder } from './audit/pipe.ts'
import { keyFile } from './key-file.ts'

type Env = Readonly<Record<string, string | undefined>>
const runtime = { nodeVersion: 'v24.21.0', uid: 1000, execArgv: [] }
const secret = randomBytes(32).toString('base64')

/** Settings that are good for production, with changes. */
function production(changes: Env = {}): Env {
  const { file, keys } = keyFile({})
  return { MCP_SECRET: secret, MCP_API_KEYS_FILE: file, MCP_STDIO_KEY: keys[0], ...changes }
}

function problemsOf(env: Env, use = STDIO, uid = 1000): readonly Problem[] {
  try {
    loadConfig({ ...env }, { ...runtime, uid }, use)
  } catch (error) {
    if (error instanceof Problems) return error.problems
    throw error
  }
  return []
}

describe('threat: settings that only look safe, a process runs as nobody that was named', () => {
  it.each<[string, Env, string]>([
    ['no key', { MCP_STDIO_KEY: undefined }, 'MCP_STDIO_KEY'],
    ['an empty key', { MCP_STDIO_KEY: '' }, 'MCP_STDIO_KEY'],
    ['no key file', { MCP_API_KEYS_FILE: undefined }, 'MCP_STDIO_KEY'],
    ['a key file that is missing', { MCP_API_KEYS_FILE: '/canary' }, 'MCP_API_KEYS_FILE'],
    ['a key twice', { MCP_STDIO_KEY_FILE: '/canary' }, 'MCP_STDIO_KEY_FILE'],
    ['no secret', { MCP_SECRET: undefined }, 'MCP_SECRET'],
    ['a secret that is none', { MCP_SECRET: 'canary' }, 'MCP_SECRET'],
    ['a shared store in clear text', { REDIS_URL: 'redis://u:canary@r/' }, 'REDIS_URL'],
    [
      'no certificate checks',
      { NODE_TLS_REJECT_UNAUTHORIZED: '0' },
      'NODE_TLS_REJECT_UNAUTHORIZED',
    ],
    ['a drain of 121 s', { MCP_DRAIN_SECONDS: '121' }, 'MCP_DRAIN_SECONDS'],
  ])('refuses %s in production', (_name, changes, field) => {
    const problems = problemsOf(production(changes))
    expect(problems.map((problem) => problem.field)).toEqual([field])
    expect(JSON.stringify(problems)).not.toMatch(/canary|mcpk_/)
  })

  it('refuses to run as root in production', () => {
    expect(problemsOf(production(), STDIO, 0)).toMatchObject([{ field: 'uid' }])
  })

  it('refuses a key without its file in development, too', () => {
    const env = { NODE_ENV: 'development', MCP_STDIO_KEY: 'mcpk_canary' }
    expect(problemsOf(env)).toMatchObject([{ field: 'MCP_STDIO_KEY' }])
  })
})

describe('contract: a process on standard input and output reads its own settings alone', () => {
  it.each<[string, Env]>([
    ['what production needs', {}],
    ['variables of HTTP, whatever they say', { HOST: 'canary', PORT: 'x', MCP_PUBLIC_URL: 'y' }],
    ['variables of other servers', { MCP_OF_ANOTHER: 'canary' }],
    ['anonymous access, which is none here', { MCP_DANGEROUSLY_ALLOW_ANONYMOUS: 'true' }],
  ])('takes %s', (_name, changes) => {
    expect(problemsOf(production(changes))).toEqual([])
    const config = loadConfig({ ...production(changes) }, runtime, STDIO)
    expect(config).toMatchObject({ mode: 'production', anonymous: false, host: '127.0.0.1' })
  })

  it('takes the key from a file', () => {
    using folder = temporaryFolder()
    const file = join(folder.path, 'key')
    writeFileSync(file, 'mcpk_of_a_file\n')
    const env = production({ MCP_STDIO_KEY: undefined, MCP_STDIO_KEY_FILE: file })
    expect(loadConfig({ ...env }, runtime, STDIO).stdioKey).toBe('mcpk_of_a_file')
  })

  it('needs nothing in development', () => {
    expect(problemsOf({ NODE_ENV: 'development' })).toEqual([])
  })
})
