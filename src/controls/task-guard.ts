// optional: tasks
import type { MiddlewareHandler } from 'hono'
import type { AppEnv, Message } from '../context.ts'
import type { Catalog } from '../define.ts'
import { Denied } from '../errors.ts'
import { declaresTasks, TASKS_EXTENSION } from '../tasks-extension.ts'

/**
 * Threat:  Work is begun for a client that cannot follow it: nobody reads its result or ends it.
 * Rule:    a tool that only runs as a task, the methods of tasks, and the notifications of tasks take a
 *          client of 2026-07-28 that declares the extension, in this very request.
 * Policy:  none: the tool says `task: 'required'`
 * Refuses: 400 `task-guard.missing-capability`, with the capability that is required
 * Source:  MCP Tasks extension (SEP-2663), Capability Negotiation
 */
export function taskGuard({ tools }: Pick<Catalog, 'tools'>): MiddlewareHandler<AppEnv> {
  const required = new Set<unknown>(
    tools.filter(({ task }) => task === 'required').map(({ name }) => name),
  )

  function needsTasks({ method, params = {} }: Message): boolean {
    if (method.startsWith('tasks/')) return true
    if (method === 'tools/call') return required.has(params['name'])
    return method === 'subscriptions/listen' && followsTasks(params['notifications'])
  }

  return async function taskGuard(c, next) {
    const message = c.get('message')
    const canFollow = c.get('era') === 'modern' && declaresTasks(message.params)
    if (needsTasks(message) && !canFollow) {
      const requiredCapabilities = { extensions: { [TASKS_EXTENSION]: {} } }
      throw new Denied('task-guard.missing-capability', { data: { requiredCapabilities } })
    }
    await next()
  }
}

function followsTasks(filter: unknown): boolean {
  if (typeof filter !== 'object' || filter === null || !('taskIds' in filter)) return false
  return Array.isArray(filter.taskIds) && filter.taskIds.length > 0
}
