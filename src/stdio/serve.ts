// optional: stdio
import type { Readable } from 'node:stream'
import product from '../../package.json' with { type: 'json' }
import { compileRules } from '../access/rules.ts'
import type { AuditTrail } from '../audit/trail.ts'
import type { Clock } from '../clock.ts'
import type { Identity } from '../context.ts'
import { authorizer } from '../controls/authorize.ts'
import { callLimiter } from '../controls/call-limit.ts'
import { callSlots } from '../controls/principal-calls.ts'
import { requestCounter } from '../controls/principal-limit.ts'
import { withoutTasks } from '../controls/task-guard.ts' // optional: tasks
import type { Catalog } from '../define.ts'
import { toolFetch } from '../egress.ts'
import { egressRules } from '../egress-rules.ts'
import type { Holds } from '../holds.ts'
import { failureLog } from '../lasting.ts'
import type { Logger } from '../log.ts'
import { type Calls, calls } from '../mcp/calls.ts'
import type { Changes } from '../mcp/changes.ts'
import { definitionsOf } from '../mcp/definitions.ts'
import { toolsDigest } from '../mcp/manifest.ts'
import { requestStates } from '../mcp/request-state.ts'
import { resourceChanges } from '../mcp/resource-changes.ts'
import { connectStdio } from '../mcp/stdio.ts'
import type { Outbound } from '../outbound.ts'
import type { Policies } from '../policy.ts'
import type { SecretRing } from '../secrets.ts'
import { slotTables } from '../slots.ts'
import { insured } from '../stores/insurance.ts'
import { memoryStore } from '../stores/memory.ts'
import type { Store } from '../stores/store.ts'
import type { Caller } from './caller.ts'
import { boundedLines } from './lines.ts'
import { messages } from './messages.ts'
import type { Output } from './output.ts'

export interface StdioParts {
  readonly catalog: Catalog
  readonly policies: Policies
  readonly ring: SecretRing
  readonly store: Store
  readonly trail: AuditTrail
  readonly outbound: Outbound
  readonly logger: Logger
  readonly clock: Clock
  readonly holds: Holds
  readonly changes: Changes
  readonly caller: Caller
  /** Who that is, as just verified. */
  readonly identity: Identity
  /** The credential does not hold any more. */
  readonly lost: () => void
}

export interface StdioServer {
  readonly calls: Calls
  /** SHA-256, hex, of all tools as callers see them. */
  readonly toolsDigest: string
  /** Serves what comes in. Resolves when the input has ended. */
  serve(input: Readable): Promise<void>
  /** Refuses what comes from now on. Resolves when all calls are answered. */
  drain(): Promise<void>
  /** Ends the connection: subscriptions with their results, what still runs without an answer. */
  close(): Promise<void>
}

/**
 * Everything between the two ends of the connection.
 *
 * @throws {Problems} when catalog and access policy do not fit
 */
export function stdioServer(parts: StdioParts, output: Output): StdioServer {
  const { catalog, policies, ring, trail, outbound, logger, changes, identity } = parts
  const { auth, access, limits, http } = policies
  const rules = compileRules(access, auth.baseScope, catalog)
  const store =
    limits.onStoreFailure === 'insurance' ? insured(parts.store, memoryStore()) : parts.store
  const slotsOf = slotTables()
  const definitions = definitionsOf(catalog)
  const reportFailure = failureLog(logger)
  const running = calls(trail, reportFailure)
  let authorize = authorizer({
    rules,
    catalog,
    baseScope: auth.baseScope,
    trail,
    challenge: () => '', // There are no headers to put it in.
    isConnection: true,
  })
  authorize = withoutTasks(authorize, catalog) // optional: tasks
  const accepted = messages({
    ...parts,
    ...output,
    limits,
    policies: {
      rules,
      resultBytes: limits.result.bytes,
      egress: egressRules(policies.egress, catalog),
      streamSeconds: limits.timeouts.streamSeconds,
      tasks: limits.tasks, // optional: tasks
    },
    countRequest: requestCounter(store, limits),
    takeSlot: callSlots(limits, slotsOf),
    authorize,
    limitCall: callLimiter(store, limits, rules, slotsOf),
  })
  const connection = connectStdio({
    ...output,
    ...accepted,
    definitions,
    store: parts.store,
    calls: running,
    states: requestStates(ring, parts.store),
    reportFailure,
    fetchOf: toolFetch({ outbound, trail }),
    failed: (error) => logger.error('A request failed', { error }),
    changes,
    changesOf: resourceChanges(changes, catalog.resources),
    product: { name: product.name, version: product.version },
    instructions: product.description,
    legacy: http.protocol.legacy,
    subscribe: (deliver) =>
      changes.heardBy({ principal: identity.principal, end() {} }, () =>
        changes.bus.subscribe(deliver),
      ),
  })

  return {
    calls: running,
    toolsDigest: toolsDigest(definitions),
    async serve(input) {
      for await (const line of boundedLines(input, limits.body.bytes)) {
        await accepted.take(line, connection)
        // What is not read keeps its place in the pipe of the host, and not in memory here.
        await output.room()
      }
    },
    drain: accepted.drain,
    close: connection.close,
  }
}
