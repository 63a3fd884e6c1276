import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { Clock } from './clock.ts'

/** How often files are looked at, ms. */
const INTERVAL_MS = 2000

/**
 * SHA-256, hex, over the contents of files. A file that cannot be read counts as its absence. Read
 * whole and by name, because Kubernetes swaps a link and leaves the files as they were.
 */
export function filesDigest(paths: readonly string[]): string {
  const digest = createHash('sha256')
  for (const path of paths) digest.update(contentDigest(path))
  return digest.digest('hex')
}

function contentDigest(path: string): string {
  try {
    return createHash('sha256').update(readFileSync(path)).digest('hex')
  } catch {
    return '-'.repeat(64) // Reported by whoever needs the file.
  }
}

/** What a watch compares. */
interface Watched {
  /** Digest of the files as they are. */
  now(): string
  /** The digest that was dealt with last: taken before the files were read, so that nothing falls between. */
  known(): string
}

/**
 * Calls `changed` while the digest of files is not the one that is known. Polled: no event of the file
 * system tells a swapped link on every platform. A failure of `changed` does not end the watch.
 *
 * @returns what ends it
 */
export function watchFiles(
  digest: Watched,
  clock: Clock,
  changed: () => Promise<void>,
): () => void {
  let closed = false
  let cancel = (): void => undefined

  async function look(): Promise<void> {
    try {
      if (digest.now() !== digest.known()) await changed()
    } finally {
      if (!closed) schedule()
    }
  }

  function schedule(): void {
    cancel = clock.after(INTERVAL_MS, () => void look())
  }
  schedule()

  return () => {
    closed = true
    cancel()
  }
}
