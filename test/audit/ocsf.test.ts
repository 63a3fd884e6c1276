import { describe, expect, it } from 'vitest'
import { toOcsf } from '../../src/audit/ocsf.ts'
import type { RecordContext } from '../../src/audit/ocsf-attributes.ts'
import type { AuditEvent } from '../../src/audit/trail.ts'
import { caller, context, EVENTS, FORGERIES, request, result } from './events.ts'
import { ocsfProblems } from './ocsf-check.ts'

/** As it stands in the line, but for what the chain adds. */
function lineOf(event: AuditEvent, changes: Partial<RecordContext> = {}) {
  return JSON.parse(JSON.stringify(toOcsf(event, { ...context, ...changes })))
}

describe('contract: every record follows OCSF 1.8.0', () => {
  it.each(EVENTS)('%s', (_name, event) => {
    expect(ocsfProblems(lineOf(event))).toEqual([])
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
    expect(ocsfProblems(broken)).toEqual([problem])
  })

  it('and the check finds an attribute of a profile that the record does not name', () => {
    const record = lineOf({ ...caller, ...request })
    record.metadata.profiles = ['trace']
    expect(ocsfProblems(record)).toContain('action_id: profile')
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
    [
      'request, refused in band',
      {
        status_id: 2,
        status_code: '200',
        status_detail: 'handler.unknown-tool',
        disposition_id: 2,
      },
    ],
    ['request, failed in band', { status_id: 2, action_id: 0, disposition_id: 27 }],
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
  it.each(FORGERIES)('is refused in $event', async (event) => {
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
