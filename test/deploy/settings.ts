import { environment } from '../../src/config.ts'
import { SECRETS } from '../../src/config-secrets.ts'

/** Names of settings, with those of secrets that are given as files, and the one that Node reads itself. */
const NAMES = new Set([
  ...Object.keys(environment.shape),
  ...SECRETS.map((name) => `${name}_FILE`),
  'NODE_EXTRA_CA_CERTS',
])

export function isSetting(name: string): boolean {
  return NAMES.has(name)
}
