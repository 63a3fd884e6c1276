import { compileRules } from './access/rules.ts'
import { allScopes } from './access/scopes.ts'
import type { AppParts } from './app.ts'
import { namesUnder } from './audit/names.ts'
import { type Authenticator, authenticator } from './auth/authenticator.ts'
import { dpopMetadata, offerDpop, scopeChallenge } from './auth/dpop-metadata.ts' // optional: dpop
import { dpopNonces } from './auth/dpop-nonce.ts' // optional: dpop
import { strategies } from './auth/index.ts'
import { challenge, metadataUrl, protectedResourceMetadata } from './auth/metadata.ts'
import { clientAddress } from './client-address.ts'
import type { Route } from './controls/route.ts'
import { denyList } from './deny-list.ts'
import { allowedHosts, allowedOrigin, anonymousIdentity } from './development.ts'
import { egressRules } from './egress-rules.ts'
import type { DenyReason } from './errors.ts'
import type { LastingParts } from './lasting.ts'
import { parametersInHeaders, paramHeaders } from './mcp/definitions.ts'
import { eraReader } from './mcp/era.ts'
import { toolsDigest } from './mcp/manifest.ts'
import { SSE_ROUTES } from './mcp/sessions/sse-routes.ts' // optional: legacy-sse
import type { Policies } from './policy.ts'
import { Problems } from './problems.ts'
import { insured } from './stores/insurance.ts'
import { streamSlots } from './stream-slots.ts' // optional: legacy-sessions

/** The parts of the app under one set of policies, and what the process needs to watch them. */
export interface Assembly {
  readonly policies: Policies
  readonly parts: AppParts
  readonly authenticator: Authenticator
  /** Whether anybody could be authenticated now. */
  canAuthenticate(): boolean
  /** SHA-256, hex, of names, descriptions, schemas and annotations of all tools, as callers see them. */
  readonly toolsDigest: string
  /** Ends what runs in the background for these policies alone. */
  close(): void
}

/**
 * Builds the parts of the app from settings and policies, over parts that outlive it.
 *
 * @throws {Problems} for what neither can see alone: a tool without an entry, no way to authenticate.
 */
export function assemble(lasting: LastingParts, policies: Policies): Assembly {
  const { config, catalog, publicUrl, store, trail, logger, definitions, mcp } = lasting
  const { auth, http, limits } = policies
  const rules = compileRules(policies.access, auth.baseScope, catalog)
  const scopes = allScopes(policies)
  const anonymous = config.anonymous ? anonymousIdentity(scopes) : undefined
  if (auth.issuers.length > 0 && anonymous !== undefined) throw new Problems([ANONYMOUS_BESIDE])
  if (needsClientCertificates(auth) && config.tls?.clientCaFile === undefined) {
    throw new Problems([NO_CLIENT_CA])
  }
  const denied = denyList(config.denyListFile, store.shared)
  const ways = strategies({
    ...lasting,
    apiKeysFile: config.apiKeysFile,
    policy: auth,
    nameOf: namesUnder(policies.audit, lasting.ring),
  })
  if (ways.length === 0 && anonymous === undefined) throw new Problems([NO_WAY_IN])
  const proven = authenticator(ways, denied.denies)

  const metadata = metadataUrl(publicUrl)
  const document = {
    ...protectedResourceMetadata(publicUrl, auth.issuers, scopes),
    ...dpopMetadata(auth), // optional: dpop
  }
  const documents = new Map([
    [new URL(metadata).pathname, document],
    ['/.well-known/oauth-protected-resource', document],
  ])
  const challenges = new Map<DenyReason, string>([
    ['authenticate.missing', challenge(metadata, [auth.baseScope])],
    ['authenticate.rejected', challenge(metadata, [auth.baseScope], 'invalid_token')],
  ])
  offerDpop(challenges, metadata, auth) // optional: dpop
  const served = {
    rules,
    resultBytes: limits.result.bytes,
    egress: egressRules(policies.egress, catalog),
    streamSeconds: limits.timeouts.streamSeconds,
    tasks: limits.tasks, // optional: tasks
  }
  const sessions = mcp.sessions.under(served, streamSlots(limits, lasting.slotsOf)) // optional: legacy-sessions
  let missingScope: AppParts['access']['challenge'] = (needed) =>
    challenge(metadata, needed, 'insufficient_scope')
  missingScope = scopeChallenge(missingScope, metadata) // optional: dpop
  const parts: AppParts = {
    trail,
    logger,
    load: lasting.load,
    store: limits.onStoreFailure === 'insurance' ? insured(store, lasting.reserve) : store,
    slotsOf: lasting.slotsOf,
    holds: lasting.holds,
    limits,
    tls: config.tls !== undefined,
    clientAddress: clientAddress(config.trustedProxies),
    allowedHosts: allowedHosts(config.mode, lasting, http.hosts),
    allowedOrigin: allowedOrigin(config, lasting, http.origins),
    preflight: {
      methods: [
        'POST',
        ...(hasSessions(http) ? ['GET', 'DELETE'] : []), // optional: legacy-sessions
        ...(http.protocol.httpSse ? ['GET'] : []), // optional: legacy-sse
      ],
      extraHeaders: [...keyHeaders(auth.apiKeys.header), ...paramHeaders(definitions)],
    },
    routes: new Map<string, Route>([
      ['/mcp', { methods: ['POST'] }],
      ...(hasSessions(http) ? [MCP_WITH_SESSIONS] : []), // optional: legacy-sessions
      ...(http.protocol.httpSse ? SSE_ROUTES : []), // optional: legacy-sse
      ...[...documents.keys()].map((path): [string, Route] => [path, { methods: ['GET'] }]),
    ]),
    documents,
    credentials: {
      authenticator: proven,
      keyHeader: auth.apiKeys.header,
      challenges,
      newestNonce: dpopNonces(lasting.ring).newest, // optional: dpop
      anonymous,
    },
    access: {
      rules,
      catalog,
      baseScope: auth.baseScope,
      challenge: missingScope,
    },
    protocol: {
      eraOf: eraReader(http.protocol.legacy),
      parameters: parametersInHeaders(definitions),
    },
    telemetry: lasting.telemetry.middleware, // optional: telemetry
    sessions, // optional: legacy-sessions
    handle: mcp.under(served),
  }
  return {
    policies,
    parts,
    authenticator: proven,
    canAuthenticate: () => anonymous !== undefined || ways.some((way) => way.available(Date.now())),
    toolsDigest: toolsDigest(definitions),
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

const MCP_WITH_SESSIONS: [string, Route] = ['/mcp', { methods: ['GET', 'POST', 'DELETE'] }] // optional: legacy-sessions
const hasSessions = ({ protocol }: Policies['http']): boolean => protocol.legacy === 'sessions' // optional: legacy-sessions

const NO_CLIENT_CA = {
  field: 'MCP_TLS_CLIENT_CA_FILE',
  message:
    'is needed by `senderConstraint: mtls` in auth.yaml: TLS in this process must have verified the client certificate',
}

function needsClientCertificates({ issuers }: Policies['auth']): boolean {
  return issuers.some(({ senderConstraint }) => senderConstraint === 'mtls')
}

function keyHeaders(header: string | null): readonly string[] {
  return header === null ? [] : [header]
}
