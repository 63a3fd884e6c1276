// optional: tasks
import { once } from 'node:events'
import { expect, vi } from 'vitest'
import { z } from 'zod'
import { defineTool, type Tool, type ToolContext } from '../../../src/define.ts'
import type { Policies } from '../../../src/policy.ts'
import { TASKS_EXTENSION } from '../../../src/tasks-extension.ts'
import type { Endpoint } from '../endpoint.ts'
import { type Answer, call, request, type SendOptions, send } from '../wire.ts'

/** What a client declares that can follow a task and ask its user. */
export const FOLLOWS = {
  'io.modelcontextprotocol/clientCapabilities': {
    elicitation: { form: {} },
    extensions: { [TASKS_EXTENSION]: {} },
  },
}

/** Longer than one value of the store, and of characters that are several bytes each. */
export const LARGE = 'ä😀'.repeat(100_000)

/** Tasks that wait for the test, by name. */
export const gates = new Map<string, PromiseWithResolvers<void>>()

export function gate(name: string): PromiseWithResolvers<void> {
  const opening = gates.get(name) ?? Promise.withResolvers<void>()
  gates.set(name, opening)
  return opening
}

/** Until it is told to stop. */
async function stopped(signal: AbortSignal): Promise<never> {
  if (!signal.aborted) await once(signal, 'abort')
  throw signal.reason
}

const WAYS: Readonly<Record<string, (context: ToolContext, name: string) => Promise<string>>> = {
  answers: async () => 'done',
  waits: ({ signal }) => stopped(signal),
  ignores: () => new Promise(() => {}),
  async waitsForGate(_context, name) {
    await gate(name).promise
    return 'done'
  },
  async breaks() {
    throw new Error('CANARY of a bug')
  },
  large: async () => LARGE,
  progresses({ progress, signal }) {
    progress(3, 10, 'reading')
    return stopped(signal)
  },
  confirms: async ({ confirm }) => ((await confirm('Go on?')) ? 'agreed' : 'declined'),
  async confirmsTwice({ confirm }) {
    const both = await Promise.all([confirm('One?'), confirm('Two?')])
    return both.join()
  },
  async asksWhenItHasEnded({ confirm }) {
    void gate('late').promise.then(() => confirm('Still there?').catch(gate('refused').resolve))
    return 'done'
  },
}

/** A tool that does what its input says. */
export const job = defineTool({
  name: 'job',
  title: 'Job',
  description: 'Does what the test says.',
  annotations: {},
  input: z.strictObject({ way: z.string().max(32), name: z.string().max(32).optional() }),
  longRunning: false,
  task: 'optional',
  async run({ way, name = '' }, context) {
    const run = WAYS[way]
    if (run === undefined) throw new Error('The test has no such way')
    return [{ type: 'text', text: await run(context, name) }]
  },
})
/** Asks before it becomes a task. */
const asksFirst: Tool = { ...job, name: 'asks_first', asksFirst: true }
export const required: Tool = { ...job, name: 'required', task: 'required' }
export const CATALOG = { tools: [job, asksFirst, required] }

type At = Pick<Endpoint, 'url' | 'key'> & Endpoint

export function begin(at: At, way: string, options: SendOptions = {}, name = ''): Promise<Answer> {
  return send(at, call('modern', 'job', { way, name }, FOLLOWS), options)
}

/** Begins a task. @returns its id */
export async function started(
  at: At,
  way: string,
  options: SendOptions = {},
  name = '',
): Promise<string> {
  const { json } = await begin(at, way, options, name)
  expect(json.result).toMatchObject({ resultType: 'task', status: 'working' })
  return json.result.taskId
}

/** What a caller asks about a task. */
export function about(
  at: At,
  method: 'get' | 'update' | 'cancel',
  taskId: string,
  options: SendOptions = {},
  more: Readonly<Record<string, unknown>> = method === 'update' ? { inputResponses: {} } : {},
): Promise<Answer> {
  const headers = { 'mcp-name': taskId, ...options.headers }
  const message = request('modern', `tasks/${method}`, { taskId, ...more }, FOLLOWS)
  return send(at, message, { ...options, headers })
}

/** What its owner sees, once it has this status. */
export async function seen(
  at: At,
  taskId: string,
  status: string,
  options: SendOptions = {},
): Promise<Answer['json']> {
  let task: Answer['json']
  await until(async () => {
    task = (await about(at, 'get', taskId, options)).json.result
    return task?.status === status
  })
  return task
}

export async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  await vi.waitUntil(holds, { timeout: 10_000, interval: 10 })
}

/** Policies with these bounds of tasks. */
export function bounds(tasks: Policies['limits']['tasks']) {
  return (shipped: Policies): Policies => ({ ...shipped, limits: { ...shipped.limits, tasks } })
}
