import type { McpServer } from '@modelcontextprotocol/server'
import { mayList, type Rule, type Rules } from '../access/rules.ts'
import type { AppVariables } from '../context.ts'
import type { Store } from '../stores/store.ts'
import type { Definitions } from './definitions.ts'
import { readContext } from './read-context.ts'

export interface ListParts {
  readonly rules: Rules
  readonly definitions: Definitions
  readonly store: Store
}

/**
 * Answers the list methods: what this caller may use, in the order of the catalog, by the same rules
 * that decide on the call.
 */
export function serveList(
  server: McpServer['server'],
  { rules, definitions, store }: ListParts,
  vars: AppVariables,
): void {
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
        const context = readContext(store, vars.identity, ctx.mcpReq.signal)
        const lists = await Promise.all(
          [...definitions.resources]
            .filter(([template]) => shown(rules.resources.get(template)))
            .map(async ([, { resource }]) => {
              const { name, mimeType } = resource
              const existing = await resource.list(context)
              return existing.map(({ uri, title }) => ({ uri, title, name, mimeType }))
            }),
        )
        return { resources: lists.flat() }
      })
  }
}
