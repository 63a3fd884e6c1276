import {
  type Resource as ListedResource,
  ProtocolError,
  ProtocolErrorCode,
  type Server,
  type ServerContext,
} from '@modelcontextprotocol/server'
import { mayList, type Rule, type Rules } from '../access/rules.ts'
import type { AppVariables } from '../context.ts'
import { requestFacts } from '../request-facts.ts'
import type { Store } from '../stores/store.ts'
import { CallEnded, type Calls, type ReportFailure } from './calls.ts'
import type { Definitions } from './definitions.ts'
import { readContext } from './read-context.ts'

export interface ListParts {
  readonly rules: Rules
  readonly definitions: Definitions
  readonly store: Store
  readonly calls: Calls
  readonly reportFailure: ReportFailure
}

/**
 * Answers the list methods: what this caller may use, in the order of the catalog, by the same rules
 * that decide on the call.
 */
export function serveList(server: Server, parts: ListParts, vars: AppVariables): void {
  const { rules, definitions } = parts
  const facts = {
    identity: vars.identity,
    args: undefined,
    request: { ip: vars.address, era: vars.era },
    nowMs: Date.now(),
  }
  const shown = (rule: Rule | undefined): boolean => rule !== undefined && mayList(rule, facts)

  switch (vars.message.method) {
    case 'tools/list':
      server.setRequestHandler('tools/list', () => ({
        tools: [...definitions.tools]
          .filter(([name]) => shown(rules.tools.get(name)))
          .map(([, { listed }]) => listed),
      }))
      break
    case 'prompts/list':
      server.setRequestHandler('prompts/list', () => ({
        prompts: [...definitions.prompts]
          .filter(([name]) => shown(rules.prompts.get(name)))
          .map(([, { listed }]) => listed),
      }))
      break
    case 'resources/templates/list':
      server.setRequestHandler('resources/templates/list', () => ({
        resourceTemplates: [...definitions.resources]
          .filter(([template]) => shown(rules.resources.get(template)))
          .map(([, { listed }]) => listed),
      }))
      break
    case 'resources/list':
      server.setRequestHandler('resources/list', async (_request, ctx) => {
        const lists = [...rules.resources.values()]
          .filter(shown)
          .map((rule) => existing(parts, vars, rule, ctx))
        return { resources: (await Promise.all(lists)).flat() }
      })
  }
}

/**
 * What exists of one resource for this caller, as guarded as a read: deadline, abort, shutdown.
 *
 * @throws {ProtocolError} -32603 in fixed words. The SDK sends what it catches.
 */
function existing(
  { calls, definitions, store, reportFailure }: ListParts,
  vars: AppVariables,
  rule: Rule,
  ctx: ServerContext,
): Promise<ListedResource[]> {
  const { identity, hold } = vars
  const facts = { ...requestFacts(vars), name: rule.name }
  const work = async (signal: AbortSignal): Promise<ListedResource[]> => {
    const resource = definitions.resources.get(rule.name)?.resource
    if (resource === undefined) return []
    const { name, mimeType } = resource
    const found = await resource.list(readContext(store, identity, signal))
    return found.map(({ uri, title }) => ({ uri, title, name, mimeType }))
  }
  const caller = { signal: ctx.mcpReq.signal, hold }
  return calls.bounded(rule, facts, caller, work, async (result) => {
    if ('value' in result) return result.value
    if (!(result.error instanceof CallEnded)) reportFailure(facts, result.error)
    throw new ProtocolError(ProtocolErrorCode.InternalError, 'Internal error')
  })
}
