// optional: api-key
import { apiKey } from './api-key.ts'
import { announceExpiry } from './key-expiry.ts'
import { loadKeys } from './key-file.ts'
import type { AuthStrategy, StrategyParts } from './strategy.ts'

/**
 * API keys of the key file, and the ephemeral one of development. None of both: no strategy.
 *
 * @throws {Problems} when the key file is not one.
 */
export function configuredKeys(
  parts: Pick<
    StrategyParts,
    'apiKeysFile' | 'policy' | 'ephemeralKey' | 'logger' | 'clock' | 'nameOf'
  >,
): readonly AuthStrategy[] {
  const { apiKeysFile, policy, ephemeralKey, logger, clock, nameOf } = parts
  if (!policy.apiKeys.enabled) return []
  if (apiKeysFile === undefined && ephemeralKey === undefined) return []
  const kept =
    apiKeysFile === undefined ? [] : loadKeys(apiKeysFile, policy.apiKeys.maxLifetimeDays)
  const strategy = apiKey({ records: ephemeralKey === undefined ? kept : [...kept, ephemeralKey] })
  const close = announceExpiry(kept, { logger, clock, nowMs: Date.now, nameOf })
  return [{ ...strategy, close }]
}
