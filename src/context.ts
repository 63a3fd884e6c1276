import type { HttpBindings } from '@hono/node-server'
import type { Rule } from './access/rules.ts'
import type { OperationFacts, RequestFacts } from './audit/trail.ts'
import type { Credential } from './auth/strategy.ts'
import type { Reply } from './envelope.ts' // optional: legacy-sessions
import type { RefusalName } from './errors.ts'
import type { Hold } from './holds.ts'
import type { Session } from './mcp/sessions/session.ts' // optional: legacy-sessions
import type { RawHeaders } from './raw-headers.ts'

/**
 * Who is calling. Streams, sessions, tasks and request states belong to (kind, issuer, client,
 * subject); stored objects to (kind, issuer, subject).
 */
export interface Principal {
  readonly kind: 'oauth' | 'api-key' | 'anonymous' | 'local'
  /** `iss` of the token; `gatehouse` for API keys. */
  readonly issuer: string
  /** `client_id` or `azp` of the token; empty for API keys. */
  readonly client: string
  readonly subject: string
  readonly scopes: readonly string[]
  readonly roles: readonly string[]
  readonly tenant: string | null
}

/** A principal together with what is known of the credential that proved it. */
export interface Identity {
  readonly principal: Principal
  /** SHA-256 of the credential, hex. The credential itself is never kept. */
  readonly credentialDigest: string
  /** Public name of the credential: id of the API key, `jti` of the token; `null` when it has none. */
  readonly credentialId: string | null
  /** When the credential ends, seconds since the epoch; `null` when it does not. */
  readonly expiresAt: number | null
  /** Verified claims of the token, for conditions; empty for API keys. */
  readonly claims: Readonly<Record<string, unknown>>
}

/** One parsed JSON-RPC message, frozen at the top level. `id` is absent in a notification. */
export interface Message {
  readonly jsonrpc: '2.0'
  readonly id?: string | number
  readonly method: string
  readonly params?: Readonly<Record<string, unknown>>
}

/** The protocol era a request is served in: `modern` is MCP 2026-07-28, `legacy` any 2025 revision. */
export type Era = 'legacy' | 'modern'

/** Input parsed by its schema: the frozen value, or what is wrong with it. */
export type Parsed =
  | { readonly value: Readonly<Record<string, unknown>>; readonly issues?: undefined }
  | {
      readonly value?: undefined
      readonly issues: readonly {
        readonly code: string
        readonly path: readonly PropertyKey[]
        readonly message: string
      }[]
    }

/** What `authorize` decided on and the handler runs: the checked object is the object that runs. */
export interface Operation {
  readonly rule: Rule
  /** Nothing runs when it did not parse. */
  readonly parsed: Parsed
  /** What every record about this operation says. */
  readonly facts: RequestFacts & OperationFacts
  /** Set once the handler owns the outcome record. */
  started: boolean
}

/** What one control leaves for the next. Read one with `c.get`: `c.var` copies all of them. */
export interface AppVariables {
  requestId: string
  /** `performance.now()` when the request arrived, ms. */
  startedAt: number
  /** Address of the client: the TCP peer, or what a trusted proxy says. */
  address: string
  headers: RawHeaders
  /** SHA-256 of the client certificate that TLS in this process has verified, base64url. */
  clientCertificate: string | undefined
  /** Path of the request target, raw: no decoding, no normalisation, no query. */
  path: string
  /** Whether the client takes its answer more slowly than it is written. */
  isBehind: () => boolean
  /** Holds the slots of this request until work has ended that may outlive its answer. */
  outlives?: (work: Promise<void>) => void
  /** The refusal, if there was one; read by the access record. */
  denied: RefusalName | undefined
  identity: Identity
  /** `undefined` for an anonymous caller. Its token is in memory while the answer is open. */
  credential: Credential | undefined
  /** Tells when the credential of this request no longer holds. */
  hold: Hold
  /** Gives the slot of this request or call (`principal.concurrentCalls`) back before its answer ends. */
  release: () => void
  /** The session that a request belongs to, and whose owner sent it. */ // optional: legacy-sessions
  session?: Session // optional: legacy-sessions
  /** In place of a message: what the client answers to a question of this server. */ // optional: legacy-sessions
  reply?: Reply // optional: legacy-sessions
  message: Message
  era: Era
  operation: Operation | undefined
  /** The span that the server has for this request, while an OpenTelemetry SDK is loaded. */ // optional: telemetry
  trace: RequestFacts['trace'] // optional: telemetry
}

export interface AppEnv {
  Bindings: HttpBindings & {
    /** Whether the listener has refused this request meanwhile, with an answer and a record of its own. */
    readonly isRefused?: () => boolean
  }
  Variables: AppVariables
}
