import { execFile } from 'node:child_process'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { writeRuntimeRoot } from '../../deploy/runtime-root.ts'
import { ROOT, repositoryFiles } from '../source-tree.ts'
import { programPath } from './programs.ts'

const BASE = 'localhost/gatehouse-test-base'
export const IMAGE = 'localhost/gatehouse-test'

/** In files that must not enter the image. */
export const DECOY = 'decoy-2f1c7d'
const DECOYS = [
  '.env',
  '.env.production',
  'src/.env',
  'src/tls.key',
  'policies/server.pem',
  'a.key',
]

/**
 * Runs a program.
 *
 * @param both with what it wrote to standard error
 * @returns what it printed. @throws {Error} with what it said when it fails.
 */
export async function run(program: string, args: readonly string[], both = false): Promise<string> {
  const options = { maxBuffer: 64 << 20 }
  const { stdout, stderr } = await promisify(execFile)(program, [...args], options)
  return (both ? `${stdout}${stderr}` : stdout).trim()
}

/** Builds the image from what a clean clone has and a few files that people leave lying around. */
export async function buildImage(): Promise<void> {
  await buildBase()
  const context = mkdtempSync(join(tmpdir(), 'gatehouse-context-'))
  try {
    for (const path of repositoryFiles()) {
      mkdirSync(dirname(join(context, path)), { recursive: true })
      cpSync(join(ROOT, path), join(context, path))
    }
    for (const path of DECOYS) writeFileSync(join(context, path), `SECRET=${DECOY}\n`)
    const build = [
      'bud',
      '--isolation',
      'chroot',
      '--network',
      'host',
      '--pull-never',
      '--no-cache',
    ]
    const form = ['--format', 'docker', '--build-arg', `NODE_IMAGE=${BASE}`, '--tag', IMAGE]
    await run('buildah', [...build, ...form, ...cache(), context])
  } finally {
    rmSync(context, { recursive: true })
  }
}

/** Packages that npm has fetched before need no network. */
function cache(): readonly string[] {
  const folder = join(process.env['HOME'] ?? '/root', '.npm')
  return existsSync(folder) ? ['--volume', `${folder}:/root/.npm`] : []
}

/**
 * A stand-in for the official Node image, for machines that reach no image registry: the Node that
 * runs this, and npm, `sh` and `env` of the machine.
 */
async function buildBase(): Promise<void> {
  const root = mkdtempSync(join(tmpdir(), 'gatehouse-base-'))
  try {
    writeRuntimeRoot(root)
    for (const name of ['env', 'sh']) {
      mkdirSync(join(root, 'usr/bin'), { recursive: true })
      cpSync(realpathSync(programPath(name) ?? ''), join(root, 'usr/bin', name))
    }
    symlinkSync('usr/bin', join(root, 'bin'))
    const npm = dirname(dirname(realpathSync(programPath('npm') ?? '')))
    cpSync(npm, join(root, 'usr/local/lib/npm'), { recursive: true })
    symlinkSync('../lib/npm/bin/npm-cli.js', join(root, 'usr/local/bin/npm'))

    const container = await run('buildah', ['from', 'scratch'])
    await run('buildah', ['add', '--quiet', container, root, '/'])
    const authorities = process.env['NODE_EXTRA_CA_CERTS']
    const env = [['PATH', '/usr/local/bin:/usr/bin']]
    if (authorities !== undefined) {
      await run('buildah', ['add', '--quiet', container, authorities, '/authorities.pem'])
      env.push(['NODE_EXTRA_CA_CERTS', '/authorities.pem'])
    }
    const settings = env.flatMap(([name, value]) => ['--env', `${name}=${value}`])
    await run('buildah', ['config', ...settings, container])
    await run('buildah', ['commit', '--quiet', '--rm', container, BASE])
  } finally {
    rmSync(root, { recursive: true })
  }
}

/** Runs with the root of the image's file system, as a folder to look into. */
export async function withRootOf(image: string, look: (root: string) => void): Promise<void> {
  const root = await run('podman', ['image', 'mount', image])
  try {
    look(root)
  } finally {
    await run('podman', ['image', 'unmount', image])
  }
}
