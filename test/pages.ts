import { execFile } from 'node:child_process'
import { chownSync, cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { ROOT, repositoryFiles, textOf } from './source-tree.ts'

/** Pages whose commands a newcomer types: here they are run, as they are written. */

const execute = promisify(execFile)
const NOBODY = 65_534
const MODULES = join(ROOT, 'node_modules')

/** The commands of a page, block by block, by the heading that they stand under. */
export function stepsOf(page: string): readonly (readonly [string, readonly string[]])[] {
  return textOf(page)
    .split(/^##+ /m)
    .flatMap((section) => {
      const blocks = [...section.matchAll(/^```sh\n(.*?)^```$/gms)].map(([, text = '']) => text)
      return blocks.length === 0 ? [] : [[section.split('\n')[0] ?? '', blocks] as const]
    })
}

export interface Newcomer extends AsyncDisposable {
  /** Where the newcomer stands, empty in the beginning. */
  readonly folder: string
  /** This tree, committed: what `git clone` of the address on the pages gives. */
  readonly template: string
  /** Puts a program on the newcomer's path, before all others. */
  install(name: string, script: string): void
  /**
   * Runs lines as a shell does that stops at the first failure.
   *
   * @returns standard output
   * @throws {Error} with both streams
   */
  run(text: string, cwd?: string, env?: Readonly<Record<string, string>>): Promise<string>
}

/**
 * A person with an empty folder. Packages come from this tree instead of the registry.
 *
 * @param ordinary is never root, whom a server in production refuses
 */
export async function newcomer({ ordinary = false } = {}): Promise<Newcomer> {
  const folder = mkdtempSync(join(tmpdir(), 'gatehouse-newcomer-'))
  const template = join(folder, 'gatehouse.git')
  const environment = {
    PATH: `${join(folder, 'bin')}:${join(MODULES, '.bin')}:${process.env['PATH']}`,
    HOME: folder,
    TMPDIR: folder,
    GIT_CONFIG_NOSYSTEM: '1',
    npm_config_update_notifier: 'false',
  }
  const user = ordinary && process.getuid?.() === 0 ? { uid: NOBODY, gid: NOBODY } : {}
  const person: Newcomer = {
    folder,
    template,
    install(name, script) {
      writeFileSync(join(folder, 'bin', name), `#!/bin/sh\n${script}\n`, { mode: 0o755 })
    },
    async run(text, cwd = folder, env = {}) {
      try {
        const command = ['--norc', '-euo', 'pipefail', '-c', text]
        const options = { cwd, env: { ...environment, ...env }, ...user, maxBuffer: 1 << 26 }
        return (await execute('bash', command, options)).stdout
      } catch (error) {
        // Compilers and test runners say on standard output what is wrong.
        const said = error instanceof Error && 'stdout' in error ? String(error.stdout) : ''
        throw new Error(`${String(error)}\n${said}`)
      }
    },
    async [Symbol.asyncDispose]() {
      rmSync(folder, { recursive: true })
    },
  }

  mkdirSync(join(folder, 'bin'))
  mkdirSync(template)
  for (const path of user.uid === undefined ? [] : [folder, template])
    chownSync(path, NOBODY, NOBODY)
  writeFileSync(join(folder, 'excluded'), 'node_modules\n')
  writeFileSync(
    join(folder, '.gitconfig'),
    `[user]\nname = Ann\nemail = ann@acme.example\n[url "${template}"]\n` +
      `insteadOf = https://github.com/example/gatehouse.git\n` +
      `[core]\nexcludesFile = ${join(folder, 'excluded')}\n`,
  )
  person.install(
    'npm',
    `if [ "$1" != ci ]; then PATH="\${PATH#*:}" exec npm "$@"; fi\n` +
      `[ -e node_modules ] || ln -s '${MODULES}' node_modules`,
  )
  const staged = join(folder, 'staged')
  for (const path of repositoryFiles()) cpSync(join(ROOT, path), join(staged, path))
  // Keys may be readable by their owner alone, who is not this person.
  await execute('chmod', ['-R', 'a+rX', staged])
  await person.run(`cp -R ${staged}/. ${template}`)
  rmSync(staged, { recursive: true })
  await person.run('git init -q -b main && git add . && git commit -qm Template', template)
  return person
}
