import { readSecretFiles } from './config-secrets.ts'
import type { Problem } from './problems.ts'

/** The variables that are set, files of secrets read. */
export function collect(
  env: NodeJS.ProcessEnv,
  known: readonly string[],
): { readonly values: ReadonlyMap<string, string>; readonly problems: Problem[] } {
  const problems: Problem[] = []
  const values = new Map<string, string>()
  for (const name of known) {
    const value = env[name]
    if (value === undefined) continue
    values.set(name, value)
    if (value === '') problems.push({ field: name, message: 'is empty' })
    else if (value !== value.trim()) problems.push({ field: name, message: 'has spaces around it' })
  }
  for (const secret of readSecretFiles(env)) {
    if ('problem' in secret) problems.push(secret.problem)
    else values.set(secret.name, secret.value)
  }
  return { values, problems }
}

/** What is left of them without those of these names. */
export function without(
  values: ReadonlyMap<string, string>,
  faulty: ReadonlySet<string>,
): Record<string, string> {
  return Object.fromEntries([...values].filter(([name]) => !faulty.has(name)))
}
