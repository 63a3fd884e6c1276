import { createHash } from 'node:crypto'
import product from '../package.json' with { type: 'json' }
import { compileRules } from './access/rules.ts'
import { allScopes } from './access/scopes.ts'
import type { AppParts } from './app.ts'
import type { AuditTrail } from './audit/trail.ts'
import { strategies } from './auth/index.ts'
import type { KeyRecord } from './auth/key-file.ts' // optional: api-key
import { challenge, metadataUrl, protectedResourceMetadata } from './auth/metadata.ts'
import { clientAddress } from './client-address.ts'
import { systemClock } from './clock.ts'
import type { Config } from './config.ts'
import type { Catalog } from './define.ts'
import { type Addresses, allowedHosts, allowedOrigin, anonymousIdentity } from './development.ts'
import type { Logger } from './log.ts'
import { type Calls, calls, type ReportFailure } from './mcp/calls.ts'
import { definitionsOf, paramHeaders } from './mcp/definitions.ts'
import { createMcp, type Mcp } from './mcp/handler.ts'
import { requestStates } from './mcp/request-state.ts'
import { createOutbound } from './outbound.ts'
import type { Policies } from './policy.ts'
import { Problems } from './problems.ts'
import type { SecretRing } from './secrets.ts'
import type { Store } from './stores/store.ts'

export interface AssembleOptions extends Addresses {
  readonly config: Config
  readonly policies: Policies
  readonly catalog: Catalog
  readonly ephemeralKey: KeyRecord | undefined // optional: api-key
  readonly ring: SecretRing
  readonly store: Store
  readonly trail: AuditTrail
  readonly logger: Logger
}

/** The parts of the app, and what the process needs to watch it and to end it. */
export interface Assembly {
  readonly parts: AppParts
  readonly calls: Calls
  readonly mcp: Mcp
  /** Whether anybody could be authenticated now. */
  canAuthenticate(): boolean
  /** SHA-256, hex, of names, descriptions, schemas and annotations of all tools, as callers see them. */
  readonly toolsDigest: string
  /** Ends what runs in the background. */
  close(): void
}

/**
 * Builds the parts of the app from settings and policies.
 *
 * @throws {Problems} for what neither can see alone: a tool without an entry, no way to authenticate.
 */
export function assemble(options: AssembleOptions): Assembly {
  const { config, policies, catalog, publicUrl, store, trail, logger } = options
  const { auth, http, limits } = policies
  const rules = compileRules(policies.access, auth.baseScope, catalog)
  const scopes = allScopes(policies)
  const anonymous = config.anonymous ? anonymousIdentity(scopes) : undefined
  const ways = strategies({
    ephemeralKey: options.ephemeralKey, // optional: api-key
    apiKeysFile: config.apiKeysFile,
    policy: auth,
    publicUrl,
    outbound: createOutbound({ mode: config.mode }),
    clock: systemClock,
    trail,
    logger,
  })
  if (ways.length === 0 && anonymous === undefined) throw new Problems([NO_WAY_IN])
  if (auth.issuers.length > 0 && anonymous !== undefined) throw new Problems([ANONYMOUS_BESIDE])

  const definitions = definitionsOf(catalog)
  const reportFailure: ReportFailure = ({ requestId, name }, error) =>
    logger.error('A tool, resource or prompt failed', { requestId, tool: name, error })
  const running = calls(trail, reportFailure)
  const mcp = createMcp({
    rules,
    definitions,
    store,
    calls: running,
    states: requestStates(options.ring, store),
    resultBytes: limits.result.bytes,
    reportFailure,
    protocol: http.protocol,
    streamSeconds: limits.timeouts.streamSeconds,
    product: { name: product.name, version: product.version },
    instructions: product.description,
  })
  const metadata = metadataUrl(publicUrl)
  const documents = new Map(
    [new URL(metadata).pathname, '/.well-known/oauth-protected-resource'].map((path) => [
      path,
      protectedResourceMetadata(publicUrl, auth.issuers, scopes),
    ]),
  )
  const parts: AppParts = {
    trail,
    logger,
    store,
    limits,
    tls: config.tls !== undefined,
    clientAddress: clientAddress(config.trustedProxies),
    allowedHosts: allowedHosts(config.mode, options, http.hosts),
    allowedOrigin: allowedOrigin(config, options, http.origins),
    preflight: {
      methods: ['POST'],
      extraHeaders: [...keyHeaders(auth.apiKeys.header), ...paramHeaders(definitions)],
    },
    routes: new Map([
      ['/mcp', ['POST']],
      ...[...documents.keys()].map((path): [string, string[]] => [path, ['GET']]),
    ]),
    documents,
    credentials: {
      strategies: ways,
      keyHeader: auth.apiKeys.header,
      challenges: new Map([
        ['authenticate.missing', challenge(metadata, [auth.baseScope])],
        ['authenticate.rejected', challenge(metadata, [auth.baseScope], 'invalid_token')],
      ]),
      anonymous,
    },
    access: {
      rules,
      catalog,
      baseScope: auth.baseScope,
      challenge: (needed) => challenge(metadata, needed, 'insufficient_scope'),
    },
    mcp,
  }
  return {
    parts,
    calls: running,
    mcp,
    canAuthenticate: () => anonymous !== undefined || ways.some((way) => way.available(Date.now())),
    toolsDigest: digestOf([...definitions.tools.values()].map(({ listed }) => listed)),
    close() {
      for (const way of ways) way.close()
    },
  }
}

const NO_WAY_IN = {
  field: 'MCP_API_KEYS_FILE',
  message:
    'nobody could authenticate: name a key file (with auth.yaml `apiKeys.enabled`), or an issuer in auth.yaml `issuers`',
}
const ANONYMOUS_BESIDE = {
  field: 'MCP_DANGEROUSLY_ALLOW_ANONYMOUS',
  message: 'must not stand beside issuers in auth.yaml',
}

function keyHeaders(header: string | null): readonly string[] {
  return header === null ? [] : [header]
}

function digestOf(value: unknown): string {
  return createHash('sha256').update(JSON.stringify(value)).digest('hex')
}
