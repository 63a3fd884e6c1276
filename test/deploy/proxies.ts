import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { ROOT, textOf } from '../source-tree.ts'
import { programPath } from './programs.ts'

/** The name that the proxies serve: that of the certificate, and of `production()`. */
export const SITE = 'mcp.example.com'
const CERTIFICATE = join(ROOT, 'test/tls/proxy.crt')
const KEY = join(ROOT, 'test/tls/proxy.key')

export interface RunningProxy extends AsyncDisposable {
  readonly port: number
  /** For `raw-http.ts`. */
  readonly tls: { readonly ca: Buffer; readonly servername: string }
}

/** Text of a shipped configuration, and what takes its place in a test. */
export type Change = readonly [from: string, to: string]

export type ProxyKind = 'nginx' | 'caddy'
export const PROXIES: readonly ProxyKind[] = ['nginx', 'caddy']

const START: Readonly<Record<ProxyKind, typeof startNginx>> = {
  nginx: startNginx,
  caddy: startCaddy,
}

/** Starts a proxy with its shipped configuration in front of servers on loopback. */
export async function startProxy(
  kind: ProxyKind,
  upstreams: readonly number[],
  changes: readonly Change[] = [],
): Promise<RunningProxy> {
  return START[kind](upstreams, changes)
}

async function startNginx(
  upstreams: readonly number[],
  changes: readonly Change[],
): Promise<RunningProxy> {
  const folder = mkdtempSync(join(tmpdir(), 'gatehouse-nginx-'))
  const port = await freePort()
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
  const text = changed(textOf('deploy/nginx.conf'), [
    ['pid /run/nginx.pid;', `pid ${folder}/nginx.pid;\ndaemon off;`],
    [
      'server_tokens off;',
      [
        'server_tokens off;',
        ...temporary.map((name) => `${name}_temp_path ${folder}/${name};`),
      ].join('\n'),
    ],
    [
      'server 127.0.0.1:3000 max_fails=0;',
      upstreams.map((at) => `server 127.0.0.1:${at} max_fails=0;`).join('\n'),
    ],
    ['listen 443 ssl http2 default_server', `listen 127.0.0.1:${port} ssl http2 default_server`],
    ['listen 443 ssl http2;', `listen 127.0.0.1:${port} ssl http2;`],
    ['/etc/nginx/tls/tls.crt', CERTIFICATE],
    ['/etc/nginx/tls/tls.key', KEY],
    ...changes,
  ])
  const file = join(folder, 'nginx.conf')
  writeFileSync(file, text)
  return launch('nginx', ['-p', folder, '-e', 'stderr', '-c', file], {}, port, folder)
}

async function startCaddy(
  upstreams: readonly number[],
  changes: readonly Change[],
): Promise<RunningProxy> {
  const folder = mkdtempSync(join(tmpdir(), 'gatehouse-caddy-'))
  const port = await freePort()
  const file = join(folder, 'Caddyfile')
  writeFileSync(file, changed(textOf('deploy/Caddyfile'), changes))
  const env = {
    GATEHOUSE_SITE: `https://${SITE}:${port}`,
    GATEHOUSE_PORT: `${port}`,
    GATEHOUSE_UPSTREAMS: upstreams.map((at) => `127.0.0.1:${at}`).join(' '),
    GATEHOUSE_TLS: `${CERTIFICATE} ${KEY}`,
    HOME: folder,
    XDG_DATA_HOME: folder,
    XDG_CONFIG_HOME: folder,
  }
  const args = ['run', '--config', file, '--adapter', 'caddyfile']
  return launch('caddy', args, env, port, folder)
}

const running = new Set<ChildProcess>()
process.once('exit', () => {
  for (const child of running) child.kill('SIGTERM')
})

/** @returns once it takes connections. @throws {Error} with what it said, if it ends before that. */
async function launch(
  program: string,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
  port: number,
  folder: string,
): Promise<RunningProxy> {
  const child = spawn(programPath(program) ?? program, args, {
    env: { PATH: process.env['PATH'], ...env },
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  running.add(child)
  let said = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said += text
  })
  const ended = once(child, 'close').then(() => {
    running.delete(child)
    rmSync(folder, { recursive: true, force: true })
  })
  while (!(await isOpen(port))) {
    if (!running.has(child)) throw new Error(`${program} has ended:\n${said}`)
    await sleep(20)
  }
  return {
    port,
    tls: { ca: readFileSync(CERTIFICATE), servername: SITE },
    async [Symbol.asyncDispose]() {
      child.kill('SIGTERM')
      await ended
    },
  }
}

function changed(text: string, changes: readonly Change[]): string {
  return changes.reduce((before, [from, to]) => {
    if (!before.includes(from)) throw new Error(`The configuration does not contain: ${from}`)
    return before.replace(from, to)
  }, text)
}

function isOpen(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1' })
    socket.once('connect', () => resolve(true))
    socket.once('error', () => resolve(false))
    socket.once('connect', () => socket.destroy())
  })
}

/** A port that nobody had when this was called: proxies cannot choose one and say which. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  return typeof address === 'object' && address !== null ? address.port : 0
}
