import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { inspect } from './canaries.ts'
import { ROOT, repositoryFiles } from './source-tree.ts'

/**
 * The optional features, each with the settings that a development server needs to start without it.
 * Without API keys and without an issuer there is no way to authenticate, so that one has to be said.
 */
const FEATURES: ReadonlyMap<string, Readonly<Record<string, string>>> = new Map([
  ['api-key', { MCP_DANGEROUSLY_ALLOW_ANONYMOUS: 'true' }],
  ['oauth', {}],
  ['redis', {}],
  ['dpop', {}],
  ['introspection', {}],
  ['telemetry', {}],
  ['stdio', {}],
  ['legacy-sessions', {}],
  ['legacy-sse', {}],
  ['tasks', {}],
])

/** Features that are built on another one, and go with it. */
const INSIDE: ReadonlyMap<string, readonly string[]> = new Map([
  ['oauth', ['dpop', 'introspection']],
  ['legacy-sessions', ['legacy-sse']],
])

/** What a server needs to run, and what is built on it. Tests of a feature go with the feature. */
const KEPT = /^(src|policies|examples)\/|^(package\.json|tsconfig\.json)$/
const WHOLE_FILE = /^(?:\/\/|#) optional: ([a-z-]+)(?: \([^)]*\))?$/
const ONE_LINE = /\S.*(?:\/\/|#) optional: ([a-z-]+)$/

const files = repositoryFiles().filter((path) => KEPT.test(path))
const temporary = mkdtempSync(join(tmpdir(), 'gatehouse-removal-'))
afterAll(() => rmSync(temporary, { recursive: true }))

/**
 * @returns the text without the lines of a feature and of those inside it; `undefined` when the whole
 *   file belongs to them.
 */
function without(feature: string, text: string): string | undefined {
  const gone = [feature, ...(INSIDE.get(feature) ?? [])]
  const belongs = (mark: RegExp, line = ''): boolean => gone.includes(mark.exec(line)?.[1] ?? '-')
  const lines = text.split('\n')
  if (belongs(WHOLE_FILE, lines[0])) return undefined
  return lines.filter((line) => !belongs(ONE_LINE, line)).join('\n')
}

/** A copy of the tree without a feature; the whole tree without an argument. */
function copyWithout(feature = ''): string {
  const folder = mkdtempSync(join(temporary, 'tree-'))
  for (const path of files) {
    const text = without(feature, readFileSync(join(ROOT, path), 'utf8'))
    if (text === undefined) continue
    mkdirSync(join(folder, dirname(path)), { recursive: true })
    writeFileSync(join(folder, path), text)
  }
  const config = { extends: './tsconfig.json', include: ['src', 'examples'] }
  writeFileSync(join(folder, 'tsconfig.rest.json'), JSON.stringify(config))
  symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
  return folder
}

/** @returns what the compiler has to say; empty when nothing is wrong. */
function typeErrors(folder: string): string {
  const tsc = join(ROOT, 'node_modules/typescript/bin/tsc')
  try {
    return execFileSync(process.execPath, [tsc, '-p', 'tsconfig.rest.json'], {
      cwd: folder,
      encoding: 'utf8',
    })
  } catch (error) {
    return error instanceof Error && 'stdout' in error ? String(error.stdout) : String(error)
  }
}

/** Starts the server of a folder, waits until it listens, and asks it to stop. @returns its exit code */
async function startAndStop(
  folder: string,
  env: Readonly<Record<string, string>>,
): Promise<number> {
  const server = spawn(process.execPath, ['src/main.ts'], {
    cwd: folder,
    env: {
      PATH: process.env['PATH'],
      NODE_ENV: 'development',
      PORT: '0',
      ADMIN_PORT: '0',
      MCP_AUDIT_FILE: join(folder, 'audit.jsonl'),
      ...env,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  try {
    await listening(server)
    const ended = new Promise<number>((resolve) => {
      server.once('exit', (code) => resolve(code ?? -1))
    })
    server.kill('SIGTERM')
    const code = await ended
    inspect(readFileSync(join(folder, 'audit.jsonl'), 'utf8'))
    return code
  } finally {
    server.kill('SIGKILL')
  }
}

function listening(server: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    let output = ''
    const take = (chunk: Buffer): void => {
      output += chunk.toString()
      if (output.includes('Gatehouse listens on')) resolve()
    }
    server.stdout?.on('data', take)
    server.stderr?.on('data', take)
    server.once('error', reject)
    server.once('exit', (code) => reject(new Error(`ended with ${code} at start:\n${output}`)))
  })
}

describe('contract: an optional feature is its marked files and lines, and nothing else', () => {
  it('knows every feature that is marked', () => {
    const marked = files.flatMap((path) => {
      const [first = '', ...rest] = readFileSync(join(ROOT, path), 'utf8').split('\n')
      return [WHOLE_FILE.exec(first)?.[1], ...rest.map((line) => ONE_LINE.exec(line)?.[1])]
    })
    const found = new Set(marked.filter((feature) => feature !== undefined))
    expect([...found].sort()).toEqual([...FEATURES.keys()].sort())
  })

  it('compiles, starts and stops with all of them', async () => {
    const folder = copyWithout()
    expect(typeErrors(folder)).toBe('')
    expect(await startAndStop(folder, {})).toBe(0)
  }, 60_000)

  it.each([...FEATURES])(
    'compiles, starts and stops without %s',
    async (feature, env) => {
      const folder = copyWithout(feature)
      expect(typeErrors(folder)).toBe('')
      expect(await startAndStop(folder, env)).toBe(0)
    },
    60_000,
  )

  it.each([
    ['a file of the feature', '// optional: redis\nexport const a = 1', undefined],
    ['a file that names its package', '// optional: redis (@redis/client)\n', undefined],
    ['a line of it', 'a()\nb() // optional: redis\nc()', 'a()\nc()'],
    ['a line in YAML', 'a: 1\nb: 2 # optional: redis', 'a: 1'],
    ['a file of another', '// optional: oauth\na()', '// optional: oauth\na()'],
    ['a line of a longer name', 'a() // optional: redis-tls', 'a() // optional: redis-tls'],
    ['a comment about it', 'a() // optional: redis is', 'a() // optional: redis is'],
  ])('tells %s', (_name, text, rest) => {
    expect(without('redis', text)).toBe(rest)
  })
})
