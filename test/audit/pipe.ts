import { execFileSync } from 'node:child_process'
import { closeSync, constants, mkdtempSync, openSync, readSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** A folder that is gone at the end of the scope. */
export function temporaryFolder(): { readonly path: string } & Disposable {
  const path = mkdtempSync(join(tmpdir(), 'gatehouse-'))
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true }) }
}

/** The reading end of a named pipe, which never blocks. */
export interface Reader {
  /** What is in the pipe now. */
  read(): string
  close(): void
}

export function makePipe(path: string): void {
  execFileSync('sh', ['-c', 'mkfifo "$0"', path])
}

export function openReader(path: string): Reader {
  const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
  const chunk = Buffer.alloc(65_536)
  return {
    read() {
      let text = ''
      for (;;) {
        const bytes = readOrNone(fd, chunk)
        if (bytes === 0) return text
        text += chunk.toString('latin1', 0, bytes)
      }
    },
    close: () => closeSync(fd),
  }
}

function readOrNone(fd: number, chunk: Buffer): number {
  try {
    return readSync(fd, chunk)
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EAGAIN') return 0
    throw error
  }
}
