import { execFileSync } from 'node:child_process'
import { existsSync, globSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
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

  it.each(workflows)('%s has no rights that a job does not ask for, and bounds', (path) => {
    const { permissions, jobs } = workflow.parse(parse(textOf(path)))
    expect(permissions).toEqual({})
    for (const job of Object.values(jobs)) {
      expect(job['timeout-minutes']).toBeLessThanOrEqual(30)
      for (const step of job.steps.filter(({ uses = '' }) =>
        uses.startsWith('actions/checkout@'),
      )) {
        expect(step.with).toMatchObject({ 'persist-credentials': false })
      }
    }
  })

  it.each(workflows)('%s lets no pull request near a secret or a right to write', (path) => {
    const text = textOf(path)
    expect(text).not.toMatch(/write-all|pull_request_target|workflow_run|\$\{\{\s*secrets\./)
    const { on, jobs } = workflow.parse(parse(text))
    const writing = Object.entries(jobs).flatMap(([name, job]) =>
      Object.entries(job.permissions)
        .filter(([, right]) => right !== 'read')
        .map(([right]) => `${name} ${right}`),
    )
    if (path !== '.github/workflows/release.yml') return expect(writing).toEqual([])
    // What is released is tested first, comes from a tag alone, and is signed by the workflow itself.
    expect(on).toEqual({ push: { tags: ['v[0-9]+.[0-9]+.[0-9]+'] } })
    expect(writing).toEqual(['image packages', 'image id-token', 'image attestations'])
    expect(jobs['image']).toMatchObject({ needs: 'test', environment: 'release' })
    for (const part of ['.ci/sbom', 'attest-build-provenance@', 'cosign sign', 'cosign attest']) {
      expect(text).toContain(part)
    }
  })

  it.each(workflows)('%s puts nothing of the event into a shell by text', (path) => {
    const { jobs } = workflow.parse(parse(textOf(path)))
    const scripts = Object.values(jobs).flatMap(({ steps }) => steps.map(({ run = '' }) => run))
    expect(scripts.filter((run) => run.includes('${{'))).toEqual([])
  })

  it('lets a release of a package wait before it is proposed', () => {
    const { updates } = z
      .object({
        updates: z.array(z.object({ cooldown: z.object({ 'default-days': z.int().min(7) }) })),
      })
      .parse(parse(textOf('.github/dependabot.yml')))
    expect(updates.length).toBeGreaterThan(1)
  })
})

/** A workflow of GitHub Actions, as far as the rules look at it. */
const workflow = z.object({
  on: z.unknown(),
  permissions: z.unknown(),
  jobs: z.record(
    z.string(),
    z
      .object({
        permissions: z.record(z.string(), z.string()),
        'timeout-minutes': z.int(),
        steps: z.array(
          z.object({
            uses: z.string().optional(),
            run: z.string().optional(),
            with: z.unknown().optional(),
          }),
        ),
      })
      .loose(),
  ),
})

describe('threat: a flaw that is known, nobody hears of it or acts', () => {
  it.each(['ci', 'release'])('%s asks the registry for advisories and signatures', (name) => {
    const { jobs } = workflow.parse(parse(textOf(`.github/workflows/${name}.yml`)))
    const commands = Object.values(jobs).flatMap(({ steps }) => steps.map(({ run }) => run))
    expect(commands).toEqual(
      expect.arrayContaining(['npm audit --omit=dev', 'npm audit signatures']),
    )
  })

  it('asks every day, on every push and in every pull request', () => {
    const { on } = workflow.parse(parse(textOf('.github/workflows/ci.yml')))
    expect(on).toEqual({
      push: { branches: ['main'] },
      pull_request: null,
      schedule: [{ cron: expect.stringMatching(/^\d+ \d+ \* \* \*$/) }],
    })
  })

  it('says how soon it is fixed', () => {
    const times = textOf('.github/SECURITY.md').match(/^\| (critical|high) \| .+ \|$/gm)
    expect(times).toEqual(['| critical | 48 hours |', '| high | 7 days |'])
  })

  it('asks for the releases of Node that the start accepts', () => {
    const { engines } = JSON.parse(textOf('package.json'))
    expect(engines).toEqual({ node: '^24.18.1 || >=26.5.1' })
    const start = engines.node.replace(' || ', ' or ')
    expect(textOf('src/config-checks.ts')).toContain(`'must be ${start}'`)
  })
})

describe('threat: a licence that nobody agreed to, or a package that nobody listed', () => {
  const LICENSES = [
    'MIT',
    'ISC',
    'Apache-2.0',
    'BSD-2-Clause',
    'BSD-3-Clause',
    'BlueOak-1.0.0',
    '0BSD',
  ]

  it('production has permissive licences alone, those that the review of changes lets in', () => {
    const licensed = production.map(([path]) => {
      const { license } = z
        .object({ license: z.string() })
        .parse(JSON.parse(textOf(`${path}/package.json`)))
      return [path, license] as const
    })
    expect(licensed.filter(([, license]) => !LICENSES.includes(license))).toEqual([])
    expect(textOf('.github/workflows/ci.yml')).toContain(`allow-licenses: ${LICENSES.join(', ')}`)
  })

  it('the bill of materials has exactly what production installs', () => {
    const bill = execFileSync(join(ROOT, '.ci/sbom'), {
      encoding: 'utf8',
      maxBuffer: 1 << 26,
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    const components = z
      .object({
        components: z.array(z.object({ name: z.string(), version: z.string() })),
      })
      .parse(JSON.parse(bill))
      .components.map(({ name }) => name)
    const names = production
      .filter(([, { link }]) => !link)
      .map(([path]) => path.replace(/^.*node_modules\//, ''))
    expect(components.toSorted()).toEqual(names.toSorted())
  }, 60_000)
})

describe('contract: what CI runs is what a contributor runs', () => {
  it('has .ci/run, and the workflow calls it', () => {
    expect(existsSync(join(ROOT, '.ci/run'))).toBe(true)
    expect(textOf('.github/workflows/ci.yml')).toContain('run: .ci/run')
  })
})
