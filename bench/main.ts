import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { makeFork, silence } from './fork.ts'
import { load } from './load.ts'
import { pinLoad, type ServerProcess, startServer } from './server-process.ts'

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '10' },
    seconds: { type: 'string', default: '2' },
  },
})
const rounds = Number(values.rounds)
const seconds = Number(values.seconds)

/** What one server did in one round. */
interface Slice {
  readonly perSecond: number
  /** CPU time of the server process for one request, ms. */
  readonly cpuMs: number
  /** Share of one core that the server used; below 0.9 it was not the bottleneck. */
  readonly busy: number
}

const LABELS: ReadonlyMap<string, string> = new Map([
  ['raw', 'a  Hono, no protocol'],
  ['sdk-hoisted', 'b  SDK, 10 tools, schemas hoisted'],
  ['sdk-documented', 'c  SDK, 10 tools, as documented'],
  ['gatehouse-1', 'd  Gatehouse, 1 tool'],
  ['gatehouse-silent', 'd  the same without audit trail'],
  ['gatehouse-10', 'd  Gatehouse, 10 tools'],
  ['gatehouse-50', 'd  Gatehouse, 50 tools'],
])

/** With so many tools. */
const FORKS = [
  ['gatehouse-1', 1],
  ['gatehouse-silent', 1],
  ['gatehouse-10', 10],
  ['gatehouse-50', 50],
] as const

interface Ratio {
  readonly label: string
  readonly top: string
  readonly bottom: string
  readonly by: 'perSecond' | 'cpuMs'
  readonly target: number
  readonly atMost: boolean
}

const speed = { top: 'gatehouse-10', by: 'perSecond', atMost: false } as const
const RATIOS: readonly Ratio[] = [
  { ...speed, label: 'speed: Gatehouse / a', bottom: 'raw', target: 0.18 },
  { ...speed, label: 'speed: Gatehouse / b', bottom: 'sdk-hoisted', target: 1.5 },
  { ...speed, label: 'speed: Gatehouse / c', bottom: 'sdk-documented', target: 6 },
  {
    label: 'CPU: 50 tools / 1 tool',
    top: 'gatehouse-50',
    bottom: 'gatehouse-1',
    by: 'cpuMs',
    target: 1.2,
    atMost: true,
  },
  {
    label: 'CPU: without / with audit trail',
    top: 'gatehouse-silent',
    bottom: 'gatehouse-1',
    by: 'cpuMs',
    target: 0.9,
    atMost: false,
  },
]

const folder = mkdtempSync(join(tmpdir(), 'gatehouse-bench-'))
const pinned = pinLoad()
const servers = new Map<string, ServerProcess>()

try {
  await startAll()
  for (const [name, server] of servers) {
    for (let warmUp = 0; warmUp < 3; warmUp += 1) await measure(name, server)
  }
  const slices = new Map<string, Slice[]>()
  for (const name of servers.keys()) slices.set(name, [])
  for (let round = 1; round <= rounds; round += 1) {
    for (const [name, server] of servers) slices.get(name)?.push(await measure(name, server))
    process.stderr.write(`round ${round} of ${rounds}\n`)
  }
  report(slices)
} finally {
  await Promise.all([...servers.values()].map((server) => server.stop()))
  rmSync(folder, { recursive: true })
}

async function startAll(): Promise<void> {
  const own = join(import.meta.dirname, 'servers')
  const env = { PATH: process.env['PATH'], NODE_ENV: 'production' }
  const sdk = join(own, 'sdk.ts')
  servers.set('raw', await startServer(join(own, 'raw-hono.ts'), { cwd: own, env, pinned }))
  const hoisted = { ...env, BENCH_SCHEMAS: 'hoisted' }
  servers.set('sdk-hoisted', await startServer(sdk, { cwd: own, env: hoisted, pinned }))
  servers.set('sdk-documented', await startServer(sdk, { cwd: own, env, pinned }))
  for (const [name, tools] of FORKS) {
    const cwd = join(folder, name)
    mkdirSync(cwd)
    makeFork(cwd, tools)
    if (name === 'gatehouse-silent') silence(cwd)
    const gatehouse = {
      ...env,
      NODE_ENV: 'development',
      PORT: '0',
      ADMIN_PORT: '0',
      MCP_AUDIT_FILE: join(cwd, 'log/audit.jsonl'),
    }
    const server = await startServer('src/main.ts', { cwd, env: gatehouse, pinned })
    if (server.key === undefined) throw new Error('the server printed no API key')
    servers.set(name, server)
  }
}

async function measure(name: string, server: ServerProcess): Promise<Slice> {
  const before = server.cpuMs()
  const done = await load(server, seconds).catch((cause: unknown) => {
    throw new Error(`${name} did not serve its load`, { cause })
  })
  const cpu = server.cpuMs() - before
  return {
    perSecond: done.requests / done.seconds,
    cpuMs: cpu / done.requests,
    busy: cpu / (done.seconds * 1000),
  }
}

function report(slices: ReadonlyMap<string, readonly Slice[]>): void {
  const of = (name: string): readonly Slice[] => slices.get(name) ?? []
  const spread = (numbers: readonly number[], digits: number): string => {
    const [low, middle, high] = [Math.min(...numbers), median(numbers), Math.max(...numbers)]
    return `${middle.toFixed(digits)} (${low.toFixed(digits)} to ${high.toFixed(digits)})`
  }
  const line = (cells: readonly string[]): void => {
    console.log(
      cells
        .map((cell, index) => cell.padEnd(index === 0 ? 36 : 26))
        .join('')
        .trimEnd(),
    )
  }

  console.log(`\nMedian (lowest to highest) of ${rounds} rounds of ${seconds} s, 16 connections`)
  console.log(pinned ? 'Servers on one core, load on another.\n' : 'Not pinned: no taskset here.\n')
  line(['server', 'requests a second', 'CPU ms a request', 'core used'])
  for (const [name, all] of slices) {
    line([
      LABELS.get(name) ?? name,
      spread(
        all.map(({ perSecond }) => perSecond),
        0,
      ),
      spread(
        all.map(({ cpuMs }) => cpuMs),
        3,
      ),
      spread(
        all.map(({ busy }) => busy),
        2,
      ),
    ])
  }

  console.log('')
  line(['ratio', 'by round', 'target', ''])
  for (const { label, top, bottom, by, target, atMost } of RATIOS) {
    const tops = of(top)
    const ratios = of(bottom).map((slice, index) => (tops[index]?.[by] ?? Number.NaN) / slice[by])
    const met = atMost ? median(ratios) <= target : median(ratios) >= target
    const wanted = `${atMost ? 'at most' : 'at least'} ${target}`
    line([label, spread(ratios, 2), wanted, met ? 'met' : 'missed'])
  }
}

function median(numbers: readonly number[]): number {
  const sorted = numbers.toSorted((a, b) => a - b)
  const middle = Math.floor(sorted.length / 2)
  const [low, high] = [sorted[sorted.length - 1 - middle], sorted[middle]]
  return ((low ?? Number.NaN) + (high ?? Number.NaN)) / 2
}
