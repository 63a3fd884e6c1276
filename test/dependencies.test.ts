import { existsSync, globSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { ROOT, repositoryFiles, textOf } from './source-tree.ts'

const versions = z.record(z.string(), z.string()).default({})
const manifest = z.object({
  dependencies: versions,
  devDependencies: versions,
  optionalDependencies: versions,
  scripts: versions,
})
const lockfile = z.object({
  lockfileVersion: z.literal(3),
  packages: z.record(
    z.string(),
    z.object({
      dev: z.boolean().default(false),
      link: z.boolean().default(false),
      resolved: z.string().optional(),
      integrity: z.string().optional(),
      hasInstallScript: z.boolean().default(false),
      os: z.unknown().optional(),
      cpu: z.unknown().optional(),
    }),
  ),
})

const EXACT = /^(\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?|file:tools\/[a-z-]+)$/

const files = repositoryFiles()
const manifests = files.filter((path) => /(^|\/)package\.json$/.test(path))
const { packages } = lockfile.parse(JSON.parse(textOf('package-lock.json')))
const installed = Object.entries(packages).filter(([path]) => path.startsWith('node_modules/'))
const production = installed.filter(([, { dev }]) => !dev)

describe('threat: a hijacked package, its author runs code in production', () => {
  it.each(manifests)('%s asks for exact versions', (path) => {
    const { dependencies, devDependencies, optionalDependencies } = manifest.parse(
      JSON.parse(textOf(path)),
    )
    const asked = { ...dependencies, ...devDependencies, ...optionalDependencies }
    expect(Object.entries(asked).filter(([, version]) => !EXACT.test(version))).toEqual([])
  })

  it.each([
    ['a caret', '^1.2.3'],
    ['a tilde', '~1.2.3'],
    ['a tag', 'latest'],
    ['any', '*'],
    ['a part', '1.2'],
    ['a URL', 'https://example.com/x.tgz'],
    ['a repository', 'github:owner/name'],
    ['another name', 'npm:other@1.2.3'],
    ['a folder outside', 'file:../x'],
  ])('would see %s', (_name, version) => {
    expect(EXACT.test(version)).toBe(false)
  })

  it('has at most 35 packages in production', () => {
    const names = production.map(([path]) => path)
    expect(names.length).toBeGreaterThan(0)
    expect(names.length, names.join('\n')).toBeLessThanOrEqual(35)
  })

  it('has no install script and no platform package in production', () => {
    const found = production.filter(
      ([, p]) => p.hasInstallScript || p.os !== undefined || p.cpu !== undefined,
    )
    expect(found.map(([path]) => path)).toEqual([])
  })

  it('has no native code in production', () => {
    const found = production.flatMap(([path]) => [
      ...globSync('**/{*.node,binding.gyp}', { cwd: join(ROOT, path) }).map((f) => `${path}/${f}`),
    ])
    expect(found).toEqual([])
  })

  it('knows the hash of every package, and takes none from elsewhere', () => {
    const found = installed.filter(
      ([, { link, integrity, resolved }]) =>
        !link &&
        (!integrity?.startsWith('sha512-') ||
          (resolved !== undefined && !resolved.startsWith('https://registry.npmjs.org/'))),
    )
    expect(found.map(([path]) => path)).toEqual([])
  })

  it('runs no script of a package, and none of its own, while it installs', () => {
    expect(textOf('.npmrc').split('\n')).toEqual(expect.arrayContaining(['ignore-scripts=true']))
    const hooks = manifests.flatMap((path) =>
      Object.keys(manifest.parse(JSON.parse(textOf(path))).scripts)
        .filter((name) => /^(pre|post)?(install|prepare|pack|publish)$/.test(name))
        .map((name) => `${path}: ${name}`),
    )
    expect(hooks).toEqual([])
  })
})

describe('threat: a moved tag, an action of the CI becomes another one', () => {
  const workflows = files.filter((path) => path.startsWith('.github/workflows/'))

  it.each(workflows)('%s pins every action by commit and names the version', (path) => {
    const uses = textOf(path)
      .split('\n')
      .filter((line) => /^\s*(- )?uses:/.test(line))
    const pinned = /uses: [\w.-]+\/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$/
    expect(uses.filter((line) => !pinned.test(line))).toEqual([])
  })

  it.each(workflows)('%s has no rights that a job does not ask for', (path) => {
    expect(textOf(path)).toMatch(/^permissions: \{\}$/m)
    expect(textOf(path)).not.toMatch(/write-all|pull_request_target|: write\b/)
  })
})

describe('contract: what CI runs is what a contributor runs', () => {
  it('has .ci/run, and the workflow calls it', () => {
    expect(existsSync(join(ROOT, '.ci/run'))).toBe(true)
    expect(textOf('.github/workflows/ci.yml')).toContain('run: .ci/run')
  })
})
