// optional: legacy-sessions
import type { Context } from 'hono'
import type { AppEnv } from './context.ts'
import { isReply } from './envelope.ts'

/**
 * Leaves the response that a client has sent in its session, as strictly checked as any message.
 *
 * @returns `false` when there is no session, or the value is no response: it may be a message then.
 */
export function leavesReply(c: Context<AppEnv>, value: unknown): boolean {
  if (c.get('session') === undefined || !isReply(value)) return false
  c.set('reply', Object.freeze(value))
  return true
}
