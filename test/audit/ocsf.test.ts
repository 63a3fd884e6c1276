import { isIP } from 'node:net'
import { describe, expect, it } from 'vitest'
import { toOcsf } from '../../src/audit/ocsf.ts'
import type { RecordContext } from '../../src/audit/ocsf-attributes.ts'
import type { AuditEvent, OperationFacts, RequestFacts } from '../../src/audit/trail.ts'
import schema from './ocsf-1.8.0.json' with { type: 'json' }

const context: RecordContext = {
  product: { name: 'gatehouse', version: '1.2.3' },
  time: 1_790_000_000_000,
  policyDigest: 'c'.repeat(64),
  dropped: 0,
  nameOf: (subject) => subject,
}
const caller: RequestFacts = {
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
const request = {
  event: 'request',
  httpMethod: 'POST',
  path: '/mcp',
  method: 'tools/call',
  status: 200,
  reason: undefined,
  durationMs: 12.6,
} as const
const outcome = { event: 'outcome', durationMs: 3.2, progressCount: 2 } as const
const result = 'e'.repeat(64)

const EVENTS: readonly (readonly [string, AuditEvent])[] = [
  ['request', { ...caller, ...request }],
  ['request, read', { ...caller, ...request, method: 'tools/list' }],
  ['request, refused', { ...nobody, ...request, status: 401, reason: 'authenticate.missing' }],
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
    'outcome, asked',
    { ...caller, ...operation, ...outcome, outcome: 'asked', resultSha256: undefined },
  ],
  [
    'outcome, timed out',
    { ...caller, ...operation, ...outcome, outcome: 'timed-out', resultSha256: undefined },
  ],
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

/** As it stands in the line, but for what the chain adds. */
function lineOf(event: AuditEvent, changes: Partial<RecordContext> = {}) {
  return JSON.parse(JSON.stringify(toOcsf(event, { ...context, ...changes })))
}

describe('contract: every record follows OCSF 1.8.0', () => {
  it.each(EVENTS)('%s', (_name, event) => {
    expect(problemsOf(lineOf(event))).toEqual([])
  })

  it.each([
    ['a missing attribute', { src_endpoint: undefined }, 'src_endpoint: missing'],
    ['an unknown attribute', { constructor: 1 }, 'constructor: unknown'],
    ['a wrong type', { time: '1' }, 'time: not timestamp_t'],
    ['a fraction', { duration: 1.5 }, 'duration: not long_t'],
    ['a value out of the list', { action_id: 7 }, 'action_id: 7'],
    ['a status out of the list', { status_id: 3 }, 'status_id: 3'],
    ['another category', { category_uid: 3 }, 'category_uid: 3'],
    ['another type', { type_uid: 1 }, 'type_uid: 1'],
    ['an object with too little', { src_endpoint: {} }, 'src_endpoint: at least one'],
    ['no address', { src_endpoint: { ip: 'localhost' } }, 'src_endpoint.ip: not ip_t'],
  ])('and the check finds %s', (_name, change, problem) => {
    const record = lineOf({ ...caller, ...request })
    const broken = JSON.parse(JSON.stringify({ ...record, ...change }))
    expect(problemsOf(broken)).toEqual([problem])
  })

  it('and the check finds an attribute of a profile that the record does not name', () => {
    const record = lineOf({ ...caller, ...request })
    record.metadata.profiles = ['trace']
    expect(problemsOf(record)).toContain('action_id: profile')
  })
})

describe('contract: what an auditor asks is in the record', () => {
  it('who, from where, what, when, with which outcome', () => {
    expect(lineOf({ ...caller, ...request })).toEqual({
      metadata: {
        version: '1.8.0',
        event_code: 'request',
        profiles: ['security_control', 'trace'],
        product: context.product,
        correlation_uid: caller.requestId,
        tenant_uid: 'acme',
      },
      time: context.time,
      category_uid: 6,
      class_uid: 6003,
      activity_id: 99,
      activity_name: 'request',
      type_uid: 600399,
      severity_id: 1,
      duration: 13,
      status_id: 1,
      status_code: '200',
      action_id: 1,
      disposition_id: 1,
      actor: {
        user: {
          uid: 'alice',
          type_id: 99,
          type: 'oauth',
          programmatic_credentials: [{ uid: 'token-1', type: 'Access Token' }],
        },
        idp: { uid: 'https://auth.example.com' },
        app_uid: 'console',
      },
      api: {
        operation: 'tools/call',
        service: { name: 'gatehouse' },
        request: { uid: caller.requestId },
      },
      src_endpoint: { ip: '192.0.2.7' },
      trace: {
        uid: 'a'.repeat(32),
        span: { uid: 'b'.repeat(16), start_time: context.time - 13, end_time: context.time },
      },
      http_request: { http_method: 'POST', url: { path: '/mcp' } },
      http_response: { code: 200 },
      unmapped: {},
    })
  })

  const facts: readonly (readonly [string, Record<string, unknown>])[] = [
    [
      'request, refused',
      {
        severity_id: 2,
        status_id: 2,
        status_code: '401',
        status_detail: 'authenticate.missing',
        action_id: 2,
        disposition_id: 2,
        actor: { user: { name: 'unknown', type_id: 0 } },
      },
    ],
    [
      'request, repeated',
      { count: 9, start_time: context.time - 60_000, end_time: context.time, severity_id: 2 },
    ],
    [
      'policy.reload',
      {
        class_uid: 0,
        severity_id: 1,
        status_id: 1,
        status_code: 'applied',
        unmapped: {
          reload: { from: { policies: 'a'.repeat(64) }, to: { policies: 'c'.repeat(64) } },
        },
      },
    ],
    ['keys.reload, refused', { severity_id: 3, status_id: 2, status_code: 'refused' }],
    ['request, read', { activity_id: 2, type_uid: 600302 }],
    ['request, a bug', { severity_id: 3, action_id: 0, disposition_id: 27 }],
    ['request, no address', { src_endpoint: { name: 'unknown' }, api: { operation: 'http' } }],
    ['request, WebDAV', { unmapped: { http_method: 'PROPFIND' } }],
    ['request, API key', { actor: { user: { uid: 'alice', type: 'api-key' } } }],
    [
      'decision',
      {
        status_id: 1,
        action_id: 1,
        disposition_id: 1,
        policy: { uid: 'tools/echo', version: 'c'.repeat(64) },
        actor: { authorizations: [{ decision: 'allowed' }] },
        unmapped: {
          mcp: {
            tool: 'echo',
            rpc_id: 7,
            era: 'modern',
            args_hmac: 'd'.repeat(64),
            args_bytes: 12,
          },
        },
      },
    ],
    [
      'decision, no scope',
      {
        status_id: 2,
        status_detail: 'authorize.missing-scope',
        action_id: 2,
        disposition_id: 26,
        actor: { authorizations: [{ decision: 'denied' }] },
      },
    ],
    [
      'decision, over a limit',
      {
        activity_id: 2,
        disposition_id: 2,
        policy: { uid: 'resources/report://{id}' },
        unmapped: { mcp: { resource: 'report://{id}' } },
      },
    ],
    [
      'outcome',
      {
        duration: 3,
        status_id: 1,
        status_code: 'ok',
        unmapped: { mcp: { is_error: false, result_sha256: result, progress_count: 2 } },
      },
    ],
    ['outcome, asked', { status_id: 99, status: 'asked', unmapped: { mcp: { is_error: false } } }],
    ['outcome, timed out', { status_id: 2, unmapped: { mcp: { is_error: true } } }],
    [
      'authn.fail',
      {
        type_uid: 300201,
        status_id: 2,
        status_code: 'expired',
        status_detail: 'authenticate.rejected',
        metadata: { correlation_uid: caller.requestId },
      },
    ],
    ['throttle', { disposition_id: 2, policy: { uid: 'limits/address' } }],
    [
      'server.start',
      { type_uid: 600203, unmapped: { server: { settings_digest: 'f'.repeat(64) } } },
    ],
    ['server.stop', { type_uid: 600204, severity_id: 1 }],
    ['server.stop, crash', { severity_id: 4, status_code: 'crash' }],
    ['fault', { type_uid: 99, activity_name: 'fault', severity_id: 4 }],
    ['jwks.change', { unmapped: { jwks: { key_ids: ['a'] } } }],
  ]
  it.each(facts)('%s', (name, members) => {
    const event = new Map(EVENTS).get(name)
    expect(event && lineOf(event)).toMatchObject(members)
  })

  it('how many records were lost before this one', () => {
    expect(lineOf({ ...caller, ...request }, { dropped: 3 }).unmapped).toEqual({ dropped: 3 })
  })
})

describe('threat: forged entries, a caller writes into the trail through what is recorded of it', () => {
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
  const events: readonly AuditEvent[] = [
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
  it.each(events)('is refused in $event', async (event) => {
    const { cleanText } = await import('../../src/audit/clean-text.ts')
    const texts = textsOf(lineOf(event, { nameOf: cleanText }))
    expect(texts.length).toBeGreaterThan(5)
    for (const text of texts) expect(cleanText(text)).toBe(text)
    expect(texts.join().length).toBeLessThan(10_000)
  })
})

function textsOf(value: unknown): readonly string[] {
  if (typeof value === 'string') return [value]
  if (typeof value !== 'object' || value === null) return []
  return Object.values(value).flatMap(textsOf)
}

interface Shape {
  readonly at_least_one?: readonly string[]
  readonly attributes: Readonly<Record<string, string>>
}

const CLASSES = new Map<string, Shape>(Object.entries(schema.classes))
const OBJECTS = new Map<string, Shape>(Object.entries(schema.objects))
const CATEGORIES = new Map(
  Object.entries(schema.classes).map(([uid, { category_uid }]) => [Number(uid), category_uid]),
)

/** What is wrong with a record, by the facts of the schema. */
function problemsOf(record: Record<string, unknown>): readonly string[] {
  const { class_uid, category_uid, activity_id, type_uid, metadata } = record
  const shape = CLASSES.get(String(class_uid))
  if (shape === undefined) return ['class_uid: unknown']
  const profiles =
    typeof metadata === 'object' && metadata !== null && 'profiles' in metadata
      ? metadata.profiles
      : []
  return [
    ...(CATEGORIES.get(Number(class_uid)) === category_uid
      ? []
      : [`category_uid: ${category_uid}`]),
    ...(Number(class_uid) * 100 + Number(activity_id) === type_uid
      ? []
      : [`type_uid: ${type_uid}`]),
    ...shapeProblems(record, shape, '', Array.isArray(profiles) ? profiles : []),
  ]
}

function shapeProblems(
  value: object,
  { attributes, at_least_one }: Shape,
  path: string,
  profiles: readonly unknown[],
): readonly string[] {
  const present = new Map<string, unknown>(Object.entries(value))
  const known = new Map(Object.entries(attributes))
  const missing = [...known]
    .filter(([name, facts]) => facts.split(' ').includes('required') && !present.has(name))
    .map(([name]) => `${path}${name}: missing`)
  const few =
    at_least_one !== undefined && !at_least_one.some((name) => present.has(name))
      ? [`${path.slice(0, -1)}: at least one`]
      : []
  const wrong = [...present].flatMap(([name, member]) => {
    const facts = known.get(name)
    return facts === undefined
      ? [`${path}${name}: unknown`]
      : attributeProblems(member, facts.split(' '), `${path}${name}`, profiles)
  })
  return [...missing, ...few, ...wrong]
}

function attributeProblems(
  value: unknown,
  [type = '', ...facts]: readonly string[],
  path: string,
  profiles: readonly unknown[],
): readonly string[] {
  const profile = facts.find((fact) => fact.startsWith('profile:'))?.slice('profile:'.length)
  if (profile !== undefined && !profiles.includes(profile)) return [`${path}: profile`]
  const values = facts.find((fact) => fact.startsWith('enum:'))?.slice('enum:'.length)
  if (values !== undefined && !values.split(',').includes(String(value)))
    return [`${path}: ${value}`]
  if (type.endsWith('[]')) {
    if (!Array.isArray(value)) return [`${path}: not ${type}`]
    return value.flatMap((item) => attributeProblems(item, [type.slice(0, -2)], path, profiles))
  }
  const shape = OBJECTS.get(type)
  if (shape !== undefined && typeof value === 'object' && value !== null) {
    return shapeProblems(value, shape, `${path}.`, profiles)
  }
  return isOfType(value, type) ? [] : [`${path}: not ${type}`]
}

function isOfType(value: unknown, type: string): boolean {
  switch (type) {
    case 'string_t':
      return typeof value === 'string'
    case 'integer_t':
    case 'long_t':
    case 'timestamp_t':
      return Number.isSafeInteger(value)
    case 'boolean_t':
      return typeof value === 'boolean'
    case 'ip_t': {
      const { max_len, regex } = schema.types.ip_t
      return typeof value === 'string' && isIP(value) !== 0 && value.length <= max_len
        ? new RegExp(regex).test(value)
        : false
    }
    case 'object':
      return typeof value === 'object' && value !== null
    default:
      return false
  }
}
