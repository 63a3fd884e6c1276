// optional: tasks
import { randomBytes } from 'node:crypto'
import type { Credential } from '../../auth/strategy.ts'
import type { Clock } from '../../clock.ts'
import type { Identity } from '../../context.ts'
import type { Hold, Holds } from '../../holds.ts'
import type { Logger } from '../../log.ts'
import { ownerKey } from '../../owner-key.ts'
import type { LimitsPolicy } from '../../policy.ts'
import type { Store } from '../../stores/store.ts'
import { type RunningTask, runningTask, type TaskEnding } from './running-task.ts'
import { type TaskCommand, type TaskRecord, type TaskRecords, taskRecords } from './task-records.ts'

/** Tasks that one process works on at a time. */
const RUNNING = 1000
/** How often a client is asked to look, ms. */
export const POLL_INTERVAL_MS = 1000

/** Whose task it is, and what of the credential has to hold while it runs. */
export interface TaskOwner {
  readonly identity: Identity
  readonly credential: Credential | undefined
}

/** What a task runs with in place of what belongs to its request, which has long been answered. */
export interface TaskRun extends Pick<RunningTask, 'mcpReq' | 'ask'> {
  readonly hold: Hold
}

/**
 * Threat:  A task is read, answered or ended by somebody else; ids are guessed; a caller piles tasks
 *          up; a task outlives the rights of its caller.
 * Rule:    ids are 128 random bits and mean nothing without their owner (kind, issuer, client,
 *          subject): foreign, unknown and expired ones answer alike. An owner has a bounded number of
 *          them, and each has an end. The credential is checked while a task runs, as that of an open
 *          answer is; who may no longer use the tool cannot read its result.
 * Policy:  policies/limits.yaml `tasks`; policies/access.yaml of the tool
 * Refuses: -32602 `handler.task-not-found`
 * Source:  MCP Tasks extension (SEP-2663); OWASP ASVS 5.0 8.2.2; OWASP API1:2023
 */
export interface Tasks {
  /**
   * Begins a task and runs `work` in it.
   *
   * @returns its record, once the store has it; `undefined` when there is no room for one more
   */
  start(
    owner: TaskOwner,
    tool: string,
    limits: LimitsPolicy['tasks'],
    work: (run: TaskRun) => Promise<TaskEnding>,
  ): Promise<TaskRecord | undefined>
  get(identity: Identity, taskId: string): Promise<TaskRecord | undefined>
  /** The result of a completed task. */
  resultOf(record: TaskRecord): Promise<unknown>
  /** Tells a task that `get` has just found. */
  tell(taskId: string, command: TaskCommand): Promise<void>
}

export function createTasks(parts: {
  readonly store: Store
  readonly clock: Clock
  readonly holds: Pick<Holds, 'add'>
  readonly logger: Logger
}): Tasks {
  const { store, clock, holds, logger } = parts
  const onError = (error: unknown): void =>
    logger.error('A change of a task could not be kept', { error })
  const newId = (): string => randomBytes(16).toString('base64url')
  const records = taskRecords(store, newId)
  const running = new Map<string, RunningTask>()

  return {
    async start({ identity, credential }, tool, limits, work) {
      const owner = ownerKey(identity.principal)
      if (running.size >= RUNNING || !(await hasRoom(records, owner, limits))) return undefined
      const now = new Date().toISOString()
      const record: TaskRecord = {
        taskId: newId(),
        tool,
        status: 'working',
        createdAt: now,
        lastUpdatedAt: now,
        ttlMs: limits.ttlSeconds * 1000,
        leaseUntilMs: Date.now() + 60_000,
      }
      await records.put(owner, record)
      const isShared = store.shared !== undefined
      const task = runningTask({ records, clock, owner, record, isShared, onError })
      running.set(record.taskId, task)
      const { hold, release } =
        credential === undefined ? NOTHING_HELD : holds.add(credential, identity)
      void work({ hold, ask: task.ask, mcpReq: task.mcpReq })
        .then(task.end, (error) => {
          onError(error)
          return task.end({ failed: 'The task failed' })
        })
        .finally(() => {
          release()
          running.delete(record.taskId)
        })
      return record
    },
    async get({ principal }, taskId) {
      const record = await records.get(ownerKey(principal), taskId)
      if (record === undefined) return undefined
      const isGone = record.leaseUntilMs !== null && record.leaseUntilMs < Date.now()
      // The process that ran it did not live to say so.
      return isGone ? { ...record, status: 'failed', inputRequests: undefined } : record
    },
    resultOf: ({ taskId, pieces = 0 }) => records.getResult(taskId, pieces),
    async tell(taskId, command) {
      const task = running.get(taskId)
      if (task !== undefined) task.obey(command)
      else if (store.shared !== undefined) await records.tell(taskId, command)
    },
  }
}

/** Makes room by dropping the oldest task that has ended. @returns whether there is room now */
async function hasRoom(
  records: TaskRecords,
  owner: string,
  { perPrincipal }: LimitsPolicy['tasks'],
): Promise<boolean> {
  const all = await records.list(owner)
  if (all.length < perPrincipal) return true
  const ended = all.find(({ leaseUntilMs }) => leaseUntilMs === null || leaseUntilMs < Date.now())
  if (ended === undefined) return false
  await records.delete(owner, ended.taskId)
  return true
}

/** An anonymous caller of development has nothing that could end. */
const NOTHING_HELD: { readonly hold: Hold; readonly release: () => void } = {
  hold: { onEnd() {} },
  release() {},
}
