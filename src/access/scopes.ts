import type { AccessEntry, Policies } from '../policy.ts'

/** Every scope that some operation takes, sorted. */
export function allScopes({ auth, access }: Policies): readonly string[] {
  const entries = [access.tools, access.resources, access.prompts].flatMap(
    Object.values<AccessEntry>,
  )
  const scopes = entries.flatMap((entry) => entry.scopes)
  return [...new Set([auth.baseScope, ...scopes])].toSorted()
}
