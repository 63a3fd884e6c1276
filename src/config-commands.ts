import { rootSecrets } from './config-secrets.ts'

/** The settings that commands use, each by itself: no other has to be there. */
export interface CommandSettings {
  readonly apiKeysFile: string | undefined
  readonly policyDir: string
  /** As it is written; whoever uses it finds out whether it is a port. */
  readonly adminPort: string
  /** Root secrets, newest first. @throws {Problems} when they are missing or wrong. */
  secrets(): readonly [Buffer, ...Buffer[]]
}

export function commandSettingsOf(env: NodeJS.ProcessEnv): CommandSettings {
  return {
    apiKeysFile: env['MCP_API_KEYS_FILE'],
    policyDir: env['MCP_POLICY_DIR'] ?? 'policies',
    adminPort: env['ADMIN_PORT'] ?? '9090',
    secrets: () => rootSecrets(env),
  }
}
