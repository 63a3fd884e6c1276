import { closeSync, constants, fstatSync, openSync } from 'node:fs'
import { stat } from 'node:fs/promises'
import { Problems } from '../problems.ts'
import type { Predecessor } from './chain.ts'
import { readTail } from './log-tail.ts'

/** How often a file is looked for under its name, ms, while lines are written. */
export const LOOK_MS = 1000

/** The descriptor behind a sink. */
export interface Target {
  fd(): number
  /** What the file held when it was opened first. `undefined` for what is no file. */
  readonly predecessor: Predecessor | undefined
  /**
   * Opens the path again when it names another file now, or none. Call it between two lines.
   *
   * @returns whether the next line has to begin with a line break, because the file ends within a line
   * @throws when the path can no longer be opened: lines would go to a file that has no name
   */
  follow(): Promise<boolean>
  close(): void
}

/** Non-blocking: a named pipe without a reader is refused, and a full one is EAGAIN. */
const FLAGS = constants.O_APPEND | constants.O_CREAT | constants.O_NONBLOCK

/**
 * Opens `stdout`, `stderr`, or the path of a file (created with mode 0600) or named pipe.
 *
 * @throws {Problems} with the code of the error but not the path, which is the value of a setting.
 */
export function openTarget(target: string): Target {
  if (target === 'stdout') return standard(openStandard(1))
  if (target === 'stderr') return standard(openStandard(2))
  try {
    return named(target)
  } catch (error) {
    const message = `cannot be opened for appending (${codeOf(error)})`
    throw new Problems([{ field: 'MCP_AUDIT_FILE', message }])
  }
}

function named(path: string): Target {
  let opened = openNamed(path)
  let lookedMs = performance.now()
  const { tail } = opened
  let torn = tail !== undefined && tail.tornBytes > 0

  async function isMoved(): Promise<boolean> {
    const mine = fstatSync(opened.fd)
    const found = await stat(path).catch((error: unknown) => {
      if (codeOf(error) === 'ENOENT') return undefined
      throw error
    })
    return found?.ino !== mine.ino || found.dev !== mine.dev
  }

  return {
    fd: () => opened.fd,
    predecessor: tail,
    async follow() {
      const nowMs = performance.now()
      if (nowMs - lookedMs >= LOOK_MS) {
        if (await isMoved()) {
          const next = openNamed(path)
          closeSync(opened.fd)
          opened = next
          torn = next.tail !== undefined && next.tail.tornBytes > 0
        }
        lookedMs = nowMs
      }
      const wasTorn = torn
      torn = false
      return wasTorn
    },
    close: () => closeSync(opened.fd),
  }
}

/** A named pipe is opened for writing alone: with a reader of our own, nobody else would be missed. */
function openNamed(path: string): { readonly fd: number; readonly tail: Predecessor | undefined } {
  const fd = openSync(path, FLAGS | constants.O_WRONLY, 0o600)
  try {
    return { fd, tail: fstatSync(fd).isFile() ? tailOf(path) : undefined }
  } catch (error) {
    closeSync(fd)
    throw error
  }
}

function tailOf(path: string): Predecessor {
  const reader = openSync(path, 'r')
  try {
    return readTail(reader)
  } finally {
    closeSync(reader)
  }
}

function standard(fd: number): Target {
  return {
    fd: () => fd,
    predecessor: undefined,
    follow: () => Promise.resolve(false),
    close: () => {
      if (fd > 2) closeSync(fd)
    },
  }
}

/**
 * A pipe is opened a second time, to be non-blocking here only: other processes share the flags of
 * the original. A blocking write to a full pipe holds a thread that even `process.exit` waits for.
 * What is no pipe (a file, the socket of a supervisor) or belongs to another user serves as it is.
 */
function openStandard(fd: 1 | 2): number {
  try {
    if (!fstatSync(fd).isFIFO()) return fd
    return openSync(`/dev/fd/${fd}`, constants.O_WRONLY | constants.O_APPEND | constants.O_NONBLOCK)
  } catch {
    return fd
  }
}

export function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : 'unknown'
}
