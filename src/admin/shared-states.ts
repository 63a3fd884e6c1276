import type { Reloading } from '../reload.ts'
import type { SharedState } from '../stores/store.ts'
import type { Readiness } from './probes.ts'

/** Revocations are read every 10 s; this old, a few readings have failed, seconds. */
const STALE_SECONDS = 30

/** What readiness says of the store, and of files that were read again. None of it ends readiness. */
export function sharedStates(
  { shared }: { readonly shared?: Pick<SharedState, 'reachable' | 'revokedAgeSeconds'> },
  { refusedSince }: Pick<Reloading, 'refusedSince'>,
): Readiness['shared'] {
  const age = shared?.revokedAgeSeconds() ?? 0
  return {
    store: shared === undefined ? 'memory' : reached(shared.reachable()),
    ...(shared !== undefined && {
      revocations: age < STALE_SECONDS ? 'ok' : `stale since ${at(Date.now() - age * 1000)}`,
    }),
    policies: reloadState(refusedSince('policy.reload')),
    keys: reloadState(refusedSince('keys.reload')),
  }
}

function reloadState(sinceMs: number | undefined): string {
  return sinceMs === undefined ? 'ok' : `refused since ${at(sinceMs)}`
}

function reached(isReachable: boolean): string {
  return isReachable ? 'ok' : 'unreachable'
}

function at(ms: number): string {
  return new Date(ms).toISOString()
}
