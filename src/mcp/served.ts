import type { ServerContext } from '@modelcontextprotocol/server'
import type { Rules } from '../access/rules.ts'
import type { AppVariables } from '../context.ts'
import type { EgressRules } from '../egress-rules.ts'
import type { Denied } from '../errors.ts'
import type { LimitsPolicy } from '../policy.ts' // optional: tasks
import type { Ask } from './asking.ts'
import type { Refused } from './refusal.ts'

/** What a reload may change. */
export interface McpPolicies {
  readonly rules: Rules
  readonly resultBytes: number
  readonly egress: EgressRules
  /** Age at which a `subscriptions/listen` stream ends, seconds. */
  readonly streamSeconds: number
  readonly tasks: LimitsPolicy['tasks'] // optional: tasks
}

/** One authorized message on its way through the SDK: what the controls left, and under which policies. */
export interface Served {
  readonly vars: AppVariables
  readonly policies: McpPolicies
  /** Hears why, when the message is refused from here on. */
  readonly refused: Refused
  /** Asks the caller while its call runs, which takes a session of a 2025 revision. */
  readonly ask?: Ask
  /**
   * Digest of the question that a verified request state says was asked, or why nothing can be said of
   * that state now.
   */
  asked?: string | Denied
}

/** The message that a handler of the SDK is called for. A connection serves many, each with its own. */
export type ServedOf = (ctx: ServerContext) => Served
