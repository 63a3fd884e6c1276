// optional: redis
import { z } from 'zod'
import type { Settings } from './config.ts'
import type { Problem } from './problems.ts'
import { LOOPBACK_HOSTS } from './urls.ts'

export const redisUrl = z
  .string()
  .refine(isRedisUrl, 'must be redis:// or rediss://, [user:password@]host[:port][/number]')

/** Nothing in it may be left to guess: what the client does not know it would ignore. */
function isRedisUrl(value: string): boolean {
  const url = URL.parse(value)
  return (
    url !== null &&
    /^rediss?:$/.test(url.protocol) &&
    url.hostname !== '' &&
    /^(?:\/\d{0,4})?$/.test(url.pathname) &&
    !/[?#\s]/.test(value) &&
    isPercentEncoded(url.username) &&
    isPercentEncoded(url.password)
  )
}

function isPercentEncoded(text: string): boolean {
  try {
    decodeURIComponent(text)
    return true
  } catch {
    return false
  }
}

/** The password and everything that is stored would travel in clear text. */
export function redisProblems({ NODE_ENV, REDIS_URL = '' }: Settings): Problem[] {
  const url = URL.parse(REDIS_URL)
  const isClear = url?.protocol === 'redis:' && !LOOPBACK_HOSTS.has(url.hostname)
  if (NODE_ENV === 'development' || !isClear) return []
  return [
    { field: 'REDIS_URL', message: 'must be rediss:// in production, or Redis be on loopback' },
  ]
}
