import { membersOf, parse } from '../../audit/chain-line.ts'

/** What one record says, as a table shows it. Empty where it says nothing. */
export interface Row {
  /** ms since the epoch; `undefined` when there is none. */
  readonly time: number | undefined
  readonly event: string
  readonly operation: string
  readonly tool: string
  readonly decision: string
  /** Status of the answer or of the outcome. */
  readonly status: string
  /** Name of a refusal. */
  readonly reason: string
  readonly principal: string
  readonly address: string
  readonly request: string
}

/** @returns `undefined` for a line that is no audit record */
export function rowOf(line: string): Row | undefined {
  const record = parse(line)
  const event = textAt(record, 'metadata', 'event_code')
  if (event === '') return undefined
  const time = at(record, 'time')
  return {
    time: typeof time === 'number' && Number.isFinite(time) ? time : undefined,
    event,
    operation: textAt(record, 'api', 'operation'),
    tool:
      textAt(record, 'unmapped', 'mcp', 'tool') ||
      textAt(record, 'unmapped', 'mcp', 'resource') ||
      textAt(record, 'unmapped', 'mcp', 'prompt'),
    decision:
      textAt(record, 'actor', 'authorizations', '0', 'decision') ||
      (ACTIONS.get(at(record, 'action_id')) ?? ''),
    status: textAt(record, 'http_response', 'code') || textAt(record, 'status_code'),
    reason: textAt(record, 'status_detail'),
    principal: textAt(record, 'actor', 'user', 'uid') || textAt(record, 'user', 'uid'),
    address: textAt(record, 'src_endpoint', 'ip'),
    request: textAt(record, 'metadata', 'correlation_uid'),
  }
}

/** `action_id` of OCSF. */
const ACTIONS: ReadonlyMap<unknown, string> = new Map([
  [1, 'allowed'],
  [2, 'denied'],
])

function textAt(record: unknown, ...path: readonly string[]): string {
  const value = at(record, ...path)
  return typeof value === 'string' || typeof value === 'number' ? String(value) : ''
}

function at(record: unknown, ...path: readonly string[]): unknown {
  let value = record
  for (const name of path) {
    value = Array.isArray(value) ? value[Number(name)] : membersOf(value)?.get(name)
  }
  return value
}
