import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { inspect, noteSettings } from '../canaries.ts'
import type { Production } from '../production.ts'
import type { AuditRecord } from '../server.ts'
import { ROOT } from '../source-tree.ts'
import { IMAGE, run } from './image.ts'

export interface Container extends AsyncDisposable {
  readonly name: string
  /** Of its first process, on this machine. */
  readonly pid: string
  /** Of its public listener, on loopback of this machine. */
  readonly port: number
  /** Runs a program of the image in it. @returns what it printed. */
  exec(...line: readonly string[]): Promise<string>
  /** What it has written so far. */
  records(): Promise<readonly AuditRecord[]>
  /** Sends SIGTERM. @returns its exit code, once it has ended */
  stop(): Promise<number>
}

export const MEMORY_MEBIBYTES = 256
export const PIDS = 64

/** No right that is not needed, and nothing to write to: not even a folder for temporary files. */
export const HARDENED = [
  ['--read-only', '--read-only-tmpfs=false', '--cap-drop=all', '--security-opt=no-new-privileges'],
  [`--memory=${MEMORY_MEBIBYTES}m`, `--pids-limit=${PIDS}`],
  // Some kernels refuse what runtimes ask for when nothing is said.
  ['--runtime=runc', '--ulimit=nofile=4096:4096', '--ulimit=nproc=512:512'],
].flat()

/** Secrets as files, policies as a folder, the port of the public listener on loopback. */
export async function startContainer({ env, keysFile }: Production): Promise<Container> {
  noteSettings(env)
  const folder = mkdtempSync(join(tmpdir(), 'gatehouse-secrets-'))
  const secret = join(folder, 'root')
  writeFileSync(secret, `${env['MCP_SECRET']}\n`, { mode: 0o444 })
  const settings = {
    HOST: '0.0.0.0',
    MCP_PUBLIC_URL: env['MCP_PUBLIC_URL'],
    MCP_BEHIND_TLS_PROXY: 'true',
    MCP_TRUSTED_PROXIES: '10.0.0.0/8',
    MCP_SECRET_FILE: '/run/secrets/root',
    MCP_API_KEYS_FILE: '/run/secrets/keys.json',
    MCP_POLICY_DIR: '/etc/gatehouse/policies',
  }
  const mounts = [
    [secret, '/run/secrets/root'],
    [keysFile, '/run/secrets/keys.json'],
    [join(ROOT, 'policies'), '/etc/gatehouse/policies'],
  ]
  const id = await run('podman', [
    ...['run', '--detach', '--publish', '127.0.0.1::3000', ...HARDENED],
    ...mounts.map(([from, to]) => `--volume=${from}:${to}:ro`),
    ...Object.entries(settings).map(([name, value]) => `--env=${name}=${value}`),
    IMAGE,
  ])
  const name = id.slice(0, 12)
  const logs = (): Promise<string> => run('podman', ['logs', name], true)
  while ((await health(name)) !== 0) {
    if ((await state(name, 'Running')) !== 'true') {
      throw new Error(`It has ended with ${await state(name, 'ExitCode')}:\n${await logs()}`)
    }
    await sleep(100)
  }
  const published = await run('podman', ['port', name, '3000/tcp'])
  return {
    name,
    pid: await state(name, 'Pid'),
    port: Number(published.split(':').at(-1)),
    exec: (...line) => run('podman', ['exec', name, ...line]),
    async records() {
      const lines = (await logs()).split('\n')
      return lines.filter((line) => line.startsWith('{"metadata"')).map((line) => JSON.parse(line))
    },
    async stop() {
      await run('podman', ['stop', '--time', '20', name])
      return Number(await state(name, 'ExitCode'))
    },
    async [Symbol.asyncDispose]() {
      inspect(await logs())
      await run('podman', ['rm', '--force', name])
      rmSync(folder, { recursive: true })
    },
  }
}

/** Runs the health check of the image. @returns its exit code */
export async function health(name: string): Promise<number> {
  return run('podman', ['healthcheck', 'run', name]).then(
    () => 0,
    () => 1,
  )
}

async function state(name: string, field: string): Promise<string> {
  return run('podman', ['inspect', '--format', `{{.State.${field}}}`, name])
}

/** What the kernel says of a process: `Uid`, `CapEff` and so on. */
export function statusOf(pid: string): ReadonlyMap<string, string> {
  const lines = readFileSync(`/proc/${pid}/status`, 'utf8').split('\n')
  return new Map(
    lines.map((line) => [line.split(':')[0] ?? '', line.split('\t').slice(1).join(' ')]),
  )
}

/** A limit of the control group of a process, of either version of control groups. */
export function controlGroupLimit(pid: string, v1: string, v2: string): number {
  const groups = readFileSync(`/proc/${pid}/cgroup`, 'utf8').split('\n')
  const paths = groups.flatMap((line) => {
    const [, controller = '', group = ''] = line.split(':')
    const file = controller === '' ? v2 : v1
    return [`/sys/fs/cgroup${group}/${file}`, `/sys/fs/cgroup/${controller}${group}/${file}`]
  })
  const path = paths.find((candidate) => existsSync(candidate)) ?? ''
  return Number(readFileSync(path, 'utf8'))
}
