// optional: telemetry
import { promisify } from 'node:util'
import { Counter, collectDefaultMetrics, Gauge, type Registry } from 'prom-client'
import type { Readiness } from '../admin/probes.ts'
import type { Lane } from '../audit/sink.ts'
import type { Calls } from '../mcp/calls.ts'
import type { LimitsPolicy } from '../policy.ts'
import type { SlotTables } from '../slots.ts'

/** What is asked when metrics are read. */
export interface StateSources {
  readonly readiness: () => Readiness
  readonly lasting: {
    readonly calls: Pick<Calls, 'running'>
    readonly slotsOf: Pick<SlotTables, 'taken'>
    /** Absent where no issuer could be configured. */
    readonly keySets?: { states(): readonly KeySetState[] }
    readonly store: { readonly shared?: { revokedAgeSeconds(): number } }
  }
  /** What is in force. */
  readonly live: {
    current(): {
      readonly policies: { readonly limits: Pick<LimitsPolicy, 'connections' | 'streams'> }
    }
    /** ms since the epoch */
    refusedSince(event: 'policy.reload' | 'keys.reload'): number | undefined
  }
  readonly records: { dropped(): number }
  readonly sink: { waiting(lane: Lane): number }
  /** The public listener. */
  readonly server: {
    getConnections(done: (error: Error | null, count: number) => void): unknown
  }
}

/** The signature keys of one issuer. */
interface KeySetState {
  readonly issuer: string
  /** Whether tokens can be verified with them now. */
  readonly usable: boolean
  /** Since they were fetched, seconds; `Infinity` when they never were. */
  readonly ageSeconds: number
}

const LANES = ['decision', 'bulk'] as const

/** Words of a state that is as it should be; see `Readiness`. */
const GOOD: ReadonlySet<string> = new Set(['ok', 'memory'])

/** Adds what is read off the parts, and what the process says of itself. Once for each process. */
export function watchStates(registry: Registry, sources: StateSources): void {
  const { readiness, lasting, live, records, sink, server } = sources
  const registers = [registry]
  const connections = promisify(server.getConnections.bind(server))

  new Gauge({
    name: 'gatehouse_part_ok',
    help: '1 while a part is as it should be, by the names of /readyz.',
    labelNames: ['part'],
    registers,
    collect() {
      const { own, shared } = readiness()
      for (const [part, state] of Object.entries({ ...own, ...shared })) {
        this.set({ part }, GOOD.has(state) ? 1 : 0)
      }
    },
  })
  new Gauge({
    name: 'gatehouse_calls_running',
    help: 'Calls of tools, resources, prompts and lists that run.',
    registers,
    collect() {
      this.set(lasting.calls.running())
    },
  })
  new Gauge({
    name: 'gatehouse_streams_open',
    help: 'Streams that last: subscriptions/listen, and those of sessions.',
    registers,
    collect() {
      this.set(lasting.slotsOf.taken('streams'))
    },
  })
  new Gauge({
    name: 'gatehouse_sessions_open',
    help: 'Sessions of clients of the 2025 and 2024 revisions.',
    registers,
    collect() {
      this.set(lasting.slotsOf.taken('sessions'))
    },
  })
  new Gauge({
    name: 'gatehouse_connections_open',
    help: 'Connections of the public listener.',
    registers,
    async collect() {
      this.set(await connections())
    },
  })
  new Gauge({
    name: 'gatehouse_limit',
    help: 'What policies/limits.yaml allows this process in total.',
    labelNames: ['limit'],
    registers,
    collect() {
      const { limits } = live.current().policies
      this.set({ limit: 'connections' }, limits.connections)
      this.set({ limit: 'streams' }, limits.streams)
    },
  })
  new Gauge({
    name: 'gatehouse_audit_waiting_records',
    help: 'Audit records that are not written yet, by lane; each lane takes 4096.',
    labelNames: ['lane'],
    registers,
    collect() {
      for (const lane of LANES) this.set({ lane }, sink.waiting(lane))
    },
  })
  new Counter({
    name: 'gatehouse_audit_dropped_records_total',
    help: 'Audit records lost to full queues.',
    registers,
    collect() {
      this.reset()
      this.inc(records.dropped())
    },
  })
  new Gauge({
    name: 'gatehouse_reload_refused_seconds',
    help: 'For how long files say what is not in force, because it was refused; 0: they do not.',
    labelNames: ['kind'],
    registers,
    collect() {
      for (const kind of ['policy', 'keys'] as const) {
        const sinceMs = live.refusedSince(`${kind}.reload`)
        this.set({ kind }, sinceMs === undefined ? 0 : (Date.now() - sinceMs) / 1000)
      }
    },
  })
  new Gauge({
    name: 'gatehouse_revocations_age_seconds',
    help: 'Since the revocations in the shared store were read; 0 without one.',
    registers,
    collect() {
      this.set(lasting.store.shared?.revokedAgeSeconds() ?? 0)
    },
  })
  const keySets = (): readonly KeySetState[] => lasting.keySets?.states() ?? []
  new Gauge({
    name: 'gatehouse_key_set_usable',
    help: '1 while there are signature keys of this issuer that may be used.',
    labelNames: ['issuer'],
    registers,
    collect() {
      this.reset()
      for (const { issuer, usable } of keySets()) this.set({ issuer }, usable ? 1 : 0)
    },
  })
  new Gauge({
    name: 'gatehouse_key_set_age_seconds',
    help: 'Since the signature keys of this issuer were fetched; +Inf: never.',
    labelNames: ['issuer'],
    registers,
    collect() {
      this.reset()
      for (const { issuer, ageSeconds } of keySets()) this.set({ issuer }, ageSeconds)
    },
  })
  collectDefaultMetrics({ register: registry })
}
