import type { Catalog } from './define.ts'
import type { DestinationPolicy, EgressPolicy } from './policy.ts'
import { type Problem, Problems } from './problems.ts'
import { readSecretFile } from './secret-file.ts'

/** Where a tool may send requests, and what is sent along. */
export interface Destination extends Omit<DestinationPolicy, 'credential'> {
  /** The header that carries the server's own credential. */
  readonly credential: Readonly<Record<string, string>>
}

/** By name of the tool. */
export type EgressRules = ReadonlyMap<string, readonly Destination[]>

/**
 * The destinations of all tools, with the credentials that their files hold now.
 *
 * @throws {Problems} for a tool that does not exist, and for a file without a credential
 */
export function egressRules(policy: EgressPolicy, catalog: Pick<Catalog, 'tools'>): EgressRules {
  const problems = unknownTools(policy, catalog)
  if (problems.length > 0) throw new Problems(problems)
  return new Map(
    Object.entries(policy.tools).map(([tool, destinations]) => [
      tool,
      destinations.map((destination, index) => ({
        ...destination,
        credential: credentialOf(destination, `egress.yaml tools.${tool}.${index}.credential.file`),
      })),
    ]),
  )
}

/** Entries that speak of no tool. */
export function unknownTools(
  { tools }: EgressPolicy,
  catalog: Pick<Catalog, 'tools'>,
): readonly Problem[] {
  const known = new Set(catalog.tools.map(({ name }) => name))
  return Object.keys(tools)
    .filter((tool) => !known.has(tool))
    .map((tool) => ({ field: `egress.yaml tools.${tool}`, message: 'is no tool of this server' }))
}

function credentialOf(
  { credential }: DestinationPolicy,
  field: string,
): Readonly<Record<string, string>> {
  if (credential === undefined) return {}
  const { file, header, scheme } = credential
  const secret = readSecretFile(file, field)
  return { [header]: scheme === null ? secret : `${scheme} ${secret}` }
}

/** Files that hold the credentials of a policy. */
export function egressCredentialFiles({ tools }: EgressPolicy): readonly string[] {
  return Object.values(tools).flatMap((all) =>
    all.flatMap(({ credential }) => credential?.file ?? []),
  )
}
