import { Hono } from 'hono'
import { answer } from './answer.ts'
import type { AuditTrail } from './audit/trail.ts'
import type { Authenticator } from './auth/authenticator.ts'
import type { ClientAddress } from './client-address.ts'
import type { AppEnv } from './context.ts'
import { addressLimit } from './controls/address-limit.ts'
import { audit } from './controls/audit.ts'
import { type AuthenticateOptions, authenticate, isKnownCaller } from './controls/authenticate.ts'
import { type AuthorizeOptions, authorize } from './controls/authorize.ts'
import { callLimit } from './controls/call-limit.ts'
import { cors, corsHeaders, type PreflightOptions } from './controls/cors.ts'
import { credentialWatch } from './controls/credential-watch.ts'
import { hostGuard } from './controls/host-guard.ts'
import { type AllowedOrigin, originGuard } from './controls/origin-guard.ts'
import { overload } from './controls/overload.ts'
import { parseMessage } from './controls/parse-message.ts'
import { principalCalls } from './controls/principal-calls.ts'
import { principalLimit } from './controls/principal-limit.ts'
import { type ProtocolGuardOptions, protocolGuard } from './controls/protocol-guard.ts'
import { requestId } from './controls/request-id.ts'
import { type Routes, rawPath, route } from './controls/route.ts'
import { securityHeaders } from './controls/security-headers.ts'
import { sessionGuard } from './controls/session-guard.ts' // optional: legacy-sessions
import { taskGuard } from './controls/task-guard.ts' // optional: tasks
import { wireGuard } from './controls/wire-guard.ts'
import type { Holds } from './holds.ts'
import type { Load } from './load.ts'
import type { Logger } from './log.ts'
import type { Handle } from './mcp/handler.ts'
import type { SessionHandlers } from './mcp/sessions/handlers.ts' // optional: legacy-sessions
import type { LimitsPolicy } from './policy.ts'
import type { SlotTables } from './slots.ts'
import type { Store } from './stores/store.ts'
import type { Telemetry } from './telemetry/telemetry.ts' // optional: telemetry

export interface AppParts {
  readonly trail: AuditTrail
  readonly logger: Logger
  readonly load: Load
  readonly store: Store
  readonly slotsOf: SlotTables
  readonly holds: Pick<Holds, 'add'>
  readonly limits: LimitsPolicy
  readonly tls: boolean
  readonly clientAddress: ClientAddress
  readonly allowedHosts: readonly string[]
  readonly allowedOrigin: AllowedOrigin
  readonly preflight: PreflightOptions
  readonly routes: Routes
  /** Public documents by path (RFC 9728). Nothing else is public. */
  readonly documents: ReadonlyMap<string, object>
  readonly credentials: Omit<AuthenticateOptions, 'store' | 'limits' | 'trail'> & {
    readonly authenticator: Pick<Authenticator, 'verify' | 'recall'>
  }
  readonly protocol: ProtocolGuardOptions
  readonly access: Omit<AuthorizeOptions, 'trail'>
  readonly telemetry: Telemetry['middleware'] // optional: telemetry
  readonly sessions: SessionHandlers // optional: legacy-sessions
  readonly handle: Handle
}

/** The way of a request, top to bottom. The order is part of the security contract. */
export function createApp(parts: AppParts): Hono<AppEnv> {
  const { trail, store, slotsOf, limits, credentials, access } = parts
  const headersForOrigin = corsHeaders(parts.allowedOrigin)
  const isKnown = isKnownCaller(credentials.authenticator, credentials.keyHeader)
  const app = new Hono<AppEnv>({
    getPath: (_request, options) => rawPath(options?.env?.incoming.url ?? ''),
  })
  app.onError(answer(parts.logger, headersForOrigin))

  app.use(requestId(parts.clientAddress))
  app.use(securityHeaders(parts))
  app.use(audit(trail))
  app.use(wireGuard(limits))
  app.use(overload(parts.load))
  app.use(addressLimit(store, limits, isKnown))
  app.use(hostGuard(parts.allowedHosts))
  app.use(originGuard(parts.allowedOrigin))
  app.use(cors(headersForOrigin, parts.preflight))
  app.use(route(parts.routes))
  for (const [path, document] of parts.documents) app.get(path, (c) => c.json(document))
  app.use(authenticate({ ...credentials, store, limits, trail }))
  app.use(credentialWatch(parts.holds))
  app.use(principalLimit(store, limits, slotsOf))
  app.use(sessionGuard({ ...access, ...parts.sessions.guard })) // optional: legacy-sessions
  app.on(['GET', 'DELETE'], '/mcp', parts.sessions.connect) // optional: legacy-sessions
  app.get('/sse', parts.sessions.open) // optional: legacy-sse
  app.use(parseMessage(limits))
  app.use(parts.sessions.answer) // optional: legacy-sessions
  app.use(principalCalls(limits, slotsOf))
  app.use(parts.telemetry) // optional: telemetry
  app.use(protocolGuard(parts.protocol))
  app.use(authorize({ ...access, trail }))
  app.use(taskGuard(access.catalog)) // optional: tasks
  app.use(callLimit(store, limits, access.rules, slotsOf))
  app.use(parts.sessions.serve) // optional: legacy-sessions
  app.post('/mcp', parts.handle)

  return app
}
