import type { AuditTrail } from '../audit/trail.ts'
import type { Clock } from '../clock.ts'
import type { Identity } from '../context.ts'
import type { Logger } from '../log.ts'
import type { Outbound } from '../outbound.ts'
import type { AuthPolicy } from '../policy.ts'
import type { KeyRecord } from './key-file.ts' // optional: api-key

/** What strategies are made of. Each takes its part. */
export interface StrategyParts {
  readonly policy: AuthPolicy
  /** Canonical resource URI: the audience of tokens. */
  readonly publicUrl: string
  readonly apiKeysFile: string | undefined
  readonly ephemeralKey: KeyRecord | undefined // optional: api-key
  readonly outbound: Outbound
  readonly clock: Clock
  readonly trail: AuditTrail
  readonly logger: Logger
}

/** A credential as it was sent: one token68 (RFC 9110 §11.2), at most 8 KiB. */
export interface Credential {
  readonly token: string
  /** SHA-256 of the token, hex: what caches and records use in its place. */
  readonly digest: string
  /** Client address, for keys that are bound to networks. */
  readonly address: string
}

/** One way to prove who is calling. */
export interface AuthStrategy {
  /**
   * Whether this credential is a live key or was verified a moment ago. No I/O, no cryptography but
   * a digest: it is asked before the limits of an address are enforced.
   */
  knows(credential: Credential, nowMs: number): boolean
  /**
   * @returns the caller, or `undefined` when the credential is not of this kind.
   * @throws {Denied} `authenticate.rejected` (with a `CredentialFault` as cause) when it does not
   *   verify, `authenticate.keys-unavailable` when the way to the issuer is down. No other strategy
   *   is tried then: a bad credential must not become a second chance.
   */
  verify(credential: Credential, nowMs: number): Promise<Identity | undefined>
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

export class CredentialFault extends Error {
  readonly fault: Fault

  constructor(fault: Fault) {
    super(fault)
    this.name = 'CredentialFault'
    this.fault = fault
  }
}
