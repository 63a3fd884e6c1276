// optional: api-key
import { keyState } from '../../auth/key-expiry.ts'
import { loadKeys } from '../../auth/key-file.ts'
import type { Startable } from './start-checks.ts'
import type { Warning } from './warnings.ts'

const FIELD = 'MCP_API_KEYS_FILE'

/** What a reviewer asks of the keys that are live. Keys are named by their id, which is no secret. */
export function* keyWarnings({ config, policies }: Startable, nowMs: number): Generator<Warning> {
  const { apiKeysFile } = config
  const { enabled, maxLifetimeDays } = policies.auth.apiKeys
  if (apiKeysFile === undefined || !enabled) return
  const records = loadKeys(apiKeysFile, maxLifetimeDays)
  const inState = (...states: readonly ReturnType<typeof keyState>[]): string[] =>
    records.filter((record) => states.includes(keyState(record, nowMs))).map(({ id }) => id)

  const live = inState('live', 'expiring')
  if (live.length === 0) {
    yield {
      severity: 'medium',
      field: FIELD,
      message: 'holds no key that works',
      advice: 'npm run keys -- create',
    }
  }
  const expiring = inState('expiring')
  if (expiring.length > 0) {
    yield {
      severity: 'medium',
      field: FIELD,
      message: `expire within 14 days: ${expiring.join(', ')}`,
      advice: 'npm run keys -- rotate ID',
    }
  }
  const free = records.filter(
    ({ id, allowedCidrs }) => live.includes(id) && allowedCidrs.length === 0,
  )
  if (free.length > 0) {
    yield {
      severity: 'low',
      field: FIELD,
      message: `${free.length} keys work from any network`,
      advice: 'npm run keys -- create --networks',
    }
  }
}
