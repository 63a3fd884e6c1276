// optional: telemetry
import type { AuditEvent } from '../audit/trail.ts'
import type { AppVariables } from '../context.ts'
import { DENIALS, PROTOCOL_ERRORS, type RefusalName } from '../errors.ts'

export type Outcome = Extract<AuditEvent, { event: 'outcome' }>['outcome']

/** What metrics and spans say of an operation that has ended. */
export interface OperationEnd {
  /** The tool or prompt that it was about: always a configured name. */
  readonly target: { readonly kind: 'tool' | 'prompt'; readonly name: string } | undefined
  readonly outcome: Outcome | 'refused'
  /**
   * `undefined` when nothing failed. The code of the JSON-RPC error; `tool_error` for a result with
   * `isError`; `cancelled` when nobody waited for either.
   */
  readonly errorType: string | undefined
  readonly refusal:
    | { readonly reason: RefusalName; readonly rpcCode: number | null; readonly message: string }
    | undefined
}

const ERRORS = { ...DENIALS, ...PROTOCOL_ERRORS }

/** Outcomes that the caller sees as a result. */
const SUCCESSES: ReadonlySet<OperationEnd['outcome']> = new Set(['ok', 'asked'])

/**
 * Source: OpenTelemetry semantic conventions, MCP, Server, `error.type`
 *
 * @param known what the record of its outcome says, when there is one
 * @param answered whether the client was there to get the head of an answer
 */
export function operationEnd(
  { denied, operation }: Pick<AppVariables, 'denied' | 'operation'>,
  known: Outcome | undefined,
  answered: boolean,
): OperationEnd {
  const refusal = denied && { reason: denied, ...ERRORS[denied] }
  const left = !answered || operation?.started === true ? 'cancelled' : 'ok'
  const outcome = known ?? (refusal === undefined ? left : 'refused')
  const rule = operation?.rule
  return {
    target:
      rule === undefined || rule.kind === 'resource'
        ? undefined
        : { kind: rule.kind, name: rule.name },
    outcome,
    errorType: errorType(outcome, refusal?.rpcCode),
    refusal,
  }
}

function errorType(
  outcome: OperationEnd['outcome'],
  rpcCode: number | null | undefined,
): string | undefined {
  if (SUCCESSES.has(outcome)) return undefined
  if (outcome === 'cancelled') return 'cancelled'
  return rpcCode === undefined || rpcCode === null ? 'tool_error' : String(rpcCode)
}
