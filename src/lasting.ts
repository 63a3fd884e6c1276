import product from '../package.json' with { type: 'json' }
import type { AuditTrail } from './audit/trail.ts'
import { watchedKeySets } from './auth/configured-issuers.ts' // optional: oauth
import type { KeyRecord } from './auth/key-file.ts' // optional: api-key
import type { KeySetPool } from './auth/key-set-pool.ts' // optional: oauth
import { type Clock, systemClock } from './clock.ts'
import type { Config } from './config.ts'
import type { Catalog } from './define.ts'
import type { Addresses } from './development.ts'
import { toolFetch } from './egress.ts'
import { credentialHolds, type Holds } from './holds.ts'
import type { Load } from './load.ts'
import { callFields, type Logger } from './log.ts'
import { type Calls, calls } from './mcp/calls.ts'
import { type Changes, changes } from './mcp/changes.ts'
import type { ReportFailure } from './mcp/code-faults.ts'
import { type Definitions, definitionsOf } from './mcp/definitions.ts'
import { createMcp, type Mcp } from './mcp/handler.ts'
import { requestStates } from './mcp/request-state.ts'
import { resourceChanges } from './mcp/resource-changes.ts'
import { createTasks } from './mcp/tasks/tasks.ts' // optional: tasks
import { createOutbound, type Outbound } from './outbound.ts'
import type { Policies } from './policy.ts'
import type { SecretRing } from './secrets.ts'
import { type SlotTables, slotTables } from './slots.ts'
import { memoryStore } from './stores/memory.ts'
import type { Store } from './stores/store.ts'
import type { Telemetry } from './telemetry/telemetry.ts' // optional: telemetry

export interface LastingOptions extends Addresses {
  readonly config: Config
  readonly catalog: Catalog
  readonly ephemeralKey: KeyRecord | undefined // optional: api-key
  readonly ring: SecretRing
  readonly store: Store
  readonly trail: AuditTrail
  readonly telemetry: Pick<Telemetry, 'middleware'> // optional: telemetry
  readonly logger: Logger
  /** Without it there is always enough of everything: where nobody is served, and in tests. */
  readonly load?: Load
  /** Monotonic. That of the system unless a test turns its own. */
  readonly clock?: Clock
}

/** What stays while policies, keys and denials are read again: everything that is in use or counted. */
export interface LastingParts extends LastingOptions {
  readonly clock: Clock
  readonly load: Load
  readonly outbound: Outbound
  readonly keySets: KeySetPool // optional: oauth
  readonly slotsOf: SlotTables
  /** Counts while the store is away, where policy says so. */
  readonly reserve: Store
  readonly holds: Holds
  readonly definitions: Definitions
  readonly calls: Calls
  readonly changes: Changes
  readonly mcp: Mcp
}

/** @param http of which `protocol` and `sessions` can only be changed by a restart */
export function lastingParts(options: LastingOptions, http: Policies['http']): LastingParts {
  const {
    config,
    catalog,
    ring,
    store,
    trail,
    logger,
    clock = systemClock,
    load = ENOUGH,
  } = options
  const outbound = createOutbound({ mode: config.mode })
  const reportFailure = failureLog(logger)
  const definitions = definitionsOf(catalog)
  const running = calls(trail, reportFailure)
  const changed = changes(store.shared?.events)
  const slotsOf = slotTables()
  const holds = credentialHolds(clock)
  return {
    ...options,
    clock,
    load,
    outbound,
    keySets: watchedKeySets({ outbound, clock, trail, logger }), // optional: oauth
    slotsOf,
    reserve: memoryStore(),
    holds,
    definitions,
    calls: running,
    changes: changed,
    mcp: createMcp({
      definitions,
      store,
      calls: running,
      states: requestStates(ring, store),
      reportFailure,
      fetchOf: toolFetch({ outbound, trail }),
      legacy: http.protocol.legacy,
      sessions: { http, slotsOf, holds, clock }, // optional: legacy-sessions
      tasks: createTasks({ store, clock, logger }), // optional: tasks
      changes: changed,
      changesOf: resourceChanges(changed, catalog.resources),
      product: { name: product.name, version: product.version },
      instructions: product.description,
    }),
  }
}

/** Tells the author of a tool, resource or prompt what went wrong. */
export function failureLog(logger: Logger): ReportFailure {
  return (call, fault, error) => {
    const fields = { ...callFields(call), reason: fault, error }
    logger.error('A tool, resource or prompt failed', fields)
  }
}

const ENOUGH: Load = { shortage: () => undefined }
