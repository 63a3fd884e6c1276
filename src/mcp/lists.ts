import {
  type Resource as ListedResource,
  ProtocolError,
  ProtocolErrorCode,
  type Server,
  type ServerContext,
} from '@modelcontextprotocol/server'
import { mayList, type Rule } from '../access/rules.ts'
import { requestFacts } from '../request-facts.ts'
import type { Store } from '../stores/store.ts'
import { CallEnded, type Calls } from './calls.ts'
import { faultOf, type ReportFailure } from './code-faults.ts'
import type { Definitions } from './definitions.ts'
import { readContext } from './read-context.ts'
import type { Served, ServedOf } from './served.ts'

export interface ListParts {
  readonly definitions: Definitions
  readonly store: Store
  readonly calls: Calls
  readonly reportFailure: ReportFailure
}

/** The list methods. */
export const LIST_METHODS = [
  'tools/list',
  'prompts/list',
  'resources/templates/list',
  'resources/list',
] as const

/**
 * Answers one list method: what this caller may use, in the order of the catalog, by the same rules
 * that decide on the call.
 */
export function serveList(
  server: Server,
  parts: ListParts,
  method: (typeof LIST_METHODS)[number],
  servedOf: ServedOf,
): void {
  const { definitions } = parts

  switch (method) {
    case 'tools/list':
      server.setRequestHandler('tools/list', (_request, ctx) => {
        const { rules, shown } = visible(servedOf(ctx))
        const tools = [...definitions.tools].filter(([name]) => shown(rules.tools.get(name)))
        return { tools: tools.map(([, { listed }]) => listed) }
      })
      break
    case 'prompts/list':
      server.setRequestHandler('prompts/list', (_request, ctx) => {
        const { rules, shown } = visible(servedOf(ctx))
        const prompts = [...definitions.prompts].filter(([name]) => shown(rules.prompts.get(name)))
        return { prompts: prompts.map(([, { listed }]) => listed) }
      })
      break
    case 'resources/templates/list':
      server.setRequestHandler('resources/templates/list', (_request, ctx) => {
        const { rules, shown } = visible(servedOf(ctx))
        const templates = [...definitions.resources].filter(
          ([template]) => template.includes('{') && shown(rules.resources.get(template)),
        )
        return { resourceTemplates: templates.map(([, { listed }]) => listed) }
      })
      break
    case 'resources/list':
      server.setRequestHandler('resources/list', async (_request, ctx) => {
        const served = servedOf(ctx)
        const { rules, shown } = visible(served)
        const lists = [...rules.resources.values()]
          .filter(shown)
          .map((rule) => existing(parts, served, rule, ctx))
        return { resources: (await Promise.all(lists)).flat() }
      })
  }
}

/** What the rules of now show to this caller. */
function visible({ vars, policies }: Served): {
  readonly rules: Served['policies']['rules']
  shown(rule: Rule | undefined): boolean
} {
  const facts = {
    identity: vars.identity,
    args: undefined,
    request: { ip: vars.address, era: vars.era },
    nowMs: Date.now(),
  }
  return { rules: policies.rules, shown: (rule) => rule !== undefined && mayList(rule, facts) }
}

/**
 * What exists of one resource for this caller, as guarded as a read: deadline, abort, shutdown.
 *
 * @throws {ProtocolError} -32603 in fixed words. The SDK sends what it catches.
 */
function existing(
  { calls, definitions, store, reportFailure }: ListParts,
  { vars }: Served,
  rule: Rule,
  ctx: ServerContext,
): Promise<ListedResource[]> {
  const { identity, hold, outlives } = vars
  const facts = { ...requestFacts(vars), name: rule.name }
  const work = async (signal: AbortSignal): Promise<ListedResource[]> => {
    const resource = definitions.resources.get(rule.name)?.resource
    if (resource === undefined) return []
    const { name, description, mimeType } = resource
    const found = await resource.list(readContext(store, identity, signal))
    return found.map(({ uri, title }) => ({ uri, title, name, description, mimeType }))
  }
  const caller = { signal: ctx.mcpReq.signal, hold, outlives }
  return calls.bounded(rule, facts, caller, work, async (result) => {
    if ('value' in result) return result.value
    if (!(result.error instanceof CallEnded))
      reportFailure(facts, faultOf(result.error), result.error)
    throw new ProtocolError(ProtocolErrorCode.InternalError, 'Internal error')
  })
}
