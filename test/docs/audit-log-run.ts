import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { cpSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { type IncomingMessage, request } from 'node:http'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { vi } from 'vitest'
import { z } from 'zod'
import { generateKey } from '../../src/auth/api-key.ts'
import { secretRing } from '../../src/secrets.ts'
import { META } from '../app.ts'
import { BEHIND_PROXY } from '../identity/attempt.ts'
import { jws, type Members, startIssuer } from '../identity/issuer.ts'
import { issuersPolicy } from '../identity/target.ts'
import { misbehavingAccess } from '../misbehaving-tools.ts'
import { production } from '../production.ts'
import { type Server, startServer } from '../server.ts'
import { ROOT } from '../source-tree.ts'

/** The trail of two servers, one after the other, in which everything happens that has a record. */
export interface AuditedRun {
  /** `audit.jsonl`, `mac-key` and `signing.pub` are in it. */
  readonly folder: string
}

/** A call over loopback. */
interface Call {
  /** An API key or a token. */
  readonly credential: string
  /** That of the server when left out. */
  readonly host?: string
  /** Client address, which the proxy names. */
  readonly from?: string
  readonly method?: string
  readonly params: Readonly<Record<string, unknown>>
}

const report = z.object({
  result: z.object({ structuredContent: z.object({ reportId: z.string() }) }),
})
const question = z.object({ result: z.object({ requestState: z.string() }) })

/** @returns the last message of the answer */
async function send(server: Server, call: Call): Promise<unknown> {
  const { credential, from = '198.51.100.7', method = 'tools/call', params } = call
  const { name, uri } = z
    .object({ name: z.string().optional(), uri: z.string().optional() })
    .parse(params)
  const capabilities = { 'io.modelcontextprotocol/clientCapabilities': { elicitation: {} } }
  const body = JSON.stringify({
    jsonrpc: '2.0',
    id: 1,
    method,
    params: { ...params, _meta: { ...META, ...capabilities } },
  })
  const headers = {
    host: call.host ?? new URL(server.url).host,
    authorization: `Bearer ${credential}`,
    'content-type': 'application/json',
    accept: 'application/json, text/event-stream',
    'content-length': Buffer.byteLength(body),
    'mcp-protocol-version': '2026-07-28',
    'mcp-method': method,
    'mcp-name': name ?? uri ?? '',
    'x-forwarded-for': from,
    traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
  }
  const answer = await new Promise<IncomingMessage>((resolve, reject) => {
    const options = { host: '127.0.0.1', port: server.port, method: 'POST', path: '/mcp', headers }
    request(options, resolve).on('error', reject).end(body)
  })
  const whole = await text(answer)
  return JSON.parse(
    whole
      .match(/^data: .*$/gm)
      ?.at(-1)
      ?.slice('data: '.length) ?? whole,
  )
}

export async function auditedRun(): Promise<AuditedRun> {
  const root = randomBytes(32)
  const { env, key, keysFile, folder, unprivileged, give } = production(root)
  const inFolder = (name: string): string => join(folder, name)
  const { privateKey, publicKey } = generateKeyPairSync('ed25519')
  writeFileSync(inFolder('signing.pem'), privateKey.export({ type: 'pkcs8', format: 'pem' }))
  give(inFolder('signing.pem'))
  writeFileSync(inFolder('signing.pub'), publicKey.export({ type: 'spki', format: 'pem' }))
  writeFileSync(
    inFolder('mac-key'),
    `${secretRing([root])('audit-mac')[0].key.toString('base64')}\n`,
  )
  const trail = {
    MCP_SECRET: root.toString('base64'),
    MCP_API_KEYS_FILE: keysFile,
    MCP_AUDIT_FILE: inFolder('audit.jsonl'),
    MCP_AUDIT_SIGNING_KEY_FILE: inFolder('signing.pem'),
  }
  await crashes(trail, key, unprivileged)
  const policies = inFolder('policies')
  cpSync(join(ROOT, 'policies'), policies, { recursive: true })
  const server = await startServer({
    env: { ...env, ...trail, MCP_POLICY_DIR: policies },
    ...unprivileged,
  })
  const access = join(policies, 'access.yaml')
  await changes(server, key, { keysFile, access, trail: trail.MCP_AUDIT_FILE })
  return { folder }
}

type Settings = Readonly<Record<string, string>>

/** Calls, refusals, a confirmation, and the error that ends the process. */
async function crashes(env: Settings, key: string, user: { readonly uid?: number }): Promise<void> {
  const issuer = await startIssuer()
  const server = await startServer({
    entry: 'test/misbehaving-server.ts',
    env: { ...env, ...BEHIND_PROXY },
    policies: [
      issuersPolicy([issuer]),
      misbehavingAccess,
      [
        'access.yaml',
        'deaf: { scopes: [], timeoutSeconds: 600',
        'deaf: { scopes: [], timeoutSeconds: 1',
      ],
      ['limits.yaml', 'authFailuresPerMinute: 30', 'authFailuresPerMinute: 2'],
    ],
    ...user,
  })
  const now = Math.floor(Date.now() / 1000)
  const token = (changes: Members = {}): string =>
    jws(
      issuer.key,
      { alg: issuer.key.alg, kid: issuer.key.kid, typ: 'at+jwt' },
      {
        ...{ iss: issuer.url, aud: server.url, sub: 'alice', client_id: 'console', jti: 'token-1' },
        scope: 'mcp:use documents:process reports:read reports:delete',
        ...{ tenant: 'acme', iat: now - 60, exp: now + 600 },
        ...changes,
      },
    )
  const alice = token()
  const tool = (credential: string, name: string, args: object, more: object = {}) =>
    send(server, { credential, params: { name, arguments: args, ...more } })

  await tool(alice, 'whoami', {})
  await tool(alice, 'echo', { text: 'the same' })
  await tool(key, 'echo', { text: 'the same' })
  const documents = [{ name: 'a.md', text: 'One two three.' }]
  const made = report.parse(await tool(alice, 'process_documents', { documents }))
  const id = made.result.structuredContent.reportId
  await tool(key, 'process_documents', { documents })
  const asked = question.parse(await tool(alice, 'delete_report', { id }))
  const { requestState } = asked.result
  const inputResponses = { confirm: { action: 'accept', content: { confirm: true } } }
  await tool(alice, 'delete_report', { id }, { requestState, inputResponses })
  await tool(alice, 'straying', {})
  await tool(alice, 'deaf', { seconds: 2 })
  const params = { name: 'whoami', arguments: {} }
  const unknown = { credential: generateKey().key, from: '203.0.113.9', params }
  for (let attempts = 0; attempts < 3; attempts += 1) await send(server, unknown)
  const expired = token({ exp: now - 60 })
  await send(server, { credential: expired, from: '203.0.113.10', params })
  await tool(key, 'explosive', {})
  await server.exited
  await issuer.down()
}

/** A change of policy and one of the keys, each with a call that it refuses. */
async function changes(
  server: Server,
  key: string,
  files: { readonly keysFile: string; readonly access: string; readonly trail: string },
): Promise<void> {
  const params = { name: 'echo', arguments: { text: 'x' } }
  const use = () => send(server, { credential: key, host: 'mcp.example.com', params })
  const recorded = (code: string) =>
    vi.waitUntil(() => readFileSync(files.trail, 'utf8').includes(`"event_code":"${code}"`), 10_000)
  await use()
  edit(files.access, 'echo: { scopes: []', 'echo: { scopes: ["documents:process"]')
  server.child.kill('SIGHUP')
  await recorded('policy.reload')
  await use()
  edit(files.keysFile, '"revokedAt": null', `"revokedAt": "${new Date().toISOString()}"`)
  await recorded('keys.reload')
  await use()
  await server.stop()
}

function edit(file: string, from: string, to: string): void {
  const content = readFileSync(file, 'utf8')
  if (!content.includes(from)) throw new Error(`${file} does not contain: ${from}`)
  // In one step: the server may be reading it.
  writeFileSync(`${file}.new`, content.replace(from, to))
  renameSync(`${file}.new`, file)
}
