// optional: legacy-sse
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { type PolicyEdit, type Server, startServer, stopServers } from '../server.ts'
import { ROOT, textOf } from '../source-tree.ts'

const PAGE = textOf('docs/migrate-from-sse.md')
/** The pieces of the page that have a name, in order. */
const pieces = [...PAGE.matchAll(/^```\w+ (\S+)\n(.*?)^```$/gms)].map(
  ([, name = '', text = '']) => ({
    name,
    text,
  }),
)
const CLIENTS = pieces.flatMap(({ name }) => (name.endsWith('-client.mjs') ? [name] : []))

/** A tree with the pieces in it, and with the server around them. */
const folder = mkdtempSync(join(tmpdir(), 'gatehouse-migrate-'))
beforeAll(() => {
  symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
  mkdirSync(join(folder, 'src/tools'), { recursive: true })
  symlinkSync(join(ROOT, 'src/define.ts'), join(folder, 'src/define.ts'))
  for (const { name, text } of pieces) {
    if (!name.startsWith('policies/')) writeFileSync(join(folder, name), text)
  }
  writeFileSync(
    join(folder, 'src/main.ts'),
    [
      `import { catalog } from '${join(ROOT, 'src/catalog.ts')}'`,
      `import { run } from '${join(ROOT, 'src/run.ts')}'`,
      `import { countWords } from './tools/count-words.ts'`,
      'await run({ ...catalog, tools: [...catalog.tools, countWords] })',
    ].join('\n'),
  )
})
afterAll(async () => {
  await stopServers()
  rmSync(folder, { recursive: true })
})

const ENTRY: PolicyEdit = [
  'access.yaml',
  'tools:\n',
  'tools:\n  count_words: { scopes: [], why: "no side effects" }\n',
]

/** The server under the policy of the page; `at` counts the pieces of that name. */
function serverAt(at: number): Promise<Server> {
  const policy = pieces.filter(({ name }) => name === 'policies/http.yaml')[at]?.text ?? ''
  const { legacy, httpSse } = parse(policy).protocol
  return startServer({
    entry: join(folder, 'src/main.ts'),
    policies: [
      ENTRY,
      ['http.yaml', 'legacy: stateless', `legacy: ${legacy}`],
      ['http.yaml', 'httpSse: false', `httpSse: ${httpSse}`],
    ],
  })
}

interface Ran {
  readonly status: number | null
  readonly stdout: string
}

async function runClient(name: string, url: string, key: string): Promise<Ran> {
  const child = spawn(process.execPath, [name], {
    cwd: folder,
    env: { MCP_URL: url, MCP_KEY: key },
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  let stdout = ''
  child.stdout.on('data', (chunk: Buffer) => {
    stdout += chunk.toString()
  })
  await once(child, 'close')
  return { status: child.exitCode, stdout: stdout.trim() }
}

describe('contract: docs/migrate-from-sse.md, step by step', () => {
  it('has the pieces that are tried here', () => {
    expect(pieces.map(({ name }) => name)).toEqual([
      'before-server.mjs',
      'src/tools/count-words.ts',
      'policies/http.yaml',
      'before-client.mjs',
      'streamable-client.mjs',
      'either-client.mjs',
      'policies/http.yaml',
      'modern-client.mjs',
    ])
  })

  it('begins with a server and a client that work', async () => {
    const server = spawn(process.execPath, ['before-server.mjs'], {
      cwd: folder,
      env: {},
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    try {
      const [port] = await once(server.stdout, 'data')
      const url = `http://127.0.0.1:${String(port).trim()}/mcp`
      for (const name of ['before-client.mjs', 'either-client.mjs']) {
        expect([name, await runClient(name, url, 'none')]).toEqual([
          name,
          { status: 0, stdout: '2' },
        ])
      }
    } finally {
      server.kill('SIGKILL')
    }
  }, 60_000)

  it('serves every client side by side', async () => {
    const server = await serverAt(0)
    for (const name of CLIENTS) {
      const stdout = name === 'modern-client.mjs' ? '2 2026-07-28' : '2'
      expect([name, await runClient(name, server.url, server.key)]).toEqual([
        name,
        { status: 0, stdout },
      ])
    }
    const query = /^```sh\n(.*?)^```$/ms.exec(PAGE)?.[1] ?? ''
    expect(query).toContain('audit.jsonl')
    expect(await server.stop()).toBe(0)
  }, 60_000)

  it('serves those who have moved when HTTP+SSE is off', async () => {
    const server = await serverAt(1)
    for (const name of CLIENTS) {
      const { status } = await runClient(name, server.url, server.key)
      expect([name, status]).toEqual([name, name === 'before-client.mjs' ? 1 : 0])
    }
    expect(await server.stop()).toBe(0)
  }, 60_000)

  const hasJq = spawnSync('jq', ['--version']).error === undefined
  it.runIf(hasJq)(
    'finds who has not moved',
    async () => {
      const trail = join(folder, 'audit.jsonl')
      const server = await startServer({
        entry: join(folder, 'src/main.ts'),
        env: { MCP_AUDIT_FILE: trail },
        policies: [
          ENTRY,
          ['http.yaml', 'legacy: stateless', 'legacy: sessions'],
          ['http.yaml', 'httpSse: false', 'httpSse: true'],
        ],
      })
      for (const name of ['before-client.mjs', 'streamable-client.mjs']) {
        await runClient(name, server.url, server.key)
      }
      expect(await server.stop()).toBe(0)
      const query = /^```sh\n(.*?)^```$/ms.exec(PAGE)?.[1] ?? ''
      const { stdout } = spawnSync('sh', ['-c', query], {
        cwd: dirname(trail),
        encoding: 'utf8',
        env: { PATH: process.env['PATH'] },
      })
      expect(stdout.trim()).toMatch(/^1 \S+$/)
    },
    60_000,
  )
})
