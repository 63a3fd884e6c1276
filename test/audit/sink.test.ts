import { execFile } from 'node:child_process'
import { mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterEach, describe, expect, it, vi } from 'vitest'
import {
  CLOSE_MS,
  LANE_LINES,
  OVERDUE_MS,
  openSink,
  type Sink,
  type SinkFault,
} from '../../src/audit/sink.ts'
import { LOOK_MS } from '../../src/audit/sink-target.ts'
import { Problems } from '../../src/problems.ts'
import { headOf, logOf } from './log.ts'
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

describe('threat: rotation, records go to a file that is compressed, deleted or never read', () => {
  /** A sink over a file, and a clock for how often it is looked for. */
  function rotating(folder: { readonly path: string }) {
    vi.useFakeTimers({ toFake: ['performance'] })
    const path = join(folder.path, 'audit.jsonl')
    const sink = openSink(path)
    return { path, sink, text: (suffix = '') => readFileSync(`${path}${suffix}`, 'utf8') }
  }
  const write = (sink: Sink, line: string): Promise<boolean> => sink.append('decision', line, true)

  it('goes on in a new file when the old one was renamed, and loses nothing', async () => {
    using folder = temporaryFolder()
    const { path, sink, text } = rotating(folder)
    await write(sink, 'one')
    renameSync(path, `${path}.1`)
    vi.advanceTimersByTime(LOOK_MS - 1)
    await write(sink, 'two')
    vi.advanceTimersByTime(1)
    await write(sink, 'three')
    await write(sink, 'four')
    await sink.close()
    expect([text('.1'), text()]).toEqual(['one\ntwo\n', 'three\nfour\n'])
    expect(statSync(path).mode & 0o777).toBe(0o600)
  })

  it.each([
    ['one that was made in its place', 'header\n', 'header\ntwo\n'],
    ['one that ends within a line', 'half', 'half\ntwo\n'],
  ])('goes on in %s', async (_name, found, left) => {
    using folder = temporaryFolder()
    const { path, sink, text } = rotating(folder)
    await write(sink, 'one')
    renameSync(path, `${path}.1`)
    writeFileSync(path, found)
    vi.advanceTimersByTime(LOOK_MS)
    await write(sink, 'two')
    await sink.close()
    expect([text('.1'), text()]).toEqual(['one\n', left])
  })

  it('loses no line under load while files are renamed', async () => {
    using folder = temporaryFolder()
    const { path, sink, text } = rotating(folder)
    const written: Promise<boolean>[] = []
    for (let round = 0; round < 5; round += 1) {
      for (let count = 0; count < 200; count += 1) {
        written.push(sink.append('bulk', `${round * 200 + count}`, true))
      }
      await written.at(-1)
      renameSync(path, `${path}.${round}`)
      vi.advanceTimersByTime(LOOK_MS)
    }
    await write(sink, '1000')
    await sink.close()
    const all = ['.0', '.1', '.2', '.3', '.4', ''].map(text).join('')
    expect(all).toBe(Array.from({ length: 1001 }, (_, index) => `${index}\n`).join(''))
    expect(new Set(await Promise.all(written))).toEqual(new Set([true]))
  })

  it('counts as broken while its folder is gone, and recovers', async () => {
    using folder = temporaryFolder()
    vi.useFakeTimers({ toFake: ['performance'] })
    const logs = join(folder.path, 'logs')
    mkdirSync(logs)
    const path = join(logs, 'audit.jsonl')
    const sink = openSink(path)
    await write(sink, 'one')
    rmSync(logs, { recursive: true })
    vi.advanceTimersByTime(LOOK_MS)
    expect(await write(sink, 'two')).toBe(false)
    mkdirSync(logs)
    await vi.waitFor(() => expect(sink.broken()).toBe(false), { timeout: 5000 })
    expect(readFileSync(path, 'utf8')).toBe('two\n')
    await sink.close()
  })
})

describe('contract: a sink that breaks says so once, and once when it works again', () => {
  it('for a full disk', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    const told: (SinkFault | undefined)[] = []
    const sink = openSink('/dev/full', (reason) => told.push(reason))
    expect(await sink.append('decision', 'one', true)).toBe(false)
    expect(await sink.append('decision', 'two', true)).toBe(false)
    await vi.advanceTimersByTimeAsync(OVERDUE_MS)
    expect(told).toEqual(['no-space'])
    const closing = sink.close()
    await vi.advanceTimersByTimeAsync(CLOSE_MS)
    await closing
  })

  it('for a reader that has gone and comes back, again and again', async () => {
    using folder = temporaryFolder()
    const path = join(folder.path, 'pipe')
    makePipe(path)
    let reader = openReader(path)
    const told: (SinkFault | undefined)[] = []
    const sink = openSink(path, (reason) => told.push(reason))
    for (const round of [1, 2]) {
      reader.close()
      expect(await sink.append('decision', `${round}`, true)).toBe(false)
      await sink.append('bulk', 'more', true)
      reader = openReader(path)
      await vi.waitFor(() => expect(sink.broken()).toBe(false))
    }
    expect(told).toEqual(['no-reader', undefined, 'no-reader', undefined])
    await sink.close()
    reader.close()
  })

  it('for a reader that stalls', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    using folder = temporaryFolder()
    const path = join(folder.path, 'pipe')
    makePipe(path)
    const reader = openReader(path)
    const told: (SinkFault | undefined)[] = []
    const sink = openSink(path, (reason) => told.push(reason))
    fill(sink)
    vi.advanceTimersByTime(OVERDUE_MS)
    expect(told).toEqual(['overdue'])
    vi.useRealTimers()
    await linesFrom(reader, 500)
    await vi.waitFor(() => expect(told).toEqual(['overdue', undefined]))
    await sink.close()
    reader.close()
  })
})

describe('contract: a file tells what stood in it, a pipe does not', () => {
  it('reads the last whole record, and how much of a line follows it', async () => {
    using folder = temporaryFolder()
    const path = join(folder.path, 'audit.jsonl')
    const log = logOf({ records: 200 })
    const lookAt = async (...parts: readonly (Buffer | string)[]): Promise<Sink['predecessor']> => {
      writeFileSync(path, Buffer.concat(parts.map((part) => Buffer.from(part))))
      const sink = openSink(path)
      await sink.close()
      return sink.predecessor
    }
    const head = headOf(log)
    expect(await lookAt()).toEqual({ head: undefined, tornBytes: 0 })
    expect(await lookAt(...log)).toEqual({ head, tornBytes: 0 })
    expect(await lookAt(...log, 'torn')).toEqual({ head, tornBytes: 4 })
    expect(await lookAt(...log, 'no record\n', '\n')).toEqual({ head, tornBytes: 0 })
    expect(await lookAt('no record\n', 'torn')).toEqual({ head: undefined, tornBytes: 4 })
    expect(await lookAt('torn')).toEqual({ head: undefined, tornBytes: 4 })
    expect(await lookAt('\n'.repeat(100_000))).toEqual({ head: undefined, tornBytes: 0 })
  })

  it('knows nothing of a pipe', async () => {
    using folder = temporaryFolder()
    const { reader, sink } = pipe(folder)
    expect('predecessor' in sink).toBe(false)
    await sink.close()
    reader.close()
  })
})
