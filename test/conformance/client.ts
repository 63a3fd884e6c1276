import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { z } from 'zod'

/**
 * The terminal client as the conformance suite calls a client: the URL of the server is the last
 * argument, scenario and context are in the environment. Each scenario is one or more commands of
 * examples/client.ts, as a person would type them; the browser follows redirects by itself.
 */

const CLIENT = join(import.meta.dirname, '../../examples/client.ts')
const BROWSER = join(import.meta.dirname, 'browser.ts')
/** The document that the suite expects in `auth/basic-cimd`. */
const METADATA_URL = 'https://conformance-test.local/client-metadata.json'
const REFUSED = 4

const contextSchema = z.object({
  client_id: z.string().optional(),
  client_secret: z.string().default(''),
  toolCalls: z.array(z.object({ name: z.string(), arguments: z.unknown() })).default([]),
})
const listSchema = z.object({
  result: z.object({ tools: z.array(z.object({ name: z.string(), inputSchema: z.unknown() })) }),
})

const environment = process.env
const scenario = environment['MCP_CONFORMANCE_SCENARIO'] ?? ''
const context = contextSchema.parse(JSON.parse(environment['MCP_CONFORMANCE_CONTEXT'] ?? '{}'))
const isModern = environment['MCP_CONFORMANCE_PROTOCOL_VERSION'] === '2026-07-28'
const url = process.argv.at(-1) ?? ''
const folder = mkdtempSync(join(tmpdir(), 'conformance-'))

interface Run {
  readonly code: number
  readonly out: string
}

async function client(...line: readonly string[]): Promise<Run> {
  const options = ['--era', isModern ? 'modern' : 'legacy', '--timeout', '25']
  const child = spawn(process.execPath, [CLIENT, url, ...line, ...options], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: {
      PATH: environment['PATH'],
      XDG_CONFIG_HOME: folder,
      BROWSER: `${process.execPath} ${BROWSER}`,
    },
  })
  let out = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    out += text
    process.stdout.write(text)
  })
  await once(child, 'close')
  return { code: child.exitCode ?? 1, out }
}

/** @returns the exit code of the first call that fails, else 0. */
async function calls(
  ...list: readonly { readonly name: string; readonly arguments?: unknown }[]
): Promise<number> {
  for (const { name, arguments: input = {} } of list) {
    const { code } = await client(
      'call',
      name,
      '--args',
      JSON.stringify(input),
      '--yes',
      '--step-up',
    )
    if (code !== 0) return code
  }
  return 0
}

async function login(): Promise<number> {
  const identity: string[] = []
  if (scenario === 'auth/basic-cimd') identity.push('--client-metadata-url', METADATA_URL)
  if (context.client_id !== undefined) {
    const file = join(folder, 'secret')
    writeFileSync(file, context.client_secret, { mode: 0o600 })
    identity.push('--client-id', context.client_id, '--client-secret-file', file)
  }
  return (await client('login', ...identity)).code
}

const MRTR_TOOLS = ['echo_state', 'unrelated', 'no_state', 'no_result_type']

/** What is more, or something else, than to log in; `login` also asks for the tools with the new token. */
const SCENARIOS = new Map<string, () => Promise<number>>([
  ['initialize', async () => (await client('list')).code],
  ['request-metadata', async () => (await client('list')).code],
  ['json-schema-ref-no-deref', async () => (await client('list')).code],
  ['tools_call', () => calls({ name: 'add_numbers', arguments: { a: 1, b: 2 } })],
  ['sse-retry', () => calls({ name: 'test_reconnection' })],
  [
    'elicitation-sep1034-client-defaults',
    () => calls({ name: 'test_client_elicitation_defaults' }),
  ],
  [
    'sep-2322-client-request-state',
    () => calls(...MRTR_TOOLS.map((name) => ({ name: `test_mrtr_${name}` }))),
  ],
  ['http-custom-headers', () => calls(...context.toolCalls)],
  ['http-invalid-tool-headers', () => calls({ name: 'valid_tool', arguments: { region: 'eu' } })],
  [
    'json-schema-2020-12-preservation',
    async () => {
      const { out } = await client('list', '--json')
      const { tools } = listSchema.parse(JSON.parse(out)).result
      const schema = tools.find(({ name }) => name === 'json_schema_2020_12_tool')?.inputSchema
      return calls({ name: 'json_schema_echo', arguments: { schema } })
    },
  ],
  [
    // The server changes its issuer while the first login is tried.
    'auth/authorization-server-migration',
    async () => {
      const first = await login()
      return first === REFUSED ? login() : first
    },
  ],
  ['auth/scope-step-up', async () => (await login()) || calls({ name: 'test-tool' })],
])

/** Flows of programs without a person, and DPoP: extensions that this client does not have. */
const EXTENSIONS = new Set([
  'auth/client-credentials-basic',
  'auth/client-credentials-jwt',
  'auth/dpop',
  'auth/dpop-nonce',
  'auth/enterprise-managed-authorization',
  'auth/wif-jwt-bearer',
])

try {
  process.exitCode = EXTENSIONS.has(scenario) ? 1 : await (SCENARIOS.get(scenario) ?? login)()
} finally {
  rmSync(folder, { recursive: true })
}
