// optional: tasks
import type { MiddlewareHandler } from 'hono'
import type { AppEnv, Message } from '../context.ts'
import type { Catalog } from '../define.ts'
import { Denied } from '../errors.ts'
import { declaresTasks, TASKS_EXTENSION } from '../tasks-extension.ts'
import type { Authorize } from './authorize.ts'

/**
 * Threat:  Work is begun for a client that cannot follow it: nobody reads its result or ends it.
 * Rule:    a tool that only runs as a task, the methods of tasks, and the notifications of tasks take a
 *          client of 2026-07-28 that declares the extension, in this very request.
 * Policy:  none: the tool says `task: 'required'`
 * Refuses: 400 `task-guard.missing-capability`, with the capability that is required
 * Source:  MCP Tasks extension (SEP-2663), Capability Negotiation
 */
export function taskGuard(catalog: Pick<Catalog, 'tools'>): MiddlewareHandler<AppEnv> {
  const needsTasks = needs(catalog)

  return async function taskGuard(c, next) {
    const message = c.get('message')
    const canFollow = c.get('era') === 'modern' && declaresTasks(message.params)
    if (needsTasks(message) && !canFollow) throw missingCapability()
    await next()
  }
}

/** The same where no tasks are served: what needs one is refused, whoever asks. */
export function withoutTasks(authorize: Authorize, catalog: Pick<Catalog, 'tools'>): Authorize {
  const needsTasks = needs(catalog)

  return async function authorizeWithoutTasks(vars) {
    if (needsTasks(vars.message)) throw missingCapability()
    return authorize(vars)
  }
}

function missingCapability(): Denied {
  const requiredCapabilities = { extensions: { [TASKS_EXTENSION]: {} } }
  return new Denied('task-guard.missing-capability', { data: { requiredCapabilities } })
}

function needs({ tools }: Pick<Catalog, 'tools'>): (message: Message) => boolean {
  const required = new Set<unknown>(
    tools.filter(({ task }) => task === 'required').map(({ name }) => name),
  )

  return function needsTasks({ method, params = {} }) {
    if (method.startsWith('tasks/')) return true
    if (method === 'tools/call') return required.has(params['name'])
    return method === 'subscriptions/listen' && followsTasks(params['notifications'])
  }
}

function followsTasks(filter: unknown): boolean {
  if (typeof filter !== 'object' || filter === null || !('taskIds' in filter)) return false
  return Array.isArray(filter.taskIds) && filter.taskIds.length > 0
}
