import { execFile } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import { chart } from '../bench/chart.ts'
import { openClient } from '../bench/client.ts'
import { CONTESTANTS } from '../bench/contestants.ts'
import benchManifest from '../bench/package.json' with { type: 'json' }
import { filled, readmeBlock, summaryBlock, tables } from '../bench/tables.ts'
import { verdicts } from '../bench/targets.ts'
import { call, count, list, type Work } from '../bench/work.ts'
import manifest from '../package.json' with { type: 'json' }
import { httpServer } from './http-server.ts'
import { ROOT, textOf } from './source-tree.ts'

const rows = z.array(
  z.strictObject({
    id: z.string(),
    label: z.string(),
    era: z.enum(['2025', '2026']),
    rounds: z.array(z.record(z.string(), z.number())),
    why: z.string().optional(),
  }),
)
const results = z.strictObject({
  date: z.iso.date(),
  machine: z.strictObject({
    cpu: z.string(),
    cores: z.number(),
    node: z.string(),
    pinned: z.boolean(),
    load: z.tuple([z.number(), z.number()]),
  }),
  settings: z.strictObject({ rounds: z.number(), seconds: z.number(), connections: z.number() }),
  versions: z.record(z.string(), z.string()),
  missing: z.array(z.strictObject({ label: z.string(), why: z.string() })),
  sections: z.strictObject({
    calls: rows,
    lists: rows,
    progress: rows,
    start: rows,
    tools: rows,
    callers: rows,
    controls: rows,
  }),
})

describe('contract: what is said of speed is what was measured', () => {
  const measured = results.parse(JSON.parse(textOf('bench/results.json')))

  it.each([
    ['bench/README.md', readmeBlock(measured)],
    ['README.md', summaryBlock(measured)],
  ])('%s has the figures of bench/results.json', (page, block) => {
    expect(filled(textOf(page), block)).toBe(textOf(page))
  })

  it('the page of the benchmark has marks for its figures', () => {
    expect(filled(textOf('bench/README.md'), 'figures')).not.toBe(textOf('bench/README.md'))
  })

  it('the picture is drawn from bench/results.json', () => {
    expect(textOf('docs/images/bench.svg')).toBe(chart(measured))
  })

  it('every target was measured', () => {
    expect(verdicts(measured)).toHaveLength(8)
  })

  it('the versions measured are the ones that are installed', () => {
    expect(measured.versions).toEqual(benchManifest.optionalDependencies)
  })
})

describe('contract: the benchmark compares like with like', () => {
  const versions: Readonly<Record<string, string>> = {
    ...manifest.devDependencies,
    ...manifest.dependencies,
  }

  it.each(Object.entries(benchManifest.optionalDependencies).filter(([name]) => name in versions))(
    '%s is the version that the server has',
    (name, version) => {
      expect(version).toBe(versions[name])
    },
  )

  const peers = CONTESTANTS.flatMap(({ id, needs }) => (needs === undefined ? [] : [{ id, needs }]))

  it.each(peers)('$id has a pinned package', ({ needs }) => {
    expect(Object.keys(benchManifest.optionalDependencies)).toContain(needs)
  })

  it.each(['express', 'fastmcp', 'hono-mcp', 'mcp-handler', 'mcp-ts-core'])(
    'peers/%s.ts and docs/comparison.md name the version that is pinned',
    (name) => {
      const [, cited = '', version = ''] =
        /^\/\/ (\S+) (\d+\.\d+\.\d+)/.exec(textOf(`bench/peers/${name}.ts`)) ?? []
      const pinned: Readonly<Record<string, string>> = benchManifest.optionalDependencies
      expect(version).toBe(pinned[cited])
      expect(textOf('docs/comparison.md')).toContain(`/${cited}/v/${version})`)
    },
  )
})

describe('contract: a wrong answer ends the run', () => {
  const echoed = (text: string): object => ({ structuredContent: { text } })
  const tool = { name: 'echo', inputSchema: { type: 'object' } }
  const params = z.object({ arguments: z.object({ text: z.string() }) })

  /** A server that answers every request with what is made of its parameters. */
  async function does(work: Work, answer: (sent: unknown) => object): Promise<void> {
    const server = await httpServer((request, response) => {
      let body = ''
      request.on('data', (chunk) => {
        body += chunk
      })
      request.on('end', () => {
        const { id, params: sent }: { id: number; params: unknown } = JSON.parse(body)
        response.setHeader('content-type', 'application/json')
        response.end(JSON.stringify({ jsonrpc: '2.0', id, ...answer(sent) }))
      })
    })
    onTestFinished(() => server.down())
    const client = await openClient({ port: server.port, keys: [], era: '2026' })
    await work(client)
  }

  it('takes the right text and the right list', async () => {
    await does(call, (sent) => ({ result: echoed(params.parse(sent).arguments.text) }))
    await does(list(1), () => ({ result: { tools: [tool] } }))
  })

  it.each([
    ['another text', call, { result: echoed('benchmark') }],
    ['no text', call, { result: {} }],
    ['an error', call, { error: { code: -32600, message: 'Forbidden' } }],
    ['too few tools', list(2), { result: { tools: [tool] } }],
    ['tools without schema', list(1), { result: { tools: [{ name: 'echo' }] } }],
    ['no progress', count(3), { result: { structuredContent: { steps: 3 } } }],
  ])('refuses %s', async (_name, work, answer) => {
    await expect(does(work, () => answer)).rejects.toThrow(/wrong answer/)
  })
})

describe('contract: npm run bench works', () => {
  it('measures two servers in one short round, and writes only what was asked for', {
    timeout: 180_000,
  }, async () => {
    const folder = mkdtempSync(join(tmpdir(), 'gatehouse-bench-test-'))
    onTestFinished(() => rmSync(folder, { recursive: true }))
    const out = join(folder, 'results.json')
    const before = textOf('bench/README.md')
    const { stdout } = await promisify(execFile)(
      process.execPath,
      [
        'bench/main.ts',
        ...['--rounds', '1', '--seconds', '0.01', '--sections', 'calls,lists'],
        ...['--servers', 'gatehouse,sdk-careful', '--out', out],
      ],
      { cwd: ROOT },
    )
    const found = results.parse(JSON.parse(readFileSync(out, 'utf8')))
    const { calls, lists } = found.sections
    const names = ['gatehouse 2026', 'gatehouse 2025', 'sdk-careful 2026', 'sdk-careful 2025']
    expect(calls.map(({ id, era }) => `${id} ${era}`)).toEqual(names)
    expect(lists.map(({ id, era }) => `${id} ${era}`)).toEqual(names)
    for (const { rounds } of [...calls, ...lists]) {
      expect(rounds).toHaveLength(1)
      expect(rounds[0]).toMatchObject({ perSecond: expect.any(Number), cpuMs: expect.any(Number) })
    }
    expect(stdout).toContain(tables(found))
    expect(textOf('bench/README.md')).toBe(before)
    expect(existsSync(join(ROOT, 'bench/results.json'))).toBe(true)
  })
})
