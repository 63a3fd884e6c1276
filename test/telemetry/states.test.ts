import { Registry } from 'prom-client'
import { describe, expect, it } from 'vitest'
import type { Readiness } from '../../src/admin/probes.ts'
import { watchStates } from '../../src/telemetry/states.ts'

describe('contract: the state of the parts, as it is when metrics are read', () => {
  const registry = new Registry()
  const toolsDigest = 'd'.repeat(64)
  let readiness: Readiness = {
    own: { audit: 'ok', drain: 'ok' },
    shared: { store: 'memory' },
    toolsDigest,
  }
  let dropped = 0
  let refusedSince: number | undefined
  let revokedAgeSeconds = 5
  let keySets = [{ issuer: 'https://a.example', usable: true, ageSeconds: 12 }]
  watchStates(registry, {
    readiness: () => readiness,
    lasting: {
      calls: { running: () => 3 },
      slotsOf: { taken: (name) => (name === 'streams' ? 6 : 4) },
      keySets: { states: () => keySets },
      store: { shared: { revokedAgeSeconds: () => revokedAgeSeconds } },
    },
    live: {
      current: () => ({ policies: { limits: { connections: 60, streams: 50 } } }),
      refusedSince: (event) => (event === 'keys.reload' ? refusedSince : undefined),
    },
    records: { dropped: () => dropped },
    sink: { waiting: (lane) => (lane === 'decision' ? 7 : 8) },
    server: { getConnections: (done) => done(null, 5) },
  })
  const lines = async (): Promise<string[]> =>
    (await registry.metrics()).split('\n').filter((line) => line.startsWith('gatehouse_'))

  it('is good', async () => {
    expect(await lines()).toEqual([
      'gatehouse_part_ok{part="audit"} 1',
      'gatehouse_part_ok{part="drain"} 1',
      'gatehouse_part_ok{part="store"} 1',
      'gatehouse_calls_running 3',
      'gatehouse_streams_open 6',
      'gatehouse_sessions_open 4',
      'gatehouse_connections_open 5',
      'gatehouse_limit{limit="connections"} 60',
      'gatehouse_limit{limit="streams"} 50',
      'gatehouse_audit_waiting_records{lane="decision"} 7',
      'gatehouse_audit_waiting_records{lane="bulk"} 8',
      'gatehouse_audit_dropped_records_total 0',
      'gatehouse_reload_refused_seconds{kind="policy"} 0',
      'gatehouse_reload_refused_seconds{kind="keys"} 0',
      'gatehouse_revocations_age_seconds 5',
      'gatehouse_key_set_usable{issuer="https://a.example"} 1',
      'gatehouse_key_set_age_seconds{issuer="https://a.example"} 12',
    ])
  })

  it('is not, and names only issuers that are still trusted', async () => {
    readiness = {
      own: { audit: 'broken', drain: 'ok' },
      shared: { store: 'unreachable' },
      toolsDigest,
    }
    dropped = 4
    refusedSince = Date.now() - 90_000
    revokedAgeSeconds = 700
    keySets = [{ issuer: 'https://b.example', usable: false, ageSeconds: Number.POSITIVE_INFINITY }]
    expect(await lines()).toEqual(
      expect.arrayContaining([
        'gatehouse_part_ok{part="audit"} 0',
        'gatehouse_part_ok{part="drain"} 1',
        'gatehouse_part_ok{part="store"} 0',
        'gatehouse_audit_dropped_records_total 4',
        expect.stringMatching(/^gatehouse_reload_refused_seconds\{kind="keys"\} 9\d(\.\d+)?$/),
        'gatehouse_revocations_age_seconds 700',
        'gatehouse_key_set_usable{issuer="https://b.example"} 0',
        'gatehouse_key_set_age_seconds{issuer="https://b.example"} +Inf',
      ]),
    )
    expect((await lines()).join()).not.toContain('a.example')
  })

  it('keeps out of the registry that all users of the library share', async () => {
    const { register } = await import('prom-client')
    expect(await register.metrics()).toBe('\n')
  })
})
