import { createHmac, createSecretKey, randomBytes } from 'node:crypto'
import canonicalize from 'canonicalize'
import { type Clock, systemClock } from '../clock.ts'
import { Denied } from '../errors.ts'
import type { AuditPolicy } from '../policy.ts'
import type { SecretRing } from '../secrets.ts'
import { type AuditRecord, createChain } from './chain.ts'
import type { CheckpointSigner } from './checkpoint.ts'
import { namesUnder } from './names.ts'
import { toOcsf } from './ocsf.ts'
import type { Lane, Sink } from './sink.ts'
import type { AuditEvent, AuditTrail } from './trail.ts'

export interface AuditTrailParts {
  /** The newest root signs; the ids in the records tell which. */
  readonly ring: SecretRing
  readonly policy: AuditPolicy
  readonly sink: Sink
  /** Signs the checkpoints. Without it they carry the digest alone. */
  readonly signer?: CheckpointSigner | undefined
  readonly product: { readonly name: string; readonly version: string }
  readonly clock?: Clock
}

/** When a refused caller may try again, seconds. */
const RETRY_AFTER_SECONDS = 5

/** What callers can cause without having passed a control: a flood of these costs only these. */
const BULK: ReadonlySet<AuditEvent['event']> = new Set(['request', 'authn.fail', 'throttle'])

/**
 * Threat:  Actions that nobody can account for. An attacker edits or deletes records, floods the
 *          trail, forges entries through text, or breaks the sink before acting.
 * Rule:    records are OCSF, chained by MACs (`chain.ts`), cleaned (`clean-text.ts`) and written in
 *          order (`sink.ts`). What is committed is in the sink before the caller goes on. A queue that
 *          is full loses records of its own lane only, and the next record says how many. After so
 *          many records or seconds, and at the end, a checkpoint (`checkpoint.ts`) follows.
 * Policy:  policies/audit.yaml `principal`, `onSinkFailure`, `checkpoint`
 * Refuses: 503 `audit.sink-broken`
 * Source:  OWASP ASVS 5.0 V16.2 to V16.5; NIST SP 800-92
 */
export function createAuditTrail(parts: AuditTrailParts): AuditTrail & {
  /** Records lost to full queues since the start. */
  dropped(): number
  /** Those of them that no record has counted yet. */
  unreported(): number
} {
  const { ring, policy, sink, signer, product, clock = systemClock } = parts
  const [macKey] = ring('audit-mac')
  const argsKey = createSecretKey(ring('args')[0].key)
  const nameOf = namesUnder(policy, ring)
  const refuses = policy.onSinkFailure === 'refuse'
  const chain = createChain({
    key: macKey,
    writer: randomBytes(8).toString('hex'),
    predecessor: sink.predecessor,
  })
  let policyDigest: string | undefined
  let dropped = 0
  let reported = 0
  let calledOff: (() => void) | undefined

  function recordOf(event: AuditEvent): AuditRecord {
    return toOcsf(event, {
      product,
      time: Date.now(),
      policyDigest,
      dropped: dropped - reported,
      nameOf,
    })
  }

  /** @returns whether it was written; `undefined` when the lane is full. */
  function append(lane: Lane, event: AuditEvent, urgent: boolean): Promise<boolean> | undefined {
    if (event.event === 'server.start') policyDigest = event.policyDigest
    if (event.event === 'policy.reload' && event.outcome === 'applied') {
      policyDigest = event.to?.policies // In force, also when no record can say so.
    }
    if (!sink.hasRoom(lane)) {
      dropped += 1
      return undefined
    }
    const line = chain.append(recordOf(event))
    reported = dropped
    const written = sink.append(lane, line, urgent)
    if (chain.uncovered() >= policy.checkpoint.records) checkpoint()
    else calledOff ??= clock.after(policy.checkpoint.seconds * 1000, checkpoint)
    return written
  }

  /** A lane that is full puts it off until the next record. */
  function checkpoint(): void {
    calledOff?.()
    calledOff = undefined
    if (chain.uncovered() === 0 || !sink.hasRoom('decision')) return
    const line = chain.checkpoint(
      (coverage) => recordOf({ ...coverage, event: 'audit.checkpoint', signer: signer?.id }),
      signer?.seal,
    )
    reported = dropped
    void sink.append('decision', line, false)
  }

  function write(event: AuditEvent): void {
    try {
      append(BULK.has(event.event) ? 'bulk' : 'decision', event, false)
    } catch {
      dropped += 1 // A record that cannot be built is lost, and counted like any other.
    }
  }

  return {
    write,

    async commit(event, otherwise) {
      if (refuses && sink.broken()) throw sinkBroken()
      const written = await append('decision', event, true)
      if (!refuses || written === true) return
      if (written === false && otherwise !== undefined) write(otherwise)
      throw sinkBroken()
    },

    digest(value) {
      const canonical = canonicalize(value)
      if (canonical === undefined) throw new TypeError('Not a JSON value')
      const bytes = Buffer.from(canonical)
      const hmac = createHmac('sha256', argsKey).update(bytes).digest('hex')
      return { hmac, bytes: bytes.length }
    },

    ready: () => !(refuses && sink.broken()),
    dropped: () => dropped,
    unreported: () => dropped - reported,
    close() {
      checkpoint()
      return sink.close()
    },
  }
}

function sinkBroken(): Denied {
  return new Denied('audit.sink-broken', {
    headers: { 'retry-after': String(RETRY_AFTER_SECONDS) },
  })
}
