// optional: api-key
import {
  closeSync,
  fchmodSync,
  fchownSync,
  fstatSync,
  fsyncSync,
  lstatSync,
  openSync,
  renameSync,
  rmSync,
  type Stats,
  writeFileSync,
} from 'node:fs'
import { dirname } from 'node:path'
import { type KeyRecord, loadKeys } from '../../auth/key-file.ts'
import { Problems } from '../../problems.ts'
import { serialized } from './key-changes.ts'

/** The longest life that any policy allows, days: what is in a file already may be that old. */
export const LONGEST_LIFE_DAYS = 730

/** A key file on the command line. */
export interface KeyFile {
  readonly path: string
  /** The option or setting that named it, for messages. */
  readonly named: string
}

/**
 * What is in the file now.
 *
 * @param orNone whether a file that does not exist yet counts as one without keys
 * @throws {Problems} when it cannot be read, is no key file, or is a link
 */
export function readKeyFile({ path, named }: KeyFile, orNone: boolean): readonly KeyRecord[] {
  return statsOf(path, named) === undefined && orNone
    ? []
    : loadKeys(path, LONGEST_LIFE_DAYS, named)
}

/**
 * Replaces the file in one step, so that a server never reads half of it and a crash leaves the old
 * one. The new file is also the lock, because two changes at once would lose one. Mode, owner and
 * group stay as they are; a file that is made is readable by its owner only.
 *
 * @param change gets what is in the file; nothing is written when it returns `undefined` or throws
 * @throws {Problems} when the file cannot be read or replaced
 */
export function updateKeyFile(
  file: KeyFile,
  orNone: boolean,
  change: (records: readonly KeyRecord[]) => readonly KeyRecord[] | undefined,
): void {
  const { path, named } = file
  const old = statsOf(path, named)
  const next = `${path}.new`
  const descriptor = attempt(named, () => openSync(next, 'wx', 0o600))
  try {
    const records = change(readKeyFile(file, orNone))
    if (records === undefined) {
      rmSync(next)
      return
    }
    attempt(named, () => {
      if (old !== undefined) keepOwner(descriptor, old)
      writeFileSync(descriptor, serialized(records))
      fsyncSync(descriptor)
      renameSync(next, path)
    })
  } catch (error) {
    rmSync(next, { force: true })
    throw error
  } finally {
    closeSync(descriptor)
  }
  syncFolder(dirname(path))
}

/** A link is refused: replacing it would leave what it leads to, which may be what the server reads. */
function statsOf(path: string, named: string): Stats | undefined {
  const stats = attempt(named, () => lstatSync(path, { throwIfNoEntry: false }))
  if (stats?.isSymbolicLink()) {
    throw new Problems([
      {
        field: named,
        message:
          'is a link, as mounted Kubernetes Secrets have: change the Secret, or name the file itself',
      },
    ])
  }
  return stats
}

function keepOwner(descriptor: number, old: Stats): void {
  const { uid, gid } = fstatSync(descriptor)
  if (uid !== old.uid || gid !== old.gid) fchownSync(descriptor, old.uid, old.gid)
  fchmodSync(descriptor, old.mode & 0o777)
}

/** Makes the new name survive a power cut. Platforms whose folders cannot be opened do it by themselves. */
function syncFolder(folder: string): void {
  if (process.platform === 'win32') return
  const descriptor = openSync(folder, 'r')
  fsyncSync(descriptor)
  closeSync(descriptor)
}

const REASONS: ReadonlyMap<string, string> = new Map([
  ['EEXIST', 'is being changed, or FILE.new is left over: remove that if no other change runs'],
  ['EROFS', 'is on a read-only file system, as mounted Secrets are: change it at its source'],
  ['EACCES', 'cannot be written: run this as the owner of the file and its folder'],
  ['EPERM', 'cannot be written: run this as the owner of the file and its folder'],
  ['ENOENT', 'is in a folder that does not exist'],
  ['ENOSPC', 'cannot be written: the disk is full'],
])

/** @throws {Problems} that say what the operating system refused */
function attempt<Result>(field: string, run: () => Result): Result {
  try {
    return run()
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : ''
    throw new Problems([{ field, message: REASONS.get(code) ?? 'cannot be written' }])
  }
}
