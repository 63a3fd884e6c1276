import type { NameOf } from '../audit/names.ts'
import type { AuditTrail } from '../audit/trail.ts'
import type { Clock } from '../clock.ts'
import type { Identity } from '../context.ts'
import type { Logger } from '../log.ts'
import type { Outbound } from '../outbound.ts'
import type { AuthPolicy } from '../policy.ts'
import type { SecretRing } from '../secrets.ts'
import type { Store } from '../stores/store.ts'
import type { KeyRecord } from './key-file.ts' // optional: api-key
import type { KeySetPool } from './key-set-pool.ts' // optional: oauth

/** What strategies are made of. Each takes its part. */
export interface StrategyParts {
  readonly policy: AuthPolicy
  /** Canonical resource URI: the audience of tokens. */
  readonly publicUrl: string
  readonly apiKeysFile: string | undefined
  readonly ephemeralKey: KeyRecord | undefined // optional: api-key
  readonly outbound: Outbound
  /** Key sets outlive a reload. */
  readonly keySets: KeySetPool // optional: oauth
  readonly ring: SecretRing
  /** For replay caches. */
  readonly store: Store
  readonly clock: Clock
  readonly trail: AuditTrail
  readonly logger: Logger
  /** For log lines that are about a credential. */
  readonly nameOf: NameOf
}

/** A credential as it was sent: one token68 (RFC 9110 §11.2), at most 8 KiB. */
export interface Credential {
  /** `dpop` promises that whoever sends the token also holds the key it is bound to (RFC 9449 §7.1). */
  readonly scheme: 'bearer' | 'dpop'
  readonly token: string
  /** SHA-256 of the token, hex: what caches and records use in its place. */
  readonly digest: string
  /** Client address, for keys that are bound to networks. */
  readonly address: string
  /**
   * SHA-256 of the client certificate that TLS in this process has verified, base64url (RFC 8705
   * §3.1); `undefined` for none.
   */
  readonly certificate: string | undefined
}

/** A credential together with the request that it came with. */
export interface Presented extends Credential {
  readonly method: string
  /** Every `DPoP` header field of the request, as it was sent. */
  readonly proofs: readonly string[]
}

/** One way to prove who is calling. */
export interface AuthStrategy {
  /**
   * The caller, when this credential is a live key or was verified a moment ago. No I/O, no
   * cryptography but a digest: it is asked before the limits of an address are enforced. Never for a
   * token that is bound to a DPoP key, because that takes a proof.
   */
  recall(credential: Credential, nowMs: number): Identity | undefined
  /**
   * @returns the caller, or `undefined` when the credential is not of this kind.
   * @throws {Denied} `authenticate.rejected` (with a `CredentialFault` as cause) when it does not
   *   verify, `authenticate.dpop-nonce` when its proof needs a nonce of this server,
   *   `authenticate.keys-unavailable` or `authenticate.introspection-unavailable` when the way to the
   *   issuer is down. No other strategy is tried then: a bad credential must not become a second
   *   chance.
   */
  verify(presented: Presented, nowMs: number): Promise<Identity | undefined>
  /**
   * Verifies the credential of a stream that is open: all of `verify` but the proof of possession,
   * which belonged to the request that opened it.
   */
  recheck(credential: Credential, nowMs: number): Promise<Identity | undefined>
  /** Whether it could verify anybody now. For readiness. */
  available(nowMs: number): boolean
  /** Ends what it does in the background. */
  close(): void
}

/** Why a credential was rejected. For the audit trail; the caller gets one answer for all of them. */
export type Fault =
  | 'shape'
  | 'checksum'
  | 'unknown'
  | 'revoked'
  | 'expired'
  | 'not-yet-valid'
  | 'address'
  | 'issuer'
  | 'audience'
  | 'algorithm'
  | 'type'
  | 'signature'
  | 'lifetime'
  | 'claims'
  | 'sender-constrained'
  | 'certificate'
  | 'proof'
  | 'nonce'
  | 'replay'
  | 'inactive'
  | 'denied'

export class CredentialFault extends Error {
  readonly fault: Fault

  constructor(fault: Fault) {
    super(fault)
    this.name = 'CredentialFault'
    this.fault = fault
  }
}
