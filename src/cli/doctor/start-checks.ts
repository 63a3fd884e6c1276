import { accessSync, constants, existsSync } from 'node:fs'
import { dirname } from 'node:path'
import { compileRules, type Rules } from '../../access/rules.ts'
import { allScopes } from '../../access/scopes.ts' // optional: api-key
import { assemble } from '../../assemble.ts'
import { createAuditTrail } from '../../audit/audit-trail.ts'
import { loadSigner } from '../../audit/checkpoint.ts'
import type { Sink } from '../../audit/sink.ts'
import { ephemeralKey } from '../../auth/ephemeral-key.ts' // optional: api-key
import { type Config, readConfig } from '../../config.ts'
import type { Catalog } from '../../define.ts'
import { lastingParts } from '../../lasting.ts'
import { createLogger } from '../../log.ts'
import { loadPolicies, type Policies } from '../../policy.ts'
import { type Problem, Problems } from '../../problems.ts'
import { publicServer } from '../../public-server.ts'
import { secretRing } from '../../secrets.ts'
import { memoryStore } from '../../stores/memory.ts'
import { createTelemetry } from '../../telemetry/telemetry.ts' // optional: telemetry
import { boundUrl } from '../../urls.ts'

/** Settings and policies that a server would start with. */
export interface Startable {
  readonly config: Config
  readonly policies: Policies
  readonly rules: Rules
}

/**
 * Checks what a start checks, by the same functions, without listening, writing or asking anybody.
 *
 * @throws {Problems} with everything that would stop the start
 */
export function startChecks(catalog: Catalog, policyDir: string): Startable {
  const problems: Problem[] = []
  function checked<Value>(check: () => Value): Value | undefined {
    try {
      return check()
    } catch (error) {
      if (!(error instanceof Problems)) throw error
      problems.push(...error.problems)
      return undefined
    }
  }
  const config = checked(readConfig)
  const mode = config?.mode ?? 'production'
  const policies = checked(() => loadPolicies(config?.policyDir ?? policyDir, mode))
  const rules =
    policies && checked(() => compileRules(policies.access, policies.auth.baseScope, catalog))
  if (config !== undefined) {
    checked(() => auditTarget(config.auditFile))
    const signingKey = config.auditSigningKeyFile
    if (signingKey !== undefined) checked(() => loadSigner(signingKey))
    if (policies !== undefined) checked(() => publicServer(policies.limits, config.tls))
  }
  if (config && policies && rules && problems.length === 0) {
    checked(() => build(config, policies, catalog))
  }
  if (!config || !policies || !rules || problems.length > 0) throw new Problems(problems)
  return { config, policies, rules }
}

/** Opening it, as the start does, would make it. */
function auditTarget(path: string | undefined): void {
  if (path === undefined) return
  try {
    accessSync(existsSync(path) ? path : dirname(path), constants.W_OK)
  } catch {
    throw new Problems([{ field: 'MCP_AUDIT_FILE', message: 'cannot be written' }])
  }
}

/** Puts the app together as a start does: ways to authenticate, key files, deny list. */
function build(config: Config, policies: Policies, catalog: Catalog): void {
  const bound = boundUrl(config.host, config.port, config.tls !== undefined)
  const ring = secretRing(config.secrets)
  const trail = createAuditTrail({
    ring,
    policy: policies.audit,
    sink: NOWHERE,
    product: { name: 'doctor', version: '0' },
  })
  const keyed = config.mode === 'development' && !config.anonymous // optional: api-key
  const lasting = lastingParts(
    {
      config,
      catalog,
      publicUrl: config.publicUrl ?? `${bound}/mcp`,
      bound,
      ephemeralKey: keyed ? ephemeralKey(allScopes(policies)).record : undefined, // optional: api-key
      ring,
      store: memoryStore(),
      trail,
      telemetry: createTelemetry({ trustCallers: false }), // optional: telemetry
      logger: createLogger('silent'),
    },
    policies.http,
  )
  try {
    assemble(lasting, policies).close()
  } finally {
    lasting.holds.close()
  }
}

/** No check is an event. */
const NOWHERE: Sink = {
  hasRoom: () => true,
  append: () => Promise.resolve(true),
  broken: () => false,
  close: () => Promise.resolve(),
}
