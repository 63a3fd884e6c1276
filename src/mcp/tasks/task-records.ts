// optional: tasks
import { z } from 'zod'
import { type Store, VALUE_BYTES } from '../../stores/store.ts'

/** What is known of a task, as the store keeps it: for its owner alone, and with an end. */
const taskRecord = z.object({
  taskId: z.string(),
  /** Name of the tool. Whoever may no longer use it, cannot read what it made. */
  tool: z.string(),
  status: z.enum(['working', 'input_required', 'completed', 'failed', 'cancelled']),
  statusMessage: z.string().optional(),
  createdAt: z.string(),
  lastUpdatedAt: z.string(),
  ttlMs: z.number(),
  /** What the tool asks, by the names of the questions. */
  inputRequests: z.record(z.string(), z.unknown()).optional(),
  /** When the process that runs it counts as gone, ms since the epoch; `null` once it has ended. */
  leaseUntilMs: z.number().nullable(),
  /** Pieces of its result, which may be larger than one value of the store. */
  pieces: z.number().optional(),
})

export type TaskRecord = z.output<typeof taskRecord>

/** What a caller tells a task that may run in another process. */
const command = z.union([
  z.object({ cancel: z.literal(true) }),
  z.object({ inputResponses: z.record(z.string(), z.unknown()) }),
])

export type TaskCommand = z.output<typeof command>

/** Characters of one piece of a result: 4 bytes each at most. */
const PIECE_LENGTH = VALUE_BYTES / 4
/** How long a command waits for its process, seconds. */
const COMMAND_SECONDS = 60

export interface TaskRecords {
  /** @returns the record, or `undefined` when this owner has none of that id, or it has expired */
  get(owner: string, taskId: string): Promise<TaskRecord | undefined>
  put(owner: string, record: TaskRecord): Promise<void>
  delete(owner: string, taskId: string): Promise<void>
  /** Tasks of an owner, oldest first. */
  list(owner: string): Promise<readonly TaskRecord[]>
  /** Keeps a result. @returns its number of pieces */
  putResult(taskId: string, result: unknown, ttlSeconds: number): Promise<number>
  getResult(taskId: string, pieces: number): Promise<unknown>
  tell(taskId: string, command: TaskCommand): Promise<void>
  /** What was told since the last time, in any order. */
  told(taskId: string): Promise<readonly TaskCommand[]>
}

export function taskRecords(store: Store, newKey: () => string): TaskRecords {
  const spaceOf = (owner: string): string => `tasks.${owner}`
  const resultOf = (taskId: string): string => `task-result.${taskId}`
  const commandsOf = (taskId: string): string => `task-commands.${taskId}`

  async function get(owner: string, taskId: string): Promise<TaskRecord | undefined> {
    const text = await store.get(spaceOf(owner), taskId)
    return text === undefined ? undefined : taskRecord.parse(JSON.parse(text))
  }

  return {
    get,
    async put(owner, record) {
      const leftMs = Date.parse(record.createdAt) + record.ttlMs - Date.now()
      if (leftMs <= 0) return
      const text = JSON.stringify(record)
      await store.put(spaceOf(owner), record.taskId, text, Math.ceil(leftMs / 1000))
    },
    async delete(owner, taskId) {
      await store.delete(spaceOf(owner), taskId)
    },
    async list(owner) {
      const ids = await store.list(spaceOf(owner))
      const records = await Promise.all(ids.map((taskId) => get(owner, taskId)))
      return records.filter((record) => record !== undefined)
    },
    async putResult(taskId, result, ttlSeconds) {
      const text = JSON.stringify(result)
      const pieces = Math.ceil(text.length / PIECE_LENGTH)
      for (let index = 0; index < pieces; index += 1) {
        const piece = text.slice(index * PIECE_LENGTH, (index + 1) * PIECE_LENGTH)
        await store.put(resultOf(taskId), String(index), piece, ttlSeconds)
      }
      return pieces
    },
    async getResult(taskId, pieces) {
      const indexes = Array.from({ length: pieces }, (_, index) => String(index))
      const texts = await Promise.all(indexes.map((key) => store.get(resultOf(taskId), key)))
      return JSON.parse(texts.join(''))
    },
    async tell(taskId, told) {
      const text = JSON.stringify(told)
      await store.put(commandsOf(taskId), newKey(), text, COMMAND_SECONDS)
    },
    async told(taskId) {
      const space = commandsOf(taskId)
      const commands: TaskCommand[] = []
      for (const key of await store.list(space)) {
        const text = await store.get(space, key)
        await store.delete(space, key)
        if (text !== undefined) commands.push(command.parse(JSON.parse(text)))
      }
      return commands
    },
  }
}
