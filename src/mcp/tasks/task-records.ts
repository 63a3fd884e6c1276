// optional: tasks
import { z } from 'zod'
import { SPACE_KEYS, type Store, VALUE_BYTES } from '../../stores/store.ts'

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

/** How long a command waits for its process, seconds. */
const COMMAND_SECONDS = 60

export interface TaskRecords {
  /** @returns the record, or `undefined` when this owner has none of that id, or it has expired */
  get(owner: string, taskId: string): Promise<TaskRecord | undefined>
  put(owner: string, record: TaskRecord): Promise<void>
  /** Forgets a task and its result. */
  delete(owner: string, record: TaskRecord): Promise<void>
  /** Tasks of an owner, oldest first. */
  list(owner: string): Promise<readonly TaskRecord[]>
  /**
   * Keeps a result.
   *
   * @returns its number of pieces
   * @throws {RangeError} when they are more than a space of the store holds: about 19 MB of JSON
   */
  putResult(taskId: string, result: unknown, ttlSeconds: number): Promise<number>
  /** @returns `undefined` when the store has not all of it any more */
  getResult(record: TaskRecord): Promise<Readonly<Record<string, unknown>> | undefined>
  tell(taskId: string, command: TaskCommand): Promise<void>
  /** What was told since the last time, in any order. */
  told(taskId: string): Promise<readonly TaskCommand[]>
}

const resultText = z.record(z.string(), z.unknown())

/** Keys of the pieces of a result, in order. */
function piecesOf(count = 0): readonly string[] {
  return Array.from({ length: count }, (_, index) => String(index))
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
    async delete(owner, { taskId, pieces }) {
      await store.delete(spaceOf(owner), taskId)
      for (const piece of piecesOf(pieces)) await store.delete(resultOf(taskId), piece)
    },
    async list(owner) {
      const ids = await store.list(spaceOf(owner))
      const records = await Promise.all(ids.map((taskId) => get(owner, taskId)))
      return records
        .filter((record) => record !== undefined)
        .toSorted((one, other) => Date.parse(one.createdAt) - Date.parse(other.createdAt))
    },
    async putResult(taskId, result, ttlSeconds) {
      // In base64 a piece has as many bytes as characters, and ends inside none.
      const text = Buffer.from(JSON.stringify(result)).toString('base64')
      const pieces = Math.ceil(text.length / VALUE_BYTES)
      if (pieces > SPACE_KEYS) throw new RangeError(`A result has at most ${SPACE_KEYS} pieces`)
      for (const [index, piece] of piecesOf(pieces).entries()) {
        const part = text.slice(index * VALUE_BYTES, (index + 1) * VALUE_BYTES)
        await store.put(resultOf(taskId), piece, part, ttlSeconds)
      }
      return pieces
    },
    async getResult({ taskId, pieces }) {
      const all = piecesOf(pieces).map((piece) => store.get(resultOf(taskId), piece))
      const parts = await Promise.all(all)
      if (parts.length === 0 || parts.includes(undefined)) return undefined
      return resultText.parse(JSON.parse(Buffer.from(parts.join(''), 'base64').toString()))
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
