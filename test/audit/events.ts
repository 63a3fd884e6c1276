import type { RecordContext } from '../../src/audit/ocsf-attributes.ts'
import type { AuditEvent, OperationFacts, RequestFacts } from '../../src/audit/trail.ts'

/** One event of each kind, and what records say besides. */

export const context: RecordContext = {
  product: { name: 'gatehouse', version: '1.2.3' },
  time: 1_790_000_000_000,
  policyDigest: 'c'.repeat(64),
  dropped: 0,
  nameOf: (subject) => subject,
}
export const caller: RequestFacts = {
  requestId: '5d1f0c4e-6a53-4f0e-9b55-3f2d6ad1a1a1',
  address: '192.0.2.7',
  principal: {
    kind: 'oauth',
    issuer: 'https://auth.example.com',
    client: 'console',
    subject: 'alice',
    scopes: ['mcp:use'],
    roles: ['auditor'],
    tenant: 'acme',
  },
  credentialId: 'token-1',
  trace: { traceId: 'a'.repeat(32), spanId: 'b'.repeat(16) },
}
const nobody: RequestFacts = {
  ...caller,
  principal: undefined,
  credentialId: undefined,
  trace: undefined,
}
const operation: OperationFacts = {
  method: 'tools/call',
  name: 'echo',
  rpcId: 7,
  era: 'modern',
  argsHmac: 'd'.repeat(64),
  argsBytes: 12,
}
export const request = {
  event: 'request',
  httpMethod: 'POST',
  path: '/mcp',
  method: 'tools/call',
  status: 200,
  reason: undefined,
  durationMs: 12.6,
} as const
const outcome = { event: 'outcome', durationMs: 3.2, progressCount: 2 } as const
export const result = 'e'.repeat(64)

export const EVENTS: readonly (readonly [string, AuditEvent])[] = [
  ['request', { ...caller, ...request }],
  ['request, read', { ...caller, ...request, method: 'tools/list' }],
  ['request, refused', { ...nobody, ...request, status: 401, reason: 'authenticate.missing' }],
  ['request, refused in band', { ...caller, ...request, reason: 'handler.unknown-tool' }],
  ['request, failed in band', { ...caller, ...request, reason: 'handler.failed' }],
  ['request, a bug', { ...caller, ...request, status: 500, reason: 'answer.bug' }],
  ['request, no address', { ...nobody, ...request, address: '', method: undefined }],
  ['request, WebDAV', { ...nobody, ...request, httpMethod: 'PROPFIND' }],
  ['request, IPv6', { ...caller, ...request, address: '2001:db8::1' }],
  ['request, API key', { ...caller, ...request, principal: keyHolder() }],
  [
    'request, repeated',
    {
      ...nobody,
      ...request,
      status: 401,
      reason: 'authenticate.missing',
      repeated: { count: 9, forMs: 60_000 },
    },
  ],
  [
    'policy.reload',
    {
      event: 'policy.reload',
      outcome: 'applied',
      from: { policies: 'a'.repeat(64), files: 'b'.repeat(64) },
      to: { policies: 'c'.repeat(64), files: 'b'.repeat(64) },
    },
  ],
  [
    'keys.reload, refused',
    {
      event: 'keys.reload',
      outcome: 'refused',
      from: { policies: 'a'.repeat(64), files: 'b'.repeat(64) },
      to: undefined,
    },
  ],
  ['decision', { ...caller, ...operation, event: 'decision', allowed: true, reason: undefined }],
  [
    'decision, no scope',
    {
      ...caller,
      ...operation,
      event: 'decision',
      allowed: false,
      reason: 'authorize.missing-scope',
    },
  ],
  [
    'decision, over a limit',
    {
      ...caller,
      ...operation,
      method: 'resources/read',
      name: 'report://{id}',
      event: 'decision',
      allowed: false,
      reason: 'call-limit.rate',
    },
  ],
  ['outcome', { ...caller, ...operation, ...outcome, outcome: 'ok', resultSha256: result }],
  [
    'outcome, prompt',
    {
      ...caller,
      ...operation,
      ...outcome,
      method: 'prompts/get',
      name: 'summarize_report',
      outcome: 'not-run',
      resultSha256: undefined,
    },
  ],
  [
    'outcome, asked',
    { ...caller, ...operation, ...outcome, outcome: 'asked', resultSha256: undefined },
  ],
  [
    'outcome, timed out',
    { ...caller, ...operation, ...outcome, outcome: 'timed-out', resultSha256: undefined },
  ],
  [
    'egress',
    {
      ...caller,
      ...operation,
      event: 'egress',
      outcome: 'ok',
      origin: 'https://api.example.com',
      httpMethod: 'POST',
      status: 201,
      sentBytes: 12,
      receivedBytes: 345,
      durationMs: 81.4,
    },
  ],
  ...(['not-allowed', 'timeout'] as const).map((outcome): readonly [string, AuditEvent] => [
    `egress, ${outcome}`,
    {
      ...caller,
      ...operation,
      event: 'egress',
      outcome,
      origin: outcome === 'timeout' ? 'https://api.example.com' : undefined,
      httpMethod: 'GET',
      status: undefined,
      sentBytes: 0,
      receivedBytes: 0,
      durationMs: 0.2,
    },
  ]),
  [
    'authn.fail',
    { ...nobody, event: 'authn.fail', reason: 'authenticate.rejected', cause: 'expired' },
  ],
  [
    'throttle',
    { ...nobody, event: 'throttle', reason: 'address-limit.exceeded', policy: 'address' },
  ],
  [
    'server.start',
    {
      event: 'server.start',
      settingsDigest: 'f'.repeat(64),
      policyDigest: 'c'.repeat(64),
      toolsDigest: 'f'.repeat(64),
      nodeVersion: 'v24.21.0',
    },
  ],
  ['server.stop', { event: 'server.stop', cause: 'signal' }],
  ['server.stop, crash', { event: 'server.stop', cause: 'crash' }],
  ['fault', { event: 'fault', cause: 'unhandled-rejection' }],
  [
    'audit.checkpoint',
    {
      event: 'audit.checkpoint',
      head: { writer: 'a'.repeat(16), sequence: 7, mac: 'b'.repeat(64) },
      count: 7,
      digest: 'c'.repeat(64),
      signer: 'd'.repeat(16),
    },
  ],
  ['jwks.change', { event: 'jwks.change', issuer: 'https://auth.example.com', keyIds: ['a'] }],
]

function keyHolder(): RequestFacts['principal'] {
  return caller.principal && { ...caller.principal, kind: 'api-key', client: '', tenant: null }
}

const evil = `\x1b[2J\u202e\r\n{"event":"x"}\ud800${'A'.repeat(10_000)}`
const evilCaller: RequestFacts = {
  ...caller,
  principal: {
    kind: 'oauth',
    issuer: evil,
    client: evil,
    subject: evil,
    scopes: [evil],
    roles: [evil],
    tenant: evil,
  },
}
/** What attackers choose is all forged text. */
export const FORGERIES: readonly AuditEvent[] = [
  { ...evilCaller, ...request, httpMethod: evil, path: evil, method: evil },
  {
    ...evilCaller,
    ...operation,
    rpcId: evil,
    event: 'decision',
    allowed: true,
    reason: undefined,
  },
  { ...evilCaller, event: 'authn.fail', reason: 'authenticate.rejected', cause: evil },
  { event: 'jwks.change', issuer: evil, keyIds: Array.from({ length: 1000 }, () => evil) },
]
