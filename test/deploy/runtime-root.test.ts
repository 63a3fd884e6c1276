import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ROOT, textOf } from '../source-tree.ts'

/** In a process that has loaded what Node loads, and nothing of a test runner. */
describe.runIf(process.platform === 'linux')('contract: the root of the image runs Node', () => {
  const root = mkdtempSync(join(tmpdir(), 'gatehouse-root-'))
  beforeAll(() => {
    execFileSync(process.execPath, [join(ROOT, 'deploy/runtime-root.ts'), root])
  })
  afterAll(() => rmSync(root, { recursive: true }))

  it('has one program, which finds its libraries there', () => {
    const files = readdirSync(root, { recursive: true, encoding: 'utf8' })
    const programs = files.filter((path) => /(^|\/)s?bin\/./.test(path))
    expect(programs).toEqual(['usr/local/bin/node'])
    const loader = files.find((path) => /(^|\/)ld-[\w.-]+\.so/.test(path)) ?? ''
    const folders = files.filter((path) => statSync(join(root, path)).isDirectory())
    const path = folders.map((folder) => join(root, folder)).join(':')
    const program = join(root, 'usr/local/bin/node')
    const list = execFileSync(join(root, loader), ['--library-path', path, '--list', program])
    const found = [...list.toString().matchAll(/=> (\S+)/g)].map(([, library = '']) => library)
    expect(found.length).toBeGreaterThan(3)
    expect(
      found.filter((library) => !library.startsWith(root) && !library.includes('/ld-')),
    ).toEqual([])
  })

  it.runIf(existsSync('/var/lib/dpkg/status'))(
    'tells scanners what the libraries belong to',
    () => {
      const folder = join(root, 'var/lib/dpkg/status.d')
      expect(readdirSync(folder)).toContain('libc6')
      for (const name of readdirSync(folder)) {
        expect(readFileSync(join(folder, name), 'utf8')).toMatch(
          new RegExp(`^Package: ${RegExp.escape(name)}\n[^]*^Version: \\d`, 'm'),
        )
      }
    },
  )
})

describe('contract: the image is built from what was pinned', () => {
  const dockerfile = textOf('Dockerfile')

  it('has a base that is pinned by digest, of the Node that development has', () => {
    const { version } = JSON.parse(textOf('tools/node-runtime/package.json'))
    const [, tag] =
      /^ARG NODE_IMAGE=\S+\/node:([\d.]+)-[\w-]+@sha256:[0-9a-f]{64}$/m.exec(dockerfile) ?? []
    expect(tag).toBe(version)
    const froms = [...dockerfile.matchAll(/^FROM (\S+)/gm)].map(([, from]) => from)
    // biome-ignore lint/suspicious/noTemplateCurlyInString: as it stands in the Dockerfile
    expect(froms).toEqual(['${NODE_IMAGE}', 'scratch'])
  })

  it('copies by name, adds nothing, and needs no shell', () => {
    expect(dockerfile).not.toMatch(/^ADD |^COPY \. |curl|wget/m)
    const commands = [...dockerfile.matchAll(/^(?:RUN|CMD|ENTRYPOINT|\s+CMD) (.)/gm)]
    expect(commands.map(([, first]) => first)).toEqual(commands.map(() => '['))
    expect(dockerfile).toMatch(/^USER [1-9]\d*:[1-9]\d*$/m)
  })

  it('sees nothing of its folder that is not named', () => {
    const lines = textOf('.dockerignore').split('\n')
    const [first, ...rest] = lines.filter((line) => line !== '' && !line.startsWith('#'))
    expect(first).toBe('*')
    const named = rest.filter((line) => line.startsWith('!')).map((line) => line.slice(1))
    const copied = [...dockerfile.matchAll(/^COPY (?!--from)(.+) \S+$/gm)].flatMap(
      ([, paths = '']) => paths.split(' '),
    )
    expect(named.toSorted()).toEqual([...new Set(copied)].toSorted())
    for (const secret of ['**/.env*', '**/*.pem', '**/*.key']) expect(rest).toContain(secret)
  })

  it('has a heap that ends before the memory of its container', () => {
    const [, percentage] = /"--max-old-space-size-percentage=(\d+)"/.exec(dockerfile) ?? []
    expect(Number(percentage)).toBeGreaterThan(0)
    expect(Number(percentage)).toBeLessThanOrEqual(75)
  })

  it('has the version of the package, and the flags of npm start', () => {
    const { version, scripts } = JSON.parse(textOf('package.json'))
    expect(dockerfile).toContain(`ARG VERSION=${version}\n`)
    for (const flag of scripts.start.match(/--[\w=-]+/g) ?? [])
      expect(dockerfile).toContain(`"${flag}"`)
  })
})
