import { cpSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parse, stringify } from 'yaml'

const ROOT = join(import.meta.dirname, '..')

const SAMPLED = 'let trail = sampled(records, systemClock)'
const SILENT = `let trail = {
    ...sampled(records, systemClock),
    write() {},
    async commit() {},
    digest: () => ({ hmac: '', bytes: 0 }),
  }`

/** Takes the audit trail out of a fork: what it costs is the difference. */
export function silence(folder: string): void {
  const path = join(folder, 'src/run.ts')
  const text = readFileSync(path, 'utf8')
  if (!text.includes(SAMPLED)) throw new Error('run.ts makes its audit trail in another way')
  writeFileSync(path, text.replace(SAMPLED, SILENT))
}

/**
 * Makes a fork of Gatehouse in a folder: the same `src` and the same policies, but with another list
 * of tools, and with limits that a benchmark from one address and one caller does not reach.
 *
 * @param tools number of tools, `echo` included; at least 1
 */
export function makeFork(folder: string, tools: number): void {
  cpSync(join(ROOT, 'src'), join(folder, 'src'), { recursive: true })
  cpSync(join(ROOT, 'policies'), join(folder, 'policies'), { recursive: true })
  cpSync(join(ROOT, 'package.json'), join(folder, 'package.json'))
  symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'))

  const samples = tools - 1
  cpSync(join(import.meta.dirname, 'sample-tools.ts'), join(folder, 'src/tools/sample-tools.ts'))
  writeFileSync(join(folder, 'src/tools/index.ts'), toolsIndex(samples))

  edit(folder, 'access.yaml', (access) => {
    const names = Array.from({ length: samples }, (_, index) => `sample_${index}`)
    const entries = names.map((name) => [name, { scopes: [], why: 'never called' }] as const)
    return {
      ...access,
      tools: { echo: pick(access['tools'], 'echo'), ...Object.fromEntries(entries) },
    }
  })
  edit(folder, 'limits.yaml', ({ address, principal, ...limits }) => ({
    ...limits,
    address: { ...objectOf(address), requestsPerMinute: 1_000_000 },
    principal: { ...objectOf(principal), requestsPerMinute: 1_000_000 },
  }))
  mkdirSync(join(folder, 'log'))
}

function toolsIndex(samples: number): string {
  return `import { defineTool, type Tool } from '../define.ts'
import { echo } from './echo.ts'
import { sampleInput, sampleName, sampleOutput } from './sample-tools.ts'

const samples = Array.from({ length: ${samples} }, (_, index) =>
  defineTool({
    name: sampleName(index),
    title: 'Sample',
    description: 'Not called.',
    annotations: { readOnlyHint: true },
    input: sampleInput(index),
    output: sampleOutput(),
    longRunning: false,
    run: async () => ({ ids: [], total: 0 }),
  }),
)

export const tools: readonly Tool[] = [echo, ...samples]
`
}

type Fields = Readonly<Record<string, unknown>>

function edit(folder: string, file: string, change: (policy: Fields) => Fields): void {
  const path = join(folder, 'policies', file)
  writeFileSync(path, stringify(change(objectOf(parse(readFileSync(path, 'utf8'))))))
}

function objectOf(value: unknown): Fields {
  if (typeof value !== 'object' || value === null) throw new Error('a policy has another shape')
  return Object.fromEntries(Object.entries(value))
}

function pick(value: unknown, name: string): unknown {
  return objectOf(value)[name]
}
