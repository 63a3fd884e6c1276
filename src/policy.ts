import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { z } from 'zod'
import type { Mode } from './config.ts'
import { egressPolicy } from './policy-egress.ts'
import { httpPolicy } from './policy-http.ts'
import { accessPolicy, auditPolicy, authPolicy, limitsPolicy } from './policy-schemas.ts'
import { inWords, type Problem, Problems } from './problems.ts'
import { parseStrictYaml } from './strict-yaml.ts'

export type HttpPolicy = z.infer<typeof httpPolicy>
export type AuthPolicy = z.infer<ReturnType<typeof authPolicy>>
export type IssuerPolicy = AuthPolicy['issuers'][number]
export type AccessPolicy = z.infer<typeof accessPolicy>
export type AccessEntry = AccessPolicy['tools'][string]
export type LimitsPolicy = z.infer<typeof limitsPolicy>
export type AuditPolicy = z.infer<typeof auditPolicy>
export type EgressPolicy = z.infer<ReturnType<typeof egressPolicy>>
export type DestinationPolicy = EgressPolicy['tools'][string][number]

/** What is allowed, frozen. Each part is one file. */
export interface Policies {
  readonly http: HttpPolicy
  readonly auth: AuthPolicy
  readonly access: AccessPolicy
  readonly limits: LimitsPolicy
  readonly audit: AuditPolicy
  readonly egress: EgressPolicy
  /**
   * SHA-256, hex. To compute it by hand:
   * `sha256sum access.yaml audit.yaml auth.yaml egress.yaml http.yaml limits.yaml | sha256sum`.
   */
  readonly digest: string
}

const FILES = [
  'access.yaml',
  'audit.yaml',
  'auth.yaml',
  'egress.yaml',
  'http.yaml',
  'limits.yaml',
] as const

type File = (typeof FILES)[number]

const NO_DIR = {
  field: 'MCP_POLICY_DIR',
  message: 'does not exist; a relative path starts at the working directory of the server',
}

/**
 * Reads the six policy files of a folder.
 *
 * Not checked here: that every tool has an entry and every condition compiles (`compileRules`), and
 * that policies and settings together leave a way to authenticate.
 *
 * @throws {Problems} with everything that is wrong in all files, by file, path and line.
 */
export function loadPolicies(dir: string, mode: Mode): Policies {
  if (!existsSync(dir)) throw new Problems([NO_DIR])
  const problems: Problem[] = []
  const sources = readSources(dir, problems)

  function load<Schema extends z.ZodType>(
    file: File,
    schema: Schema,
  ): z.output<Schema> | undefined {
    const source = sources.get(file)
    return source === undefined ? undefined : parsePolicy(file, source, schema, problems)
  }
  const http = load('http.yaml', httpPolicy)
  const auth = load('auth.yaml', authPolicy(mode))
  const access = load('access.yaml', accessPolicy)
  const limits = load('limits.yaml', limitsPolicy)
  const audit = load('audit.yaml', auditPolicy)
  const egress = load('egress.yaml', egressPolicy(mode))

  if (problems.length > 0 || !http || !auth || !access || !limits || !audit || !egress) {
    throw new Problems(problems)
  }
  return Object.freeze({ http, auth, access, limits, audit, egress, digest: digestOf(sources) })
}

/**
 * Reads `auth.yaml` alone, for a command that needs no other policy.
 *
 * @returns `undefined` when the folder has none
 * @throws {Problems} as `loadPolicies` does
 */
export function loadAuthPolicy(dir: string, mode: Mode): AuthPolicy | undefined {
  const file = join(dir, 'auth.yaml')
  if (!existsSync(file)) return undefined
  const problems: Problem[] = []
  const policy = parsePolicy('auth.yaml', readFileSync(file), authPolicy(mode), problems)
  if (policy === undefined) throw new Problems(problems)
  return policy
}

function readSources(dir: string, problems: Problem[]): ReadonlyMap<string, Buffer> {
  const sources = new Map<string, Buffer>()
  for (const file of FILES) {
    try {
      sources.set(file, readFileSync(join(dir, file)))
    } catch {
      problems.push({ field: file, message: 'cannot be read' })
    }
  }
  for (const name of otherFiles(dir)) {
    problems.push({ field: name, message: 'is not a policy file of this version' })
  }
  return sources
}

/** Files that look like policies: rules that nobody enforces. */
function otherFiles(dir: string): readonly string[] {
  const known = new Set<string>(FILES)
  try {
    return readdirSync(dir).filter((name) => /\.ya?ml$/i.test(name) && !known.has(name))
  } catch {
    // A folder that may not be listed: the files that count are read or reported by name.
    return []
  }
}

function parsePolicy<Schema extends z.ZodType>(
  file: File,
  source: Buffer,
  schema: Schema,
  problems: Problem[],
): z.output<Schema> | undefined {
  const yaml = parseStrictYaml(source)
  if ('problems' in yaml) {
    problems.push(...yaml.problems.map((message) => ({ field: file, message })))
    return undefined
  }
  const parsed = schema.safeParse(yaml.value, { error: inWords })
  if (parsed.success) return parsed.data
  for (const issue of parsed.error.issues) {
    const isUnknown = issue.code === 'unrecognized_keys'
    const paths = isUnknown ? issue.keys.map((key) => [...issue.path, key]) : [issue.path]
    for (const path of paths) {
      problems.push({
        field: [file, path.map(String).join('.')].join(' ').trimEnd(),
        message: `${isUnknown ? 'is not known' : issue.message} (line ${yaml.lineOf(path)})`,
      })
    }
  }
  return undefined
}

function digestOf(sources: ReadonlyMap<string, Buffer>): string {
  const sums = [...sources].map(([file, bytes]) => `${sha256(bytes)}  ${file}\n`)
  return sha256(sums.join(''))
}

function sha256(data: Buffer | string): string {
  return createHash('sha256').update(data).digest('hex')
}
