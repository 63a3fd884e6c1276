import { execFile } from 'node:child_process'
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { CLOSE_MS, LANE_LINES, OVERDUE_MS, openSink, type Sink } from '../../src/audit/sink.ts'
import { Problems } from '../../src/problems.ts'
import { makePipe, openReader, type Reader, temporaryFolder } from './pipe.ts'

const LINE = 'x'.repeat(1000)
const SOURCE = new URL('../../src/audit/sink.ts', import.meta.url).href

afterEach(() => {
  vi.useRealTimers()
})

/** Appends numbered lines until the pipe is full and a few hundred wait. */
function fill(sink: Sink, count = 500): readonly Promise<boolean>[] {
  return Array.from({ length: count }, (_, index) => sink.append('bulk', `${index} ${LINE}`, true))
}

/** Reads until the text has so many lines. */
async function linesFrom(reader: Reader, count: number): Promise<readonly string[]> {
  let text = ''
  await vi.waitFor(
    () => {
      text += reader.read()
      expect(text.split('\n').length - 1).toBe(count)
    },
    { timeout: 5000, interval: 1 },
  )
  return text.split('\n').slice(0, -1)
}

function pipe(folder: { readonly path: string }): { path: string; reader: Reader; sink: Sink } {
  const path = join(folder.path, 'pipe')
  makePipe(path)
  const reader = openReader(path)
  return { path, reader, sink: openSink(path) }
}

describe('contract: lines reach the sink whole and in order', () => {
  it('appends to a file that only its owner reads', async () => {
    using folder = temporaryFolder()
    const path = join(folder.path, 'audit.jsonl')
    for (const line of ['one', 'two']) {
      const sink = openSink(path)
      expect(await sink.append('decision', line, true)).toBe(true)
      await sink.close()
    }
    expect(readFileSync(path, 'utf8')).toBe('one\ntwo\n')
    expect(statSync(path).mode & 0o777).toBe(0o600)
  })

  it('writes what nobody waits for as well, soon', async () => {
    using folder = temporaryFolder()
    const sink = openSink(join(folder.path, 'audit.jsonl'))
    expect(await sink.append('bulk', 'one', false)).toBe(true)
    await sink.close()
  })

  it('does not let a line that somebody waits for wait for others', async () => {
    using folder = temporaryFolder()
    vi.useFakeTimers({ toFake: ['setTimeout'] })
    const sink = openSink(join(folder.path, 'audit.jsonl'))
    const gathering = sink.append('bulk', 'one', false)
    expect(await sink.append('decision', 'two', true)).toBe(true)
    expect(await gathering).toBe(true)
    vi.useRealTimers()
    await sink.close()
    expect(readFileSync(join(folder.path, 'audit.jsonl'), 'utf8')).toBe('one\ntwo\n')
  })

  it('starts a line of its own where a killed process left half a line', async () => {
    using folder = temporaryFolder()
    const path = join(folder.path, 'audit.jsonl')
    writeFileSync(path, 'whole\nha')
    const sink = openSink(path)
    sink.append('bulk', 'next', true)
    await sink.close()
    expect(readFileSync(path, 'utf8')).toBe('whole\nha\nnext\n')
  })

  it('keeps the order of both lanes through a pipe that takes them in parts', async () => {
    using folder = temporaryFolder()
    const { reader, sink } = pipe(folder)
    const written = Array.from({ length: 2000 }, (_, index) =>
      sink.append(index % 2 === 0 ? 'bulk' : 'decision', `${index} ${LINE}`, true),
    )
    const lines = await linesFrom(reader, 2000)
    expect(lines).toEqual(written.map((_, index) => `${index} ${LINE}`))
    expect(new Set(await Promise.all(written))).toEqual(new Set([true]))
    expect(sink.broken()).toBe(false)
    await sink.close()
    reader.close()
  })

  it('writes what is queued when it closes, and takes nothing more', async () => {
    using folder = temporaryFolder()
    const path = join(folder.path, 'audit.jsonl')
    const sink = openSink(path)
    fill(sink)
    const closing = sink.close()
    expect(sink.hasRoom('decision')).toBe(false)
    await closing
    await sink.close()
    expect(readFileSync(path, 'utf8').split('\n').length).toBe(501)
  })

  it('leaves the offset of a shared standard output alone', async () => {
    using folder = temporaryFolder()
    const path = join(folder.path, 'out')
    const script = `import { openSink } from '${SOURCE}'
      const sink = openSink('stdout')
      await sink.append('decision', 'one', true)
      await sink.close()`
    const shell = '("$0" --input-type=module -e "$1"; echo two) > "$2"'
    await promisify(execFile)('sh', ['-c', shell, process.execPath, script, path])
    expect(readFileSync(path, 'utf8')).toBe('one\ntwo\n')
  })
})

describe('threat: a sink that cannot be written, actions go on that nobody can account for', () => {
  it.each([
    ['a folder', 'folder', 'EISDIR'],
    ['a file in a folder that does not exist', 'none/audit.jsonl', 'ENOENT'],
    ['a file below a file', 'file/audit.jsonl', 'ENOTDIR'],
    ['a named pipe that nobody reads', 'pipe', 'ENXIO'],
  ])('refuses %s at the start', (_name, target, code) => {
    using folder = temporaryFolder()
    mkdirSync(join(folder.path, 'folder'))
    writeFileSync(join(folder.path, 'file'), '')
    makePipe(join(folder.path, 'pipe'))
    const field = 'MCP_AUDIT_FILE'
    const message = `cannot be opened for appending (${code})`
    expect(() => openSink(join(folder.path, target))).toThrow(new Problems([{ field, message }]))
  })

  it('says so when the disk is full, again and again, and still closes', async () => {
    const sink = openSink('/dev/full')
    expect(await sink.append('decision', 'one', true)).toBe(false)
    expect(sink.broken()).toBe(true)
    expect(await sink.append('decision', 'two', true)).toBe(false)
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    const closing = sink.close()
    await vi.advanceTimersByTimeAsync(CLOSE_MS)
    await closing
  })

  it('says so when the reader has gone, and recovers without loss when one comes', async () => {
    using folder = temporaryFolder()
    const { path, reader, sink } = pipe(folder)
    expect(await sink.append('decision', 'one', true)).toBe(true)
    expect(reader.read()).toBe('one\n')
    reader.close()
    const during = [sink.append('decision', 'two', true), sink.append('bulk', 'three', true)]
    expect(await Promise.all(during)).toEqual([false, false])
    expect(await sink.append('decision', 'four', true)).toBe(false)
    expect(sink.broken()).toBe(true)

    const next = openReader(path)
    expect(await linesFrom(next, 3)).toEqual(['two', 'three', 'four'])
    expect(sink.broken()).toBe(false)
    expect(await sink.append('decision', 'five', true)).toBe(true)
    expect(next.read()).toBe('five\n')
    await sink.close()
    next.close()
  })

  it('says so when the reader stalls, and recovers without loss when it goes on', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    using folder = temporaryFolder()
    const { reader, sink } = pipe(folder)
    const stalled = fill(sink)
    vi.advanceTimersByTime(OVERDUE_MS - 1)
    expect(sink.broken()).toBe(false)
    vi.advanceTimersByTime(1)
    expect(sink.broken()).toBe(true)
    expect(await stalled.at(-1)).toBe(false)
    vi.useRealTimers()

    expect(await linesFrom(reader, 500)).toHaveLength(500)
    await vi.waitFor(() => expect(sink.broken()).toBe(false))
    expect(await sink.append('decision', 'next', true)).toBe(true)
    await sink.close()
    reader.close()
  })
})

describe('threat: a flood of refused requests, it pushes decisions out or takes the memory', () => {
  it('bounds each lane by itself', async () => {
    using folder = temporaryFolder()
    const { reader, sink } = pipe(folder)
    let accepted = 0
    while (sink.hasRoom('bulk') && accepted < 2 * LANE_LINES) {
      sink.append('bulk', LINE, true)
      accepted += 1
    }
    expect(accepted).toBe(LANE_LINES)
    expect(sink.hasRoom('decision')).toBe(true)
    sink.append('decision', 'decision', true)
    expect(sink.hasRoom('decision')).toBe(true)

    const lines = await linesFrom(reader, LANE_LINES + 1)
    expect(lines.at(-1)).toBe('decision')
    await vi.waitFor(() => expect(sink.hasRoom('bulk')).toBe(true))
    await sink.close()
    reader.close()
  })
})

describe('threat: a stalled reader of standard output, the process cannot be stopped', () => {
  it('closes in bounded time and exits', async () => {
    using folder = temporaryFolder()
    const script = `import { openSink } from '${SOURCE}'
      const sink = openSink('stdout')
      for (let count = 0; count < 500; count += 1) sink.append('bulk', '${LINE}', true)
      await sink.close()
      process.exit(3)`
    // The shell makes a pipe (Node would make a socket) whose reader waits for the exit code.
    const shell = `{ "$0" --input-type=module -e "$1"; echo $? > code; } |
      while [ ! -s code ]; do sleep 0.1; done`
    await promisify(execFile)('sh', ['-c', shell, process.execPath, script], {
      cwd: folder.path,
      timeout: CLOSE_MS + 5000,
    })
    expect(readFileSync(join(folder.path, 'code'), 'utf8')).toBe('3\n')
  })
})
