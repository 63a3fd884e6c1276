import { LRUCache } from 'lru-cache'
import { networkOf } from '../client-address.ts'
import type { Clock } from '../clock.ts'
import type { AuditEvent, AuditTrail } from './trail.ts'

/** Refusals of one kind from one address that are on record one by one before they are counted. */
const ONE_BY_ONE = 20
/** How long they are counted before the count is on record, ms. */
const WINDOW_MS = 60_000
/** How often windows are looked through, ms. */
const SWEEP_MS = 5000
/** Addresses and reasons that are counted at a time. */
const MAX_COUNTED = 10_000

type Refusal = Extract<AuditEvent, { event: 'request' | 'authn.fail' | 'throttle' }>

interface Window {
  /** The newest refusal: the record of the count is about it. */
  latest: Refusal
  readonly beganMs: number
  /** On record one by one. */
  seen: number
  /** Not on record yet. */
  counted: number
}

/**
 * Threat:  A flood of refused requests buries what matters in the trail, or fills the disk it is on.
 * Rule:    of refusals of callers that nobody knows, the first 20 for an address (IPv6: a /64), kind,
 *          reason and cause are on record one by one. From then on they are counted, and the count is on
 *          record once a minute (`count`, `start_time`, `end_time`), until a minute passes without
 *          any. Nothing is dropped silently: the sum of all counts is the number of refusals, also
 *          when the table is full and when the process ends.
 * Policy:  none: the numbers are fixed
 * Refuses: nothing
 * Source:  OWASP API Security API4:2023; OCSF 1.8.0, base event `count`
 */
export function sampled(trail: AuditTrail, clock: Clock): AuditTrail {
  const windows = new LRUCache<string, Window>({
    max: MAX_COUNTED,
    dispose: (window, _name, cause) => {
      if (cause === 'evict') report(window)
    },
  })
  let cancel = (): void => undefined
  let closed = false

  function report({ latest, counted, beganMs }: Window): void {
    if (counted === 0) return
    const forMs = clock.now() - beganMs
    trail.write({ ...latest, repeated: { count: counted, forMs } })
  }

  function sweep(): void {
    for (const [name, window] of [...windows.entries()]) {
      if (clock.now() - window.beganMs < WINDOW_MS) continue
      report(window)
      // A flood that goes on stays a flood: from its count on, not one by one again.
      if (window.counted === 0) windows.delete(name)
      else windows.set(name, begun(window.latest, ONE_BY_ONE))
    }
  }

  function begun(latest: Refusal, seen: number): Window {
    return { latest, beganMs: clock.now(), seen, counted: 0 }
  }

  function schedule(): void {
    cancel = clock.after(SWEEP_MS, () => {
      sweep()
      if (!closed) schedule()
    })
  }
  schedule()

  return {
    ...trail,
    write(event) {
      if (!isAnonymousRefusal(event)) {
        trail.write(event)
        return
      }
      const cause = event.event === 'authn.fail' ? event.cause : undefined
      const name = JSON.stringify([event.event, event.reason, cause, networkOf(event.address)])
      const window = windows.get(name) ?? begun(event, 0)
      window.latest = event
      if (window.seen < ONE_BY_ONE) {
        window.seen += 1
        trail.write(event)
      } else {
        window.counted += 1
      }
      windows.set(name, window)
    },
    async close() {
      closed = true
      cancel()
      for (const window of [...windows.values()]) report(window)
      windows.clear()
      await trail.close()
    },
  }
}

function isAnonymousRefusal(event: AuditEvent): event is Refusal {
  switch (event.event) {
    case 'request':
    case 'authn.fail':
    case 'throttle':
      return event.principal === undefined && event.reason !== undefined
    default:
      return false
  }
}
