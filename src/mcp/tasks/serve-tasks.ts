// optional: tasks
import {
  type CallToolResult,
  type InputRequiredResult,
  ProtocolError,
  ProtocolErrorCode,
  type Server,
  type ServerContext,
} from '@modelcontextprotocol/server'
import { z } from 'zod'
import { decide } from '../../access/rules.ts'
import type { Operation } from '../../context.ts'
import type { Tool } from '../../define.ts'
import { VALUE_BYTES } from '../../stores/store.ts'
import { declaresTasks } from '../../tasks-extension.ts'
import type { Definitions } from '../definitions.ts'
import { NOT_FOUND } from '../refusal.ts'
import type { Served, ServedOf } from '../served.ts'
import { callTool, type ToolCallParts } from '../tool-call.ts'
import type { TaskRecord } from './task-records.ts'
import { POLL_INTERVAL_MS, type Tasks } from './tasks.ts'

export interface TaskParts extends ToolCallParts {
  readonly tasks?: Tasks
}

/** Whether there is any tool that can be a task: a server without one does not speak of tasks. */
export function hasTasks(tasks: Tasks | undefined, { tools }: Pick<Definitions, 'tools'>): boolean {
  return tasks !== undefined && tools.values().some(({ tool }) => tool.task !== undefined)
}

type Answer = CallToolResult | InputRequiredResult

/**
 * Calls a tool as a task when it may be one and the caller can follow one: the answer is a handle, and
 * the work goes on whatever becomes of the connection. A tool that asks first (`asksFirst`) becomes a
 * task when its question is answered.
 *
 * @returns `undefined` for a call that is none
 *
 * Source: MCP Tasks extension, Task Creation, Polymorphic Results.
 */
export async function callAsTask(
  parts: TaskParts,
  tool: Tool,
  operation: Operation,
  served: Served,
  ctx: ServerContext,
): Promise<Answer | undefined> {
  const { vars, policies, asked } = served
  const { ttlSeconds, perPrincipal } = policies.tasks
  const { tasks } = parts
  const isTask =
    tool.task !== undefined &&
    vars.era === 'modern' &&
    operation.parsed.issues === undefined &&
    (tool.asksFirst !== true || typeof asked === 'string') &&
    declaresTasks(vars.message.params)
  if (!isTask || tasks === undefined) return undefined
  // However long it runs, its result is kept for `ttlSeconds`.
  const ttlMs = (operation.rule.timeoutSeconds + ttlSeconds) * 1000
  const bounds = { ttlMs, perPrincipal }
  const starting = tasks.start(vars.identity, tool.name, bounds, async ({ ask, mcpReq }) => {
    const alone = { ...served, ask, vars: { ...vars, isBehind: () => false } }
    let broke = false
    const reportFailure: ToolCallParts['reportFailure'] = (...failure) => {
      broke = true
      parts.reportFailure(...failure)
    }
    // Progress becomes the status message, whether the client asked for notifications or not.
    const _meta = { ...ctx.mcpReq._meta, progressToken: tool.name }
    const context = { ...ctx, mcpReq: { ...ctx.mcpReq, ...mcpReq, _meta } }
    const result = await callTool({ ...parts, reportFailure }, tool, operation, alone, context)
    const reference = `(reference ${operation.facts.requestId})`
    // What a tool says is a result; that it broke is an error (Tasks, Task Status).
    return broke ? { failed: `The tool failed ${reference}` } : { result }
  })
  // From here on the client may leave: slots and the watch over its credential are for the task.
  vars.outlives?.(starting.then((task) => task?.ended).catch(() => undefined))
  const started = await starting
  if (started !== undefined) {
    const handle = { ...shown(started.record), resultType: 'task' }
    return { content: [], ...handle }
  }
  const text = 'Too many tasks are kept for you: wait for one of them, or cancel it.'
  return { content: [{ type: 'text', text }], isError: true }
}

const params = z.looseObject({ taskId: z.string().max(64) })
const responses = z.object({ inputResponses: z.record(z.string(), z.unknown()) })

/** Answers `tasks/get`, `tasks/update` and `tasks/cancel`, for the owner of the task alone. */
export function serveTasks(server: Server, { tasks }: TaskParts, servedOf: ServedOf): void {
  async function found(ctx: ServerContext, taskId: string): Promise<TaskRecord> {
    const { vars, policies } = servedOf(ctx)
    const record = await tasks?.get(vars.identity, taskId)
    const rule = policies.rules.tools.get(record?.tool ?? '')
    const mayUse =
      rule !== undefined &&
      decide(rule, {
        identity: vars.identity,
        args: undefined,
        request: { ip: vars.address, era: vars.era },
        nowMs: Date.now(),
      }).allowed
    if (record === undefined || !mayUse) throw notFound()
    return record
  }

  server.setRequestHandler('tasks/get', { params }, async ({ taskId }, ctx) => {
    const record = await found(ctx, taskId)
    const task = { resultType: 'complete', ...shown(record) }
    switch (record.status) {
      case 'completed': {
        const result = await tasks?.resultOf(record)
        if (result === undefined) throw notFound()
        return { ...task, result }
      }
      case 'failed':
        return { ...task, error: { code: -32603, message: 'Internal error' } }
      case 'input_required':
        return { ...task, inputRequests: record.inputRequests ?? {} }
      default:
        return task
    }
  })
  server.setRequestHandler('tasks/update', { params }, async ({ taskId }, ctx) => {
    await found(ctx, taskId)
    // The SDK takes this member out of the parameters: other requests are asked again with it.
    const { success, data } = responses.safeParse(servedOf(ctx).vars.message.params)
    const isFit = success && Buffer.byteLength(JSON.stringify(data)) <= VALUE_BYTES
    if (!isFit) throw new ProtocolError(ProtocolErrorCode.InvalidParams, 'Invalid params')
    await tasks?.tell(taskId, data)
    return { resultType: 'complete' }
  })
  server.setRequestHandler('tasks/cancel', { params }, async ({ taskId }, ctx) => {
    const { status } = await found(ctx, taskId)
    if (status === 'working' || status === 'input_required') {
      await tasks?.tell(taskId, { cancel: true })
    }
    return { resultType: 'complete' }
  })
}

function notFound(): ProtocolError {
  return new ProtocolError(ProtocolErrorCode.InvalidParams, NOT_FOUND.task)
}

/** A task as its owner sees it (Tasks, `Task`). */
function shown(record: TaskRecord): Record<string, unknown> {
  const { taskId, status, statusMessage, createdAt, lastUpdatedAt, ttlMs } = record
  return {
    taskId,
    status,
    ...(statusMessage === undefined ? {} : { statusMessage }),
    createdAt,
    lastUpdatedAt,
    ttlMs,
    pollIntervalMs: POLL_INTERVAL_MS,
  }
}
