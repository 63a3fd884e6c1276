import { describe, expect, it } from 'vitest'
import { sampled } from '../../src/audit/sampling.ts'
import type { AuditEvent, AuditTrail, RequestFacts } from '../../src/audit/trail.ts'
import type { DenyReason } from '../../src/errors.ts'
import { testClock } from '../clock.ts'

const principal = {
  kind: 'api-key',
  issuer: 'gatehouse',
  client: '',
  subject: 'alice',
  scopes: [],
  roles: [],
  tenant: null,
} as const

function setUp() {
  const written: AuditEvent[] = []
  const clock = testClock()
  let closed = false
  const inner: AuditTrail = {
    write: (event) => void written.push(event),
    async commit(event) {
      written.push(event)
    },
    digest: () => ({ hmac: '', bytes: 0 }),
    ready: () => true,
    async close() {
      closed = true
    },
  }
  const trail = sampled(inner, clock)
  let requests = 0
  return {
    trail,
    clock,
    written,
    closed: () => closed,
    /** One request that is refused. */
    refuse(reason: DenyReason = 'authenticate.missing', changes: Partial<RequestFacts> = {}): void {
      requests += 1
      trail.write({
        event: 'request',
        requestId: `request-${requests}`,
        address: '192.0.2.1',
        principal: undefined,
        credentialId: undefined,
        trace: undefined,
        httpMethod: 'POST',
        path: '/mcp',
        method: undefined,
        status: 401,
        reason,
        durationMs: 1,
        ...changes,
      })
    },
    /** How many refusals the records speak of. */
    total: (): number =>
      written
        .map((event) => ('repeated' in event ? (event.repeated?.count ?? 1) : 1))
        .reduce((sum, count) => sum + count, 0),
    /** Lets time pass as timers see it. */
    pass(seconds: number): void {
      for (let second = 0; second < seconds; second += 1) clock.advance(1000)
    },
  }
}

const times = (count: number, run: () => void): void => {
  for (let index = 0; index < count; index += 1) run()
}

describe('threat: a flood of refused requests, it buries what matters or fills the disk', () => {
  it('has the first twenty on record one by one, then one count a minute', () => {
    const at = setUp()
    times(20, () => at.refuse())
    expect(at.written).toHaveLength(20)
    times(980, () => at.refuse())
    expect(at.written).toHaveLength(20)
    at.pass(65)
    expect(at.written).toHaveLength(21)
    expect(at.written.at(-1)).toMatchObject({
      event: 'request',
      requestId: 'request-1000',
      reason: 'authenticate.missing',
      repeated: { count: 980, forMs: 60_000 },
    })
    expect(at.total()).toBe(1000)
  })

  it('has one count a minute for as long as it goes on, and starts anew after a quiet minute', () => {
    const at = setUp()
    times(10, () => {
      times(100, () => at.refuse())
      at.pass(60)
    })
    at.pass(120)
    expect(at.total()).toBe(1000)
    expect(at.written.length).toBeLessThanOrEqual(20 + 11)
    const before = at.written.length
    times(20, () => at.refuse())
    expect(at.written).toHaveLength(before + 20)
  })

  it.each<[string, (at: ReturnType<typeof setUp>, index: number) => void]>([
    [
      'IPv6 addresses of one network',
      (at, index) =>
        at.refuse('authenticate.missing', { address: `2001:db8::${index.toString(16)}` }),
    ],
    ['requests of one address', (at) => at.refuse()],
  ])('counts %s together', (_name, refuse) => {
    const at = setUp()
    for (let index = 0; index < 100; index += 1) refuse(at, index)
    expect(at.written).toHaveLength(20)
  })

  it('loses no count when more addresses come than it can remember', () => {
    const at = setUp()
    times(25, () => at.refuse())
    for (let index = 0; index < 20_000; index += 1) {
      const address = `198.${18 + (index >> 16)}.${(index >> 8) & 255}.${index & 255}`
      at.refuse('authenticate.missing', { address })
    }
    expect(at.total()).toBe(20_025)
  })

  it('loses no count when the process ends, and closes the trail last', async () => {
    const at = setUp()
    times(50, () => at.refuse())
    await at.trail.close()
    expect(at.total()).toBe(50)
    expect(at.closed()).toBe(true)
    expect(at.clock.pending()).toBe(0)
  })
})

describe('threat: sampling hides something, an attacker floods to go unseen', () => {
  it('counts each address, reason, kind and cause by itself', () => {
    const at = setUp()
    times(25, () => at.refuse())
    const before = at.written.length
    at.refuse('authenticate.missing', { address: '192.0.2.2' })
    at.refuse('host-guard.not-allowed')
    const fail = (cause: string): void =>
      at.trail.write({
        event: 'authn.fail',
        requestId: 'other',
        address: '192.0.2.1',
        principal: undefined,
        credentialId: undefined,
        trace: undefined,
        reason: 'authenticate.rejected',
        cause,
      })
    times(20, () => fail('unknown'))
    fail('revoked')
    expect(at.written).toHaveLength(before + 2 + 21)
  })

  it('writes every record of a caller who is known, refused or not', () => {
    const at = setUp()
    times(100, () => at.refuse('authorize.missing-scope', { principal }))
    expect(at.written).toHaveLength(100)
  })

  it('writes every request that was not refused, and every other event', () => {
    const at = setUp()
    times(50, () =>
      at.trail.write({
        event: 'request',
        requestId: 'served',
        address: '192.0.2.1',
        principal: undefined,
        credentialId: undefined,
        trace: undefined,
        httpMethod: 'GET',
        path: '/.well-known/oauth-protected-resource',
        method: undefined,
        status: 200,
        reason: undefined,
        durationMs: 1,
      }),
    )
    times(50, () => at.trail.write({ event: 'fault', cause: 'unhandled-rejection' }))
    expect(at.written).toHaveLength(100)
  })

  it('hands over what has to be on record before anything happens', async () => {
    const at = setUp()
    await at.trail.commit({ event: 'fault', cause: 'unhandled-rejection' })
    expect(at.written).toHaveLength(1)
  })
})
