// optional: api-key
import { apiKey } from './api-key.ts'
import { loadKeys } from './key-file.ts'
import type { AuthStrategy, StrategyParts } from './strategy.ts'

/** API keys of the key file, and the ephemeral one of development. None of both: no strategy. */
export function configuredKeys(parts: StrategyParts): readonly AuthStrategy[] {
  const { apiKeysFile, policy, ephemeralKey } = parts
  if (!policy.apiKeys.enabled) return []
  const records = [
    ...(apiKeysFile === undefined ? [] : loadKeys(apiKeysFile, policy.apiKeys.maxLifetimeDays)),
    ...(ephemeralKey === undefined ? [] : [ephemeralKey]),
  ]
  return apiKeysFile === undefined && records.length === 0 ? [] : [apiKey({ records })]
}
