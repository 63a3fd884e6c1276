import { createHash } from 'node:crypto'
import type { Definitions } from './definitions.ts'

/** SHA-256, hex, of everything that callers see of a catalog: a change of it is a change for them. */
export interface Manifest {
  /** Of all tools, as `server.start` has it on record and `/readyz` shows it. */
  readonly toolsDigest: string
  /** By name: title, description, schemas and annotations. */
  readonly tools: Readonly<Record<string, string>>
  /** By template. */
  readonly resources: Readonly<Record<string, string>>
  readonly prompts: Readonly<Record<string, string>>
}

/**
 * What those who approved a tool compare, so that its description or schema does not change behind
 * their back.
 *
 * Source: OWASP MCP Top 10, MCP03 Tool Poisoning.
 */
export function manifestOf({ tools, resources, prompts }: Definitions): Manifest {
  return {
    toolsDigest: toolsDigest({ tools }),
    tools: digests(tools),
    resources: digests(resources),
    prompts: digests(prompts),
  }
}

/** @returns SHA-256, hex, of names, descriptions, schemas and annotations of all tools, in order. */
export function toolsDigest({ tools }: Pick<Definitions, 'tools'>): string {
  return digestOf([...tools.values()].map(({ listed }) => listed))
}

function digests(items: ReadonlyMap<string, { readonly listed: unknown }>): Record<string, string> {
  return Object.fromEntries([...items].map(([name, { listed }]) => [name, digestOf(listed)]))
}

function digestOf(value: unknown): string {
  return createHash('sha256').update(JSON.stringify(value)).digest('hex')
}
