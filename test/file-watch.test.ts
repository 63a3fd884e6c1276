import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { filesDigest, watchFiles } from '../src/file-watch.ts'
import { testClock } from './clock.ts'

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), 'gatehouse-watch-'))
  onTestFinished(() => rmSync(path, { recursive: true }))
  return path
}

/** Lets what a change has started come to its end. */
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

function watching(paths: readonly string[], dealWith = async (): Promise<void> => {}) {
  const clock = testClock()
  let changes = 0
  const now = (): string => filesDigest(paths)
  let known = now()
  const stop = watchFiles({ now, known: () => known }, clock, async () => {
    changes += 1
    known = now()
    await dealWith()
  })
  return {
    clock,
    stop,
    /** Lets the time pass within which a change has to be seen. @returns how many were */
    async afterFiveSeconds(): Promise<number> {
      for (let second = 0; second < 5; second += 1) {
        clock.advance(1000)
        await settled()
      }
      return changes
    },
  }
}

describe('threat: a key is revoked in the file, the server does not notice', () => {
  it('sees a change within five seconds, once', async () => {
    const file = join(folder(), 'keys.json')
    writeFileSync(file, 'one')
    const { afterFiveSeconds } = watching([file])
    expect(await afterFiveSeconds()).toBe(0)
    writeFileSync(file, 'two')
    expect(await afterFiveSeconds()).toBe(1)
    expect(await afterFiveSeconds()).toBe(1)
    writeFileSync(file, 'one')
    expect(await afterFiveSeconds()).toBe(2)
  })

  it('sees a link that is swapped, as Kubernetes does it', async () => {
    const path = folder()
    for (const name of ['old', 'new']) {
      mkdirSync(join(path, name))
      writeFileSync(join(path, name, 'keys.json'), name)
    }
    symlinkSync('old', join(path, '..data'))
    symlinkSync('..data/keys.json', join(path, 'keys.json'))
    const { afterFiveSeconds } = watching([join(path, 'keys.json')])
    symlinkSync('new', join(path, '..tmp'))
    renameSync(join(path, '..tmp'), join(path, '..data'))
    expect(await afterFiveSeconds()).toBe(1)
  })

  it('sees a file that goes and comes back', async () => {
    const file = join(folder(), 'keys.json')
    writeFileSync(file, 'one')
    const { afterFiveSeconds } = watching([file])
    rmSync(file)
    expect(await afterFiveSeconds()).toBe(1)
    writeFileSync(file, 'one')
    expect(await afterFiveSeconds()).toBe(2)
  })

  it('goes on after a change that could not be dealt with', async () => {
    const file = join(folder(), 'keys.json')
    const failed = vi.fn()
    process.once('unhandledRejection', failed)
    onTestFinished(() => void process.off('unhandledRejection', failed))
    const { afterFiveSeconds } = watching([file], () => Promise.reject(new Error('bug')))
    writeFileSync(file, 'one')
    expect(await afterFiveSeconds()).toBe(1)
    writeFileSync(file, 'two')
    process.once('unhandledRejection', failed)
    expect(await afterFiveSeconds()).toBe(2)
    expect(failed).toHaveBeenCalledTimes(2)
  })

  it('sees which file has what: contents that change places are a change', () => {
    const path = folder()
    const [first, second] = [join(path, 'a'), join(path, 'b')]
    writeFileSync(first, 'one')
    writeFileSync(second, 'two')
    expect(filesDigest([first, second])).not.toBe(filesDigest([second, first]))
    expect(filesDigest([first, join(path, 'none')])).not.toBe(filesDigest([first]))
  })
})

describe('contract: the watch', () => {
  it('ends when it is told to', async () => {
    const { clock, stop } = watching([join(folder(), 'none')])
    expect(clock.pending()).toBe(1)
    stop()
    expect(clock.pending()).toBe(0)
  })

  it('does not begin again when it is ended while a change is dealt with', async () => {
    const file = join(folder(), 'keys.json')
    const dealt = Promise.withResolvers<void>()
    const { clock, stop } = watching([file], () => dealt.promise)
    writeFileSync(file, 'one')
    clock.advance(5000)
    stop()
    dealt.resolve()
    await settled()
    expect(clock.pending()).toBe(0)
  })
})
