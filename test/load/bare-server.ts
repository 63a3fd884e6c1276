import { randomUUID } from 'node:crypto'
import { serve } from '@hono/node-server'
import { Hono } from 'hono'
import { compileRules } from '../../src/access/rules.ts'
import { findTarget } from '../../src/access/target.ts'
import type { AuditTrail } from '../../src/audit/trail.ts'
import { loadConfig } from '../../src/config.ts'
import type { AppEnv } from '../../src/context.ts'
import { lastingParts } from '../../src/lasting.ts'
import { createLogger } from '../../src/log.ts'
import { loadPolicies } from '../../src/policy.ts'
import { rawHeadersOf } from '../../src/raw-headers.ts'
import { secretRing } from '../../src/secrets.ts'
import { memoryStore } from '../../src/stores/memory.ts'
import { createTelemetry } from '../../src/telemetry/telemetry.ts'
import { tools } from '../../src/tools/index.ts'

/**
 * The handler of the server alone: it believes whatever it is sent, and nothing is on record. What is no
 * security stays: metrics and spans, the deadline of a call, its progress.
 */
const config = loadConfig(
  { NODE_ENV: 'development' },
  { nodeVersion: 'v24.21.0', uid: 1, execArgv: [] },
)
const policies = loadPolicies(config.policyDir, config.mode)
const catalog = { tools: tools.filter(({ name }) => name === 'echo'), resources: [], prompts: [] }
const { echo } = policies.access.tools
if (echo === undefined) throw new Error('echo has no entry')
const access = { tools: { echo }, resources: {}, prompts: {} }
const rules = compileRules(access, policies.auth.baseScope, catalog)
const trail: AuditTrail = {
  write() {},
  async commit() {},
  digest: () => ({ hmac: '', bytes: 0 }),
  ready: () => true,
  async close() {},
}
const telemetry = createTelemetry({ trustCallers: false })
const { mcp } = lastingParts(
  {
    config,
    catalog,
    publicUrl: 'http://127.0.0.1/mcp',
    bound: 'http://127.0.0.1',
    ephemeralKey: undefined,
    ring: secretRing(config.secrets),
    store: memoryStore(),
    trail,
    telemetry,
    logger: createLogger('silent'),
  },
  policies.http,
)
const handle = mcp.under({
  rules,
  resultBytes: policies.limits.result.bytes,
  egress: new Map(),
  streamSeconds: 3600,
  tasks: policies.limits.tasks,
})
const find = findTarget(catalog, rules)
const nobody = { kind: 'anonymous', issuer: '', client: '', subject: '', tenant: null } as const
const principal = { ...nobody, scopes: [], roles: [] }

const app = new Hono<AppEnv>()
app.post('/mcp', async (c, next) => {
  const message = await c.req.json()
  const target = find(message)
  if (target === undefined) return c.notFound()
  const requestId = randomUUID()
  const facts = { requestId, address: '', principal, credentialId: undefined, trace: undefined }
  const digest = { argsHmac: '', argsBytes: 0 }
  const { rule, parsed } = target
  const of = { method: 'tools/call', name: rule.name, rpcId: message.id, era: 'modern' } as const
  c.set('requestId', requestId)
  c.set('startedAt', performance.now())
  c.set('headers', rawHeadersOf(c.env.incoming))
  c.set('era', 'modern')
  c.set('message', message)
  c.set('isBehind', () => false)
  c.set('hold', { onEnd() {} })
  c.set('identity', {
    principal,
    credentialDigest: '',
    credentialId: null,
    expiresAt: null,
    claims: {},
  })
  c.set('operation', { rule, parsed, facts: { ...facts, ...of, ...digest }, started: false })
  return next()
})
app.post('/mcp', telemetry.middleware, handle)
serve({ fetch: app.fetch, hostname: '127.0.0.1', port: 0 }, ({ port }) => {
  console.log(`the bare handler listens on http://127.0.0.1:${port}`)
})
