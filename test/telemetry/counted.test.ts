import { describe, expect, it } from 'vitest'
import type { AuditEvent, AuditTrail } from '../../src/audit/trail.ts'
import { Denied } from '../../src/errors.ts'
import { counted } from '../../src/telemetry/counted.ts'
import { createMetrics } from '../../src/telemetry/metrics.ts'

const facts = {
  requestId: 'request-1',
  address: '192.0.2.1',
  principal: undefined,
  credentialId: undefined,
  trace: undefined,
} as const
const digests = { policies: 'a', files: 'b' }

function setUp() {
  const written: AuditEvent[] = []
  const outcomes: AuditEvent[] = []
  const metrics = createMetrics()
  const inner: AuditTrail = {
    write: (event) => void written.push(event),
    async commit(event) {
      written.push(event)
      throw new Denied('audit.sink-broken')
    },
    digest: () => ({ hmac: 'hmac', bytes: 1 }),
    ready: () => false,
    async close() {},
  }
  const trail = counted(inner, metrics, (outcome) => outcomes.push(outcome))
  return { metrics, inner, trail, written, outcomes }
}

const EGRESS = {
  ...facts,
  event: 'egress',
  method: 'tools/call',
  name: 'rates',
  rpcId: 1,
  era: 'modern',
  argsHmac: 'a',
  argsBytes: 2,
  origin: undefined,
  httpMethod: 'GET',
  status: undefined,
  sentBytes: 0,
  receivedBytes: 0,
  durationMs: 1,
} as const
const REQUEST = {
  ...facts,
  event: 'request',
  httpMethod: 'POST',
  path: '/mcp',
  method: undefined,
  status: 401,
  reason: 'authenticate.missing',
  durationMs: 1,
} as const

describe('contract: what goes to the trail is counted', () => {
  it.each<[AuditEvent, string]>([
    [REQUEST, 'gatehouse_requests_total{http_response_status_code="401"} 1'],
    [REQUEST, 'gatehouse_refusals_total{reason="authenticate.missing"} 1'],
    [
      { ...facts, event: 'throttle', reason: 'call-limit.rate', policy: 'tool' },
      'gatehouse_throttles_total{policy="tool"} 1',
    ],
    [
      { ...facts, event: 'authn.fail', reason: 'authenticate.rejected', cause: 'expired' },
      'gatehouse_authentication_failures_total{cause="expired"} 1',
    ],
    [
      { ...EGRESS, outcome: 'not-allowed' },
      'gatehouse_egress_requests_total{outcome="not-allowed"} 1',
    ],
    [
      { event: 'jwks.change', issuer: 'https://a.example', keyIds: ['k'] },
      'gatehouse_key_set_changes_total{issuer="https://a.example"} 1',
    ],
    [
      { event: 'policy.reload', outcome: 'refused', from: digests, to: undefined },
      'gatehouse_reloads_total{kind="policy",outcome="refused"} 1',
    ],
    [
      { event: 'keys.reload', outcome: 'applied', from: digests, to: digests },
      'gatehouse_reloads_total{kind="keys",outcome="applied"} 1',
    ],
    [
      { event: 'fault', cause: 'unhandled-rejection' },
      'gatehouse_faults_total{cause="unhandled-rejection"} 1',
    ],
  ])('%o', async (event, line) => {
    const { metrics, trail, written } = setUp()
    trail.write(event)
    expect((await metrics.registry.metrics()).split('\n')).toContain(line)
    expect(written).toEqual([event])
  })

  it('counts requests that were served, and no refusal with them', async () => {
    const { metrics, trail } = setUp()
    trail.write({ ...REQUEST, status: 200, reason: undefined })
    const text = await metrics.registry.metrics()
    expect(text).toContain('gatehouse_requests_total{http_response_status_code="200"} 1')
    expect(text).not.toMatch(/gatehouse_refusals_total\{.*\} [1-9]/)
  })

  it('changes nothing of what the trail answers', async () => {
    const { trail, inner, written } = setUp()
    const start = { event: 'server.stop', cause: 'signal' } as const
    await expect(trail.commit(start)).rejects.toThrow('audit.sink-broken')
    expect(written).toEqual([start])
    expect(trail.ready()).toBe(false)
    expect(trail.digest('x')).toEqual(inner.digest('x'))
  })
})
