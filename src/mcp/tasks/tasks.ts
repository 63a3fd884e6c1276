// optional: tasks
import { randomBytes } from 'node:crypto'
import type { Clock } from '../../clock.ts'
import type { Identity } from '../../context.ts'
import type { Logger } from '../../log.ts'
import { ownerKey } from '../../owner-key.ts'
import type { Store } from '../../stores/store.ts'
import { LEASE_MS, type RunningTask, runningTask, type TaskEnding } from './running-task.ts'
import { type TaskCommand, type TaskRecord, type TaskRecords, taskRecords } from './task-records.ts'

/** Tasks that one process works on at a time. */
const RUNNING = 1000
/** How often a client is asked to look, ms. */
export const POLL_INTERVAL_MS = 1000

/** What a task runs with in place of what belongs to its request, which has long been answered. */
export type TaskRun = Pick<RunningTask, 'mcpReq' | 'ask'>

export interface TaskBounds {
  /** Tasks of one owner that are kept at a time. */
  readonly perPrincipal: number
  /** How long the task is kept, from its creation, ms. */
  readonly ttlMs: number
}

export interface StartedTask {
  readonly record: TaskRecord
  /** Resolves when the task has ended and the store knows. */
  readonly ended: Promise<void>
}

/**
 * Threat:  A task is read, answered or ended by somebody else; ids are guessed; a caller piles tasks
 *          up; a task outlives the rights of its caller.
 * Rule:    ids are 128 random bits and mean nothing without their owner (kind, issuer, client,
 *          subject): foreign, unknown and expired ones answer alike. An owner has a bounded number of
 *          them, the oldest one that has ended makes room, and each has an end. While a task runs its
 *          credential is checked and its slots are held, as those of an open answer are; who may no
 *          longer use the tool cannot read its result. Processes that share a store begin tasks of
 *          one owner side by side: for a moment it may have one more in each of them.
 * Policy:  policies/limits.yaml `tasks`; policies/access.yaml of the tool
 * Refuses: -32602 `handler.task-not-found`
 * Source:  MCP Tasks extension (SEP-2663); OWASP ASVS 5.0 8.2.2; OWASP API1:2023
 */
export interface Tasks {
  /**
   * Begins a task and runs `work` in it.
   *
   * @returns the task, once the store has it; `undefined` when there is no room for one more
   */
  start(
    identity: Identity,
    tool: string,
    bounds: TaskBounds,
    work: (run: TaskRun) => Promise<TaskEnding>,
  ): Promise<StartedTask | undefined>
  get(identity: Identity, taskId: string): Promise<TaskRecord | undefined>
  /** @returns the result of a completed task; `undefined` when the store has lost it */
  resultOf(record: TaskRecord): Promise<Readonly<Record<string, unknown>> | undefined>
  /** Tells a task that `get` has just found. */
  tell(taskId: string, command: TaskCommand): Promise<void>
  /** Resolves when the tasks that run here have ended and the store knows. */
  idle(): Promise<void>
}

export function createTasks(parts: {
  readonly store: Store
  readonly clock: Clock
  readonly logger: Logger
}): Tasks {
  const { store, clock, logger } = parts
  const onError = (error: unknown): void =>
    logger.error('A change of a task could not be kept', { error })
  const newId = (): string => randomBytes(16).toString('base64url')
  const records = taskRecords(store, newId)
  const running = new Map<string, { readonly task: RunningTask; readonly ended: Promise<void> }>()
  const inTurn = turns()

  return {
    start({ principal }, tool, { ttlMs, perPrincipal }, work) {
      const owner = ownerKey(principal)
      return inTurn(owner, async () => {
        const isFull = running.size >= RUNNING
        if (isFull || !(await hasRoom(records, owner, perPrincipal))) return undefined
        const now = new Date()
        const times = { createdAt: now.toISOString(), lastUpdatedAt: now.toISOString(), ttlMs }
        const leaseUntilMs = now.getTime() + LEASE_MS
        const record: TaskRecord = {
          ...{ taskId: newId(), tool, status: 'working', leaseUntilMs },
          ...times,
        }
        await records.put(owner, record)
        const isShared = store.shared !== undefined
        const task = runningTask({ records, clock, owner, record, isShared, onError })
        const ended = work(task)
          .catch((error: unknown): TaskEnding => {
            onError(error)
            return { failed: 'The task failed' }
          })
          .then(task.end)
          .finally(() => running.delete(record.taskId))
        running.set(record.taskId, { task, ended })
        return { record, ended }
      })
    },
    async get({ principal }, taskId) {
      const record = await records.get(ownerKey(principal), taskId)
      if (record === undefined) return undefined
      if (!isLost(record)) return record
      // The process that ran it did not live to say so.
      const statusMessage = 'The task was lost with its process'
      return { ...record, status: 'failed', statusMessage, inputRequests: undefined }
    },
    resultOf: records.getResult,
    async tell(taskId, command) {
      const here = running.get(taskId)
      if (here !== undefined) here.task.obey(command)
      else if (store.shared !== undefined) await records.tell(taskId, command)
    },
    async idle() {
      await Promise.all([...running.values()].map(({ ended }) => ended))
    },
  }
}

function isLost({ leaseUntilMs }: TaskRecord): boolean {
  return leaseUntilMs !== null && leaseUntilMs < Date.now()
}

/** Makes room by dropping the oldest tasks that have ended. @returns whether there is room now */
async function hasRoom(
  records: TaskRecords,
  owner: string,
  perPrincipal: number,
): Promise<boolean> {
  const all = await records.list(owner)
  const over = all.filter((record) => record.leaseUntilMs === null || isLost(record))
  if (all.length - over.length >= perPrincipal) return false
  const tooMany = Math.max(0, all.length + 1 - perPrincipal)
  for (const record of over.slice(0, tooMany)) await records.delete(owner, record)
  return true
}

/** Lets one after the other do something that nobody else may do meanwhile, by owner. */
function turns(): <Value>(owner: string, act: () => Promise<Value>) => Promise<Value> {
  const last = new Map<string, Promise<unknown>>()
  return async function inTurn(owner, act) {
    const mine = (last.get(owner) ?? Promise.resolve()).then(act, act)
    last.set(owner, mine)
    try {
      return await mine
    } finally {
      if (last.get(owner) === mine) last.delete(owner)
    }
  }
}
