import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { rmSync, statfsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'vitest'
import { temporaryFolder } from '../audit/pipe.ts'
import { FAULT_TIMEOUT_MS } from './load.ts'

/** A real file system of 16 MB in memory. It is gone when this process ends, however it ends. */
export interface SmallDisk extends AsyncDisposable {
  readonly path: string
  /** Takes all that is free but for so many bytes. */
  fill(exceptBytes: number): void
  /** Gives it back. */
  free(): void
}

/** In a mount namespace of its own, so that it needs no rights here and leaves nothing behind. */
const NAMESPACE = ['--user', '--map-root-user', '--mount']
const MOUNT = 'mount -t tmpfs -o size=16m,mode=0777 none "$0" && echo mounted && exec cat'
const MISSING = 'a tmpfs cannot be mounted in a user namespace: unshare -rm mount -t tmpfs none DIR'

export const canMakeSmallDisk = (() => {
  using folder = temporaryFolder()
  const { stdout } = spawnSync('unshare', [...NAMESPACE, 'sh', '-c', MOUNT, folder.path], {
    encoding: 'utf8',
    input: '',
  })
  return stdout === 'mounted\n'
})()

/**
 * A `describe` of tests that need a small disk. Where none can be made they fail by name in CI, and
 * are skipped elsewhere with the reason in their name.
 */
export function describeSmallDisk(name: string, tests: () => void): void {
  if (canMakeSmallDisk) describe(name, { timeout: FAULT_TIMEOUT_MS }, tests)
  else if (process.env['CI'] === undefined) describe.skip(`${name} (${MISSING})`, tests)
  else
    describe(name, () => {
      it('runs on a real small disk', () => {
        throw new Error(MISSING)
      })
    })
}

export async function smallDisk(): Promise<SmallDisk> {
  const folder = temporaryFolder()
  const holder = spawn('unshare', [...NAMESPACE, 'sh', '-c', MOUNT, folder.path], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  await once(holder.stdout, 'data')
  const path = `/proc/${holder.pid}/root${folder.path}`
  const ballast = join(path, 'ballast')
  return {
    path,
    fill(exceptBytes) {
      const { bavail, bsize } = statfsSync(path)
      writeFileSync(ballast, Buffer.alloc(bavail * bsize - exceptBytes))
    },
    free: () => rmSync(ballast),
    async [Symbol.asyncDispose]() {
      const closed = once(holder, 'close')
      holder.stdin.end()
      await closed
      folder[Symbol.dispose]()
    },
  }
}
