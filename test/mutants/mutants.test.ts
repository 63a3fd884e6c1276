import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { basename, join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { ROOT } from '../source-tree.ts'
import { MUTANTS } from './controls.ts'
import { copyOfTree, mutated, runMutant } from './run.ts'

const folders: string[] = []
afterAll(() => {
  for (const folder of folders) rmSync(folder, { recursive: true })
})

describe('contract: each protection can be taken away, one at a time', () => {
  it.each(MUTANTS.map((mutant) => [mutant.name, mutant] as const))('%s', (_name, mutant) => {
    const text = readFileSync(join(ROOT, mutant.file), 'utf8')
    expect(mutated(mutant, text)).not.toBe(text)
    expect(mutant.noticedBy).not.toEqual([])
    for (const file of mutant.noticedBy)
      expect([file, existsSync(join(ROOT, file))]).toEqual([file, true])
  })

  it('and a name that none of them has is no success', () => {
    const command = [join(ROOT, 'test/mutants/run.ts'), 'no such protection']
    const { status, stderr } = spawnSync(process.execPath, command, { encoding: 'utf8' })
    expect([status, stderr]).toEqual([2, expect.stringContaining(MUTANTS[0]?.name ?? 'none')])
  })

  it('none of the lines of app.ts that a request passes is left out', () => {
    const lines = readFileSync(join(ROOT, 'src/app.ts'), 'utf8').match(/^ {2}app\.use\(.*$/gm) ?? []
    const taken = MUTANTS.filter(({ file }) => file === 'src/app.ts').map(({ from }) =>
      from.trimEnd(),
    )
    expect(lines.filter((line) => !line.includes('// optional: ')).toSorted()).toEqual(
      taken.toSorted(),
    )
  })

  it('no control is left out', () => {
    const names = MUTANTS.map(({ name, file }) =>
      `${name} ${file}`.toLowerCase().replaceAll('-', ''),
    )
    for (const file of readdirSync(join(ROOT, 'src/controls'))) {
      const control = basename(file, '.ts').replaceAll('-', '')
      expect([file, names.some((name) => name.includes(control))]).toEqual([file, true])
    }
  })
})

describe('threat: a control is gone, and every test still passes', () => {
  it.each(['no hostGuard', 'private addresses are asked'])(
    '%s: its tests notice',
    (name) => {
      const mutant = MUTANTS.find((one) => one.name === name)
      if (mutant === undefined) throw new Error('not in the list')
      const folder = copyOfTree()
      folders.push(folder)
      expect(runMutant(folder, mutant).silent).toEqual([])
      // And they pass with the control in its place.
      const whole = { ...mutant, to: mutant.from }
      expect([...runMutant(folder, whole).failed.values()].every((failed) => failed === 0)).toBe(
        true,
      )
    },
    120_000,
  )
})
