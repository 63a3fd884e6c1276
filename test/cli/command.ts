// optional: api-key
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import { keys } from '../../src/cli/keys.ts'
import type { CommandSettings } from '../../src/config-commands.ts'

export const NOW = Date.parse('2026-01-01T00:00:00Z')
export const DAY_MS = 86_400_000
/** Options of a key that can be made. */
export const GOOD = ['--name', 'ci', '--scopes', 'mcp:use documents:process', '--days', '90']

/** How a command ended, and what it said where. */
export interface Ended {
  readonly code: number | null
  readonly out: string
  readonly err: string
}

/** Where a key file can be, for one test. */
export function newKeyFile(): { readonly folder: string; readonly file: string } {
  const folder = mkdtempSync(join(tmpdir(), 'gatehouse-cli-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  return { folder, file: join(folder, 'keys.json') }
}

/** Runs the command in this process, at a time of day. */
export function runAt(
  nowMs: number,
  settings: Partial<CommandSettings>,
  ...args: readonly string[]
): Ended {
  let out = ''
  let err = ''
  const terminal = {
    out: (text: string) => {
      out += text
    },
    err: (text: string) => {
      err += text
    },
  }
  return { code: keys(args, terminal, nowMs, settings), out, err }
}

/** Runs it as operators do, in a process of its own. */
export function spawnCommand(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
  user: { readonly uid?: number; readonly gid?: number } = {},
): Promise<Ended> {
  const cli = join(import.meta.dirname, '../../src/cli/keys.ts')
  const child = spawn(process.execPath, [cli, ...args], {
    cwd: join(import.meta.dirname, '../..'),
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
    ...user,
  })
  let out = ''
  let err = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    out += text
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    err += text
  })
  return new Promise((resolve) => {
    child.once('close', (code) => resolve({ code, out, err }))
  })
}
