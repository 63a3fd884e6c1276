import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { cpus, loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { chart } from './chart.ts'
import type { Bench } from './compare.ts'
import { CONTESTANTS, type Contestant, versionOf } from './contestants.ts'
import { CONNECTIONS } from './load.ts'
import manifest from './package.json' with { type: 'json' }
import type { Results, Row, SectionName } from './results.ts'
import { callers, calls, controls, lists, progress, start, tools } from './sections.ts'
import { pinLoad } from './server-process.ts'
import { describeRun, filled, readmeBlock, summaryBlock, tables } from './tables.ts'

const SECTIONS = {
  calls,
  lists,
  progress,
  start,
  tools,
  callers,
  controls,
} as const satisfies Record<SectionName, (bench: Bench) => Promise<readonly Row[]>>

const HERE = import.meta.dirname

// Measures, prints the tables, and keeps what a whole run has measured: see README.md.
const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    rounds: { type: 'string' },
    seconds: { type: 'string' },
    sections: { type: 'string' },
    servers: { type: 'string' },
    /** Writes the results here and nothing else. */
    out: { type: 'string' },
  },
})
const rounds = Number(values.rounds ?? (values.quick ? 5 : 30))
const seconds = Number(values.seconds ?? (values.quick ? 0.1 : 0.15))
const isWhole = !values.quick && values.sections === undefined && values.servers === undefined

const only = values.servers?.split(',')
const asked = CONTESTANTS.filter(({ id }) => only === undefined || only.includes(id))
const missing: { label: string; why: string }[] = []
const folder = mkdtempSync(join(tmpdir(), 'gatehouse-bench-'))
try {
  const json = jsonOf(await run())
  // What is printed is what is kept, rounded alike.
  const results: Results = JSON.parse(json)
  console.log(`${describeRun(results)}\n\n${tables(results)}`)
  if (values.out !== undefined) writeFileSync(values.out, json)
  else if (isWhole) {
    writeFileSync(join(HERE, 'results.json'), json)
    writeFileSync(join(HERE, '../docs/images/bench.svg'), chart(results))
    fill(join(HERE, 'README.md'), readmeBlock(results))
    fill(join(HERE, '../README.md'), summaryBlock(results))
  }
} finally {
  rmSync(folder, { recursive: true })
}

async function run(): Promise<Results> {
  const [before = Number.NaN] = loadavg()
  if (asked.some(({ needs }) => needs !== undefined)) install()
  const pinned = pinLoad()
  const bench: Bench = { rounds, seconds, folder, pinned, contestants: asked.filter(isInstalled) }
  const wanted = values.sections?.split(',')
  const sections: Record<SectionName, readonly Row[]> = {
    calls: [],
    lists: [],
    progress: [],
    start: [],
    tools: [],
    callers: [],
    controls: [],
  }
  for (const [name, measure] of Object.entries(SECTIONS)) {
    if (wanted !== undefined && !wanted.includes(name)) continue
    const begun = performance.now()
    Object.assign(sections, { [name]: await measure(bench) })
    const took = Math.round((performance.now() - begun) / 1000)
    process.stderr.write(`${name}: ${took} s\n`)
  }
  const [after = Number.NaN] = loadavg()
  return {
    date: new Date().toISOString().slice(0, 10),
    machine: {
      cpu: cpus()[0]?.model ?? 'unknown processor',
      cores: cpus().length,
      node: process.version,
      pinned,
      load: [before, after],
    },
    settings: { rounds, seconds, connections: CONNECTIONS },
    versions: manifest.optionalDependencies,
    missing,
    sections,
  }
}

/** Brings the packages that are compared. What cannot be had is left out by name, and the run goes on. */
function install(): void {
  const packages = Object.entries(manifest.optionalDependencies)
  if (packages.every(([name, version]) => versionOf(name) === version)) return
  try {
    process.stderr.write('npm ci --ignore-scripts, for the packages that are compared\n')
    execFileSync('npm', ['ci', '--ignore-scripts'], { cwd: HERE, stdio: 'ignore' })
  } catch {
    process.stderr.write('npm ci failed: only what is installed is compared\n')
  }
}

function isInstalled({ label, needs }: Contestant): boolean {
  const versions: Readonly<Record<string, string>> = manifest.optionalDependencies
  if (needs === undefined || versionOf(needs) === versions[needs]) return true
  missing.push({ label, why: `${needs} ${versions[needs]} is not installed` })
  return false
}

function fill(path: string, block: string): void {
  writeFileSync(path, filled(readFileSync(path, 'utf8'), block))
}

/** A line for each row, so that two runs can be compared. Five digits are more than is measured. */
function jsonOf({ sections, ...about }: Results): string {
  const line = (value: unknown): string =>
    JSON.stringify(value, (_name, inner: unknown) =>
      typeof inner === 'number' ? Number(inner.toPrecision(5)) : inner,
    )
  const heads = Object.entries(about).map(([name, value]) => `  "${name}": ${line(value)},\n`)
  const lists = Object.entries(sections).map(
    ([name, rows]) =>
      `    "${name}": [\n${rows.map((row) => `      ${line(row)}`).join(',\n')}\n    ]`,
  )
  return `{\n${heads.join('')}  "sections": {\n${lists.join(',\n')}\n  }\n}\n`
}
