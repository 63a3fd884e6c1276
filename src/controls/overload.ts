import type { MiddlewareHandler } from 'hono'
import type { AppEnv } from '../context.ts'
import { Denied } from '../errors.ts'
import type { Load } from '../load.ts'

/**
 * Threat:  More work than the process can do, or more than its memory holds: every call fails, or the
 *          process is killed with all of them, instead of those that came too late being refused.
 * Rule:    while turns of the event loop take half a second, or nine tenths of the memory are in use,
 *          for five seconds, new requests are refused before anything is done for them. Calls and
 *          streams that have begun go on. `/livez` stays up, because a restart would lose them;
 *          `/readyz` says `load: overloaded`.
 * Policy:  none: the thresholds are constants of `load.ts`, with their reasons
 * Refuses: 503 `overload.event-loop`, `overload.memory`
 * Source:  OWASP API Security API4:2023; OWASP ASVS 5.0 13.1.2; Envoy, Overload manager
 */
export function overload(load: Load): MiddlewareHandler<AppEnv> {
  return async function overload(_c, next) {
    const shortage = load.shortage()
    if (shortage !== undefined) throw new Denied(`overload.${shortage}`, { headers: RETRY })
    await next()
  }
}

/** Two readings of the load, seconds: it does not change its mind before. */
const RETRY = { 'retry-after': '5' }
