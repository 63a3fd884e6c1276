// optional: tasks
import type { InputRequests, InputResponses, ServerContext } from '@modelcontextprotocol/server'
import type { Clock } from '../../clock.ts'
import { ToolError } from '../../define.ts'
import type { Ask } from '../asking.ts'
import type { TaskCommand, TaskRecord, TaskRecords } from './task-records.ts'

/** How long a process that says nothing of a task counts as alive, ms. */
export const LEASE_MS = 60_000
/** How often it says so, and how often changes of progress are kept, ms. */
const RENEW_MS = 10_000
const PROGRESS_MS = 1000
const MESSAGE_LENGTH = 1024

/** What the call answered; or that it broke, in words for the caller. */
export type TaskEnding = { readonly result: unknown } | { readonly failed: string }

/** A task whose work goes on in this process. It alone writes the record. */
export interface RunningTask {
  readonly signal: AbortSignal
  readonly ask: Ask
  /** Takes the place of what sends notifications to a caller who waits. */
  readonly mcpReq: Pick<ServerContext['mcpReq'], 'signal' | 'notify' | 'log'>
  obey(command: TaskCommand): void
  end(ending: TaskEnding): Promise<void>
}

export interface RunningTaskParts {
  readonly records: TaskRecords
  readonly clock: Clock
  readonly owner: string
  readonly record: TaskRecord
  /** Whether commands may come from other processes. */
  readonly isShared: boolean
  /** Hears of a store that could not keep a change: the task goes on. */
  readonly onError: (error: unknown) => void
}

export function runningTask(parts: RunningTaskParts): RunningTask {
  const { records, clock, owner, isShared, onError } = parts
  const { taskId } = parts.record
  const aborting = new AbortController()
  const waiting = new Map<string, (response: unknown) => void>()
  let record = parts.record
  let cancelled = false
  let asked = 0
  let written = Promise.resolve()
  let stopped = false

  /** Changes follow each other, so that an older one never overwrites a newer one. */
  function keep(changes: Partial<TaskRecord>): Promise<void> {
    record = { ...record, ...changes }
    const snapshot = record
    written = written.then(() => records.put(owner, snapshot)).catch(onError)
    return written
  }

  function renew(changes: Partial<TaskRecord> = {}): Promise<void> {
    // A task that has ended stays as it is, whatever its tool still does.
    return stopped ? written : keep({ ...changes, leaseUntilMs: Date.now() + LEASE_MS })
  }

  function change(changes: Partial<TaskRecord>): Promise<void> {
    return renew({ ...changes, lastUpdatedAt: new Date().toISOString() })
  }

  function obey(command: TaskCommand): void {
    if ('cancel' in command) {
      cancelled = true
      aborting.abort()
      return
    }
    for (const [name, response] of Object.entries(command.inputResponses)) {
      waiting.get(name)?.(response) // What was never asked, or is answered, is ignored.
      waiting.delete(name)
    }
    if (record.status === 'input_required') void change(standing())
  }

  /** The status that follows from the questions that are open. */
  function standing(): Partial<TaskRecord> {
    const open = Object.entries(record.inputRequests ?? {}).filter(([name]) => waiting.has(name))
    return open.length === 0
      ? { status: 'working', inputRequests: undefined }
      : { status: 'input_required', inputRequests: Object.fromEntries(open) }
  }

  async function ask(
    requests: InputRequests,
    _ctx: ServerContext,
    signal: AbortSignal,
  ): Promise<InputResponses> {
    signal.throwIfAborted()
    if (stopped) throw new ToolError('The task has ended.')
    asked += 1
    // A name is never used for two questions of a task.
    const names = Object.keys(requests).map((name) => [name, `${name}-${asked}`] as const)
    const gone = Promise.withResolvers<never>()
    const leave = (): void => gone.reject(signal.reason)
    signal.addEventListener('abort', leave, { once: true })
    const answers = names.map(async ([name, key]) => {
      const answer = Promise.withResolvers<unknown>()
      waiting.set(key, answer.resolve)
      return [name, await answer.promise]
    })
    try {
      const added = Object.fromEntries(names.map(([name, key]) => [key, requests[name]]))
      // A tool may ask several things at a time.
      const inputRequests = { ...record.inputRequests, ...added }
      void change({ status: 'input_required', inputRequests })
      return Object.fromEntries(await Promise.race([Promise.all(answers), gone.promise]))
    } finally {
      signal.removeEventListener('abort', leave)
      for (const [, key] of names) waiting.delete(key)
    }
  }

  let cancelTimer = (): void => undefined
  function repeat(ms: number, act: () => void): void {
    if (stopped) return
    cancelTimer = clock.after(ms, () => {
      act()
      repeat(ms, act)
    })
  }
  let renewedMs = clock.now()
  repeat(isShared ? PROGRESS_MS : RENEW_MS, () => {
    if (isShared) records.told(taskId).then((all) => all.forEach(obey), onError)
    if (clock.now() - renewedMs < RENEW_MS) return
    renewedMs = clock.now()
    void renew()
  })

  let keptMs = Number.NEGATIVE_INFINITY
  return {
    signal: aborting.signal,
    ask,
    obey,
    mcpReq: {
      signal: aborting.signal,
      async notify({ method, params }) {
        if (method !== 'notifications/progress') return
        const statusMessage = messageOf(params)
        if (statusMessage === undefined || clock.now() - keptMs < PROGRESS_MS) return
        keptMs = clock.now()
        await change({ statusMessage })
      },
      async log() {
        // Log notifications are not sent for tasks (Tasks, Task Status Notifications).
      },
    },
    async end(ending) {
      stopped = true
      cancelTimer()
      waiting.clear()
      const over = {
        leaseUntilMs: null,
        inputRequests: undefined,
        statusMessage: undefined,
        lastUpdatedAt: new Date().toISOString(),
      }
      if (cancelled) return keep({ ...over, status: 'cancelled' })
      if ('failed' in ending) {
        return keep({ ...over, status: 'failed', statusMessage: ending.failed })
      }
      const leftMs = Date.parse(record.createdAt) + record.ttlMs - Date.now()
      const ttlSeconds = Math.max(1, Math.ceil(leftMs / 1000))
      try {
        const pieces = await records.putResult(taskId, ending.result, ttlSeconds)
        await keep({ ...over, status: 'completed', pieces })
      } catch (error) {
        onError(error)
        await keep({ ...over, status: 'failed', statusMessage: 'The result could not be kept' })
      }
    },
  }
}

/** `3/10: name`, of what a progress notification says. */
function messageOf(params: unknown): string | undefined {
  if (typeof params !== 'object' || params === null) return undefined
  const { progress, total, message } = { progress: 0, total: undefined, message: '', ...params }
  const count = total === undefined ? String(progress) : `${progress}/${total}`
  return (message === '' ? count : `${count}: ${message}`).slice(0, MESSAGE_LENGTH)
}
