import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { hash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import {
  cpSync,
  globSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import packageJson from '../package.json' with { type: 'json' }
import { tools } from '../src/tools/index.ts'
import { inspect } from './canaries.ts'
import { stepsOf } from './pages.ts'
import { spawnServer, startServer, stopServers } from './server.ts'
import { ROOT, textOf } from './source-tree.ts'

const README = textOf('README.md')
const blocks = [...README.matchAll(/^```(\w*)\n(.*?)^```$/gms)].map(
  ([, language = '', text = '']) => ({ language, text }),
)
const commands = blocks
  .filter(({ language }) => language === 'sh')
  .flatMap(({ text }) => text.trim().split('\n'))

/** A copy of the tree in which README.md has been followed: what it shows is applied, and run here. */
const copy = mkdtempSync(join(tmpdir(), 'gatehouse-readme-'))
const running = new Set<ChildProcess>()

beforeAll(() => {
  for (const path of ['src', 'policies', 'examples', 'package.json', 'tsconfig.json']) {
    cpSync(join(ROOT, path), join(copy, path), { recursive: true })
  }
  symlinkSync(join(ROOT, 'node_modules'), join(copy, 'node_modules'))
  addTool()
})
afterAll(async () => {
  await Promise.all([stopServers(), ...[...running].map((child) => stop(child, 'SIGKILL'))])
  for (const trail of globSync(join(copy, '*.jsonl'))) inspect(readFileSync(trail, 'utf8'))
  rmSync(copy, { recursive: true })
})

process.once('exit', () => {
  for (const { pid } of running) if (pid !== undefined) process.kill(-pid, 'SIGKILL')
})

/** Does what "Add a tool in one file" says. */
function addTool(): void {
  for (const { text } of blocks) {
    const [, path = '', where] = /^(?:\/\/|#) (\S+?\.\w+)(?:, under (\w+:))?\n/.exec(text) ?? []
    if (where !== undefined) {
      edit(path, new RegExp(`^${where}\n`, 'm'), `$&${text.slice(text.indexOf('\n') + 1)}`)
    } else if (path !== '') {
      writeFileSync(join(copy, path), text)
      const [, name] = /^export const (\w+) = defineTool/m.exec(text) ?? []
      edit('src/tools/index.ts', /^/, `import { ${name} } from './${path.split('/').at(-1)}'\n`)
      edit('src/tools/index.ts', / = \[/, `$&${name}, `)
    }
  }
}

function edit(path: string, from: RegExp, to: string): void {
  const text = readFileSync(join(copy, path), 'utf8')
  expect(text, path).toMatch(from)
  writeFileSync(join(copy, path), text.replace(from, to))
}

/** Starts a line of a shell in the copy, both streams into one, as on a screen. */
function start(line: string, env: Readonly<Record<string, string>> = {}) {
  const child = spawn('sh', ['-c', `exec 2>&1; ${line}`], {
    cwd: copy,
    detached: true,
    env: { PATH: process.env['PATH'], HOME: copy, npm_config_update_notifier: 'false', ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  running.add(child)
  child.once('close', () => running.delete(child))
  return child
}

/** Runs it to its end. @returns what is on the screen then */
async function screenOf(line: string, env?: Readonly<Record<string, string>>): Promise<string> {
  const child = start(line, env)
  let screen = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    screen += text
  })
  await once(child, 'close')
  expect(child.exitCode, screen).toBe(0)
  return screen
}

/** Ends the whole tree of processes: npm, its shell and what that runs. */
async function stop(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  const closed = once(child, 'close')
  if (child.pid !== undefined) process.kill(-child.pid, signal)
  await closed
}

interface Development {
  readonly child: ChildProcess
  readonly url: string
  readonly key: string
  /** The command that the notice prints. */
  readonly command: string
}

const NOTICE = /Gatehouse listens on (\S+)\n.*\n {2}(npm run client -- .* --key (\S+))\n/s
/** The one that the client commands share. */
let development: Promise<Development> | undefined

/** Runs `npm run dev` and waits for its notice. */
async function startDevelopment(): Promise<Development> {
  const child = start('npm run dev', { PORT: '0', ADMIN_PORT: '0' })
  let screen = ''
  for await (const text of child.stdout.setEncoding('utf8').iterator({ destroyOnReturn: false })) {
    screen += text
    const [found, url = '', command = '', key = ''] = NOTICE.exec(screen) ?? []
    if (found === undefined) continue
    child.stdout.resume()
    return { child, url, key, command }
  }
  throw new Error(`npm run dev ended:\n${screen}`)
}

/** Runs a command of README.md against that server, with the key in `GATEHOUSE_KEY`. */
async function onServer(command: string): Promise<string> {
  development ??= startDevelopment()
  const { url, key } = await development
  expect(command).toContain('http://127.0.0.1:3000/mcp')
  return screenOf(command.replace('http://127.0.0.1:3000/mcp', url), { GATEHOUSE_KEY: key })
}

const CLIENT = 'npm run client -- http://127.0.0.1:3000/mcp'
const CREATE =
  "npm run keys -- create --name ci --scopes 'mcp:use documents:process' --days 90 --file keys.json"

const DERIVE = '(umask 077; npm run --silent keys -- derive audit-mac > mac-key)'
const VERIFY = 'npm run audit -- verify --mac-key mac-key audit.jsonl'

/** Both commands, on the trail of a server that has run. */
async function deriveAndVerify(): Promise<void> {
  const env = { MCP_SECRET: randomBytes(32).toString('base64') }
  const log = join(copy, 'audit.jsonl')
  rmSync(log, { force: true })
  const server = await startServer({ env: { ...env, MCP_AUDIT_FILE: log } })
  await server.call('echo', { text: 'hello' })
  expect(await server.stop()).toBe(0)
  await screenOf(DERIVE, env)
  expect(statSync(join(copy, 'mac-key')).mode & 0o777).toBe(0o600)
  expect(await screenOf(VERIFY)).toMatch(/\b[5-9] records\b/)
}

/** Every command that README.md shows, and how it is proven. `npm ci` has run before any test does. */
const PROOFS = new Map<string, (command: string) => Promise<void>>([
  [
    'npm ci && npm run demo',
    async (command) => {
      const screen = await screenOf(command.replace('npm ci && ', ''))
      const count = readdirSync(join(ROOT, 'examples/documents')).length
      const inOrder = [`[1/${count}] `, `[${count}/${count}] `, 'reportId: ', 'server.stop']
      const places = inOrder.map((text) => screen.indexOf(text))
      expect(places, screen).not.toContain(-1)
      expect(places).toEqual(places.toSorted((a, b) => a - b))
      expect(screen).toMatch(/decision +tools\/call +process_documents +allowed/)
    },
  ],
  [
    'npm run dev',
    async () => {
      const { child, url, key, command } = await startDevelopment()
      expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/mcp$/)
      expect(key).toMatch(/^mcpk_/)
      expect(await screenOf(command)).toContain('process_documents')
      await stop(child, 'SIGTERM')
      expect(readFileSync(join(copy, 'audit.dev.jsonl'), 'utf8')).toContain('server.stop')
    },
  ],
  [
    `${CLIENT} list`,
    async (command) => {
      const screen = await onServer(command)
      for (const { name } of tools) expect(screen).toContain(name)
    },
  ],
  [
    `${CLIENT} call echo --args '{"text":"hello"}'`,
    async (command) => expect(await onServer(command)).toContain('hello\n'),
  ],
  [
    `${CLIENT} call process_documents --files 'examples/documents/*.md'`,
    async (command) => expect(await onServer(command)).toMatch(/^\[1\/\d+\] .*^reportId: /ms),
  ],
  [
    'npm run audit -- show audit.dev.jsonl',
    async (command) => {
      await onServer(`${CLIENT} call echo --args '{"text":"hello"}'`)
      await vi.waitFor(async () =>
        expect(await screenOf(command)).toMatch(/ decision +tools\/call +echo +allowed /),
      )
    },
  ],
  [
    'npm ci && npm test',
    async () => {
      expect(packageJson.scripts.test).toBe('vitest run')
      expect(textOf('.ci/run')).toMatch(/^npm ci$.*^npm test /ms)
    },
  ],
  [DERIVE, deriveAndVerify],
  [VERIFY, deriveAndVerify],
  [
    CREATE,
    async (command) => {
      const key = /^mcpk_\S+$/m.exec(await screenOf(command))?.[0] ?? ''
      const file = readFileSync(join(copy, 'keys.json'), 'utf8')
      expect(file).toContain(hash('sha256', key))
      expect(file).not.toContain(key)
    },
  ],
  [
    'npm run keys -- list --file keys.json',
    async (command) => {
      await screenOf(CREATE.replace('keys.json', 'listed.json'))
      const screen = await screenOf(command.replace('keys.json', 'listed.json'))
      expect(screen).toMatch(/ live .* ci +ci +mcp:use documents:process$/m)
    },
  ],
])

describe('contract: what README.md shows works', () => {
  it('shows nothing that no test runs', () => {
    expect(commands).toEqual([...PROOFS.keys()])
    const others = blocks.filter(({ language }) => language !== 'sh')
    expect(others.map(({ text }) => text.split('\n')[0])).toEqual([
      '// src/tools/count-words.ts',
      '# policies/access.yaml, under tools:',
    ])
    expect(README.match(/^ *(```|~~~)/gm)).toHaveLength(blocks.length * 2)
  })

  it('docs/clients.md shows the same, and one that test/examples/browser.test.ts runs', () => {
    const shown = stepsOf('docs/clients.md').flatMap(([, texts]) => texts)
    const lines = shown.flatMap((text) => text.trim().split('\n'))
    expect(lines.filter((line) => !PROOFS.has(line))).toEqual(['npm run demo:browser'])
  })

  it.each([...PROOFS])('%s', (command, prove) => prove(command))

  it('the tool type-checks and answers', async () => {
    execFileSync(process.execPath, [join(ROOT, 'node_modules/typescript/bin/tsc'), '-p', '.'], {
      cwd: copy,
    })
    const call = `${CLIENT} call count_words --args '{"text":"two  words"}'`
    expect(await onServer(call)).toMatch(/^\[2\/2\] Counted\nwords: 2$/m)
  })

  it('the tool without its entry stops the start', async () => {
    const server = spawnServer({ entry: join(copy, 'src/main.ts') })
    expect(await server.exited).toBe(78)
    expect(server.stderr()).toMatch(/^ {2}access\.yaml tools\.count_words: has no entry/m)
  })
})
