import { decide, type Rule } from '../../access/rules.ts'
import { findTarget } from '../../access/target.ts'
import type { Era, Message, Parsed, Principal } from '../../context.ts'
import type { Catalog } from '../../define.ts'
import type { LoadedPolicy } from './load.ts'

/** Who asks, for what. */
export interface Question {
  readonly principal: Principal
  readonly claims: Readonly<Record<string, unknown>>
  readonly ip: string
  readonly era: Era
  readonly nowMs: number
  readonly use:
    | { readonly kind: 'tool' | 'prompt'; readonly name: string; readonly args: unknown }
    | { readonly kind: 'resource'; readonly name: string }
}

/** Why not, by the names of the refusals in `errors.ts` without their file. */
export type Why = 'unknown' | 'missing-scope' | 'condition' | 'invalid-arguments'

export interface Decision {
  readonly allowed: boolean
  readonly why: Why | undefined
  /** Absent for what is not in the catalog. */
  readonly rule: Rule | undefined
  readonly parsed: Parsed | undefined
}

const METHOD = { tool: 'tools/call', prompt: 'prompts/get', resource: 'resources/read' } as const

/** Decides as the server does: by the functions that `controls/authorize.ts` calls. */
export function decisionOn(
  { rules }: Pick<LoadedPolicy, 'rules'>,
  catalog: Catalog,
  question: Question,
): Decision {
  const target = findTarget(catalog, rules)(messageOf(question))
  if (target === undefined) {
    return { allowed: false, why: 'unknown', rule: undefined, parsed: undefined }
  }
  const { rule, parsed } = target
  const { principal, claims, ip, era, nowMs } = question
  const verdict = decide(rule, {
    identity: { principal, claims, credentialDigest: '', credentialId: null, expiresAt: null },
    args: parsed.value,
    request: { ip, era },
    nowMs,
  })
  if (!verdict.allowed) {
    const why = verdict.reason === 'authorize.condition' ? 'condition' : 'missing-scope'
    return { allowed: false, why, rule, parsed }
  }
  // The server answers these with an error of the tool's own schema, and nothing runs.
  const why = parsed.issues === undefined ? undefined : 'invalid-arguments'
  return { allowed: why === undefined, why, rule, parsed }
}

function messageOf({ use }: Question): Message {
  const params =
    use.kind === 'resource' ? { uri: use.name } : { name: use.name, arguments: use.args }
  return { jsonrpc: '2.0', id: 0, method: METHOD[use.kind], params }
}
