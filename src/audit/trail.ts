import type { Era, Principal } from '../context.ts'
import type { DenyReason, RefusalName } from '../errors.ts'
import type { EgressFault } from '../fetch.ts'
import type { Coverage } from './chain.ts'

/** Facts of one request that every record about it carries. */
export interface RequestFacts {
  readonly requestId: string
  /** Client address. */
  readonly address: string
  readonly principal: Principal | undefined
  /** Public name of the credential: id of the API key, `jti` of the token. */
  readonly credentialId: string | undefined
  /** The span of this server, while an OpenTelemetry SDK is loaded; else that of the caller, its word. */
  readonly trace: { readonly traceId: string; readonly spanId: string } | undefined
  /** The record stands for as many like it, refused in that time; see `sampling.ts`. */
  readonly repeated?: { readonly count: number; readonly forMs: number }
}

/** The operation that a decision and its outcome are about. */
export interface OperationFacts {
  /**
   * JSON-RPC method: `tools/call`, `prompts/get`, `completion/complete`, `resources/read`,
   * `resources/subscribe`, `resources/unsubscribe`; `subscriptions/listen`, whose decisions, one for
   * each resource, have no outcome: the stream ends with its `request` record.
   */
  readonly method: string
  /** Name of the tool or prompt; template of the resource. Always a configured name. */
  readonly name: string
  readonly rpcId: string | number | undefined
  readonly era: Era
  readonly argsHmac: string
  /** Size of the arguments as canonical JSON, bytes. */
  readonly argsBytes: number
}

/** Everything the trail can say. Closed: no free text, so nothing leaks by accident. */
export type AuditEvent =
  | (RequestFacts & {
      readonly event: 'request'
      readonly httpMethod: string
      /** Path without query. */
      readonly path: string
      /** JSON-RPC method, when the message was parsed. */
      readonly method: string | undefined
      readonly status: number
      readonly reason: RefusalName | undefined
      /** From arrival to the end of the answer, ms. */
      readonly durationMs: number
    })
  | (RequestFacts &
      OperationFacts & {
        readonly event: 'decision'
        readonly allowed: boolean
        readonly reason: DenyReason | undefined
      })
  | (RequestFacts &
      OperationFacts & {
        readonly event: 'outcome'
        readonly outcome:
          | 'ok'
          | 'failed'
          | 'cancelled'
          | 'timed-out'
          | 'shut-down'
          | 'revoked'
          | 'asked'
          | 'not-run'
        readonly durationMs: number
        /** SHA-256 of the result as sent, hex. */
        readonly resultSha256: string | undefined
        readonly progressCount: number
      })
  | (RequestFacts &
      OperationFacts & {
        /** A request that a tool has sent, or was not allowed to send. */
        readonly event: 'egress'
        readonly outcome: 'ok' | EgressFault
        /** As policy lists it; `undefined` when it lists none for this request. */
        readonly origin: string | undefined
        /** `undefined` when the request was not one that may be sent. */
        readonly httpMethod: string | undefined
        /** HTTP status of the answer. */
        readonly status: number | undefined
        readonly sentBytes: number
        readonly receivedBytes: number
        readonly durationMs: number
      })
  | (RequestFacts & {
      readonly event: 'authn.fail'
      readonly reason: DenyReason
      /** Why: a `Fault` of `auth/strategy.ts`, or `unavailable` when nobody could tell. */
      readonly cause: string
    })
  | (RequestFacts & {
      readonly event: 'throttle'
      readonly reason: RefusalName
      readonly policy: string
    })
  | {
      readonly event: 'server.start'
      /** SHA-256 digests, hex, of the settings (names and values, secrets left out), policies, tools. */
      readonly settingsDigest: string
      readonly policyDigest: string
      readonly toolsDigest: string
      readonly nodeVersion: string
    }
  | { readonly event: 'server.stop'; readonly cause: 'signal' | 'crash' }
  | { readonly event: 'fault'; readonly cause: 'unhandled-rejection' | 'uncaught-exception' }
  | (Coverage & {
      readonly event: 'audit.checkpoint'
      /** Id of the key that signs it; `undefined` when nothing does. */
      readonly signer: string | undefined
    })
  | { readonly event: 'jwks.change'; readonly issuer: string; readonly keyIds: readonly string[] }
  | Reload

/** The audit trail as the rest of the server sees it. */
export interface AuditTrail {
  /** Queues a record in order. Never throws and never blocks. */
  write(event: AuditEvent): void
  /**
   * Queues a record and waits until it is in the sink.
   *
   * @param otherwise follows a record that was queued and then refused: it will be written some time,
   *   and somebody has to read what came of it
   * @throws {Denied} `audit.sink-broken` when it cannot be written and policy says `refuse`.
   */
  commit(event: AuditEvent, otherwise?: AuditEvent): Promise<void>
  /** Keyed digest of a JSON value: HMAC-SHA256 over its canonical form (RFC 8785), hex. */
  digest(value: unknown): { readonly hmac: string; readonly bytes: number }
  /** `false` while the sink is broken and policy says `refuse`. */
  ready(): boolean
  /** Flushes what is queued, then closes the sink. */
  close(): Promise<void>
}

/** What was read again while the server ran. */
export interface Reload {
  /** `policy.reload`: everything, on SIGHUP. `keys.reload`: files of credentials that have changed. */
  readonly event: 'policy.reload' | 'keys.reload'
  readonly outcome: 'applied' | 'refused'
  /** SHA-256 digests, hex, of policies and of the files of keys, denials and certificates. */
  readonly from: ReloadDigests
  /** What was read; `undefined` when it could not be read. Refused: nothing of it is in force. */
  readonly to: ReloadDigests | undefined
}

export interface ReloadDigests {
  readonly policies: string
  readonly files: string
}
