import { spawnSync } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'
import { describe, it } from 'vitest'

/** Where administrators' programs are, which the path of ordinary users may leave out. */
const SYSTEM = ['/usr/sbin', '/sbin']

/** @returns the program as an absolute path; `undefined` when it is not installed. */
export function programPath(name: string): string | undefined {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), ...SYSTEM]
  return folders.map((folder) => join(folder, name)).find(isExecutable)
}

/**
 * A `describe` of tests that need other programs. Without one of them they fail by name in CI, and
 * are skipped elsewhere with the reason in their name.
 */
export function describeWith(programs: readonly string[], name: string, tests: () => void): void {
  const missing = programs.filter((program) => programPath(program) === undefined)
  const what = `${missing.join(', ')} not installed`
  if (missing.length === 0) {
    describe(name, tests)
    return
  }
  describe(name, () => {
    it.skipIf(process.env['CI'] === undefined)(`needs other programs: ${what}`, () => {
      throw new Error(what)
    })
  })
}

/** What a program says of its version; empty when it is not installed. */
export function versionOf(name: string): string {
  const path = programPath(name)
  return path === undefined ? '' : spawnSync(path, ['version'], { encoding: 'utf8' }).stdout
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}
