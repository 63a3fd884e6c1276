import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import packageJson from '../package.json' with { type: 'json' }
import type { Era } from './client.ts'
import { makeFork } from './fork.ts'
import { type ServerProcess, startServer } from './server-process.ts'

/** Where and how a server under test runs: in a folder of its own, which does not exist yet. */
export interface Place {
  readonly folder: string
  readonly tools: number
  readonly pinned: boolean
}

/** A server of the comparison. */
export interface Contestant {
  readonly id: string
  readonly label: string
  /** Package of bench/ that it needs, where that is not one of the root. */
  readonly needs?: string
  readonly eras: readonly Era[]
  /** `call` alone: it knows no protocol. `quiet`: no progress outside of tasks. */
  readonly knows?: 'call' | 'quiet'
  /** Makes what has to be on disk. @returns what starts the server, as often as it is called */
  prepare(options: Place): () => Promise<ServerProcess>
}

const HERE = import.meta.dirname
const BOTH = ['2026', '2025'] as const
const OLD = ['2025'] as const

/** In this order in tables and charts. */
export const CONTESTANTS: readonly Contestant[] = [
  {
    id: 'gatehouse',
    label: 'Gatehouse, everything on',
    eras: BOTH,
    prepare({ folder, tools, pinned }) {
      const env = makeFork(folder, tools)
      return () => startFork(folder, env, pinned)
    },
  },
  { ...alone('servers/raw-node.ts'), id: 'node', label: 'node:http, no protocol', knows: 'call' },
  { ...alone('servers/raw-hono.ts'), id: 'hono', label: 'Hono, no protocol', knows: 'call' },
  {
    ...alone('servers/sdk.ts', { BENCH_SCHEMAS: 'hoisted' }),
    id: 'sdk-careful',
    label: 'SDK v2, schemas made once',
    eras: BOTH,
  },
  {
    ...alone('servers/sdk.ts'),
    id: 'sdk-documented',
    label: 'SDK v2, as documented',
    eras: BOTH,
  },
  {
    ...alone('peers/mcp-handler.ts'),
    id: 'mcp-handler',
    label: 'mcp-handler',
    needs: 'mcp-handler',
    eras: BOTH,
  },
  {
    ...alone('peers/express.ts'),
    id: 'sdk-v1',
    label: 'SDK v1 on Express',
    needs: '@modelcontextprotocol/sdk',
    eras: OLD,
  },
  {
    ...alone('peers/fastmcp.ts', { BENCH_STATELESS: 'false' }),
    id: 'fastmcp',
    label: 'fastmcp, sessions',
    needs: 'fastmcp',
    eras: OLD,
  },
  {
    ...alone('peers/fastmcp.ts', { BENCH_STATELESS: 'true' }),
    id: 'fastmcp-stateless',
    label: 'fastmcp, stateless',
    needs: 'fastmcp',
    eras: OLD,
  },
  {
    ...alone('peers/hono-mcp.ts'),
    id: 'hono-mcp',
    label: '@hono/mcp',
    needs: '@hono/mcp',
    eras: OLD,
  },
  {
    ...alone('peers/mcp-ts-core.ts', { MCP_TRANSPORT_TYPE: 'http' }, 'MCP_HTTP_PORT'),
    id: 'mcp-ts-core',
    label: '@cyanheads/mcp-ts-core',
    needs: '@cyanheads/mcp-ts-core',
    eras: OLD,
    knows: 'quiet',
  },
]

/** The options of Node that `npm start` has. */
export const START_FLAGS = packageJson.scripts.start
  .split(' ')
  .filter((word) => word.startsWith('--'))

/** Starts a fork that `makeFork` has made, with the options of Node that `npm start` has. */
export function startFork(
  folder: string,
  env: NodeJS.ProcessEnv,
  pinned: boolean,
): Promise<ServerProcess> {
  const options = { cwd: folder, env: { ...baseEnv(), ...env }, pinned, flags: START_FLAGS }
  return startServer('src/main.ts', options)
}

/** @returns the version of a package of bench/, or `undefined` when it is not installed */
export function versionOf(name: string): string | undefined {
  const file = join(HERE, 'node_modules', name, 'package.json')
  if (!existsSync(file)) return undefined
  const manifest: { version?: string } = JSON.parse(readFileSync(file, 'utf8'))
  return manifest.version
}

function alone(
  script: string,
  own: NodeJS.ProcessEnv = {},
  portVariable = 'PORT',
): Pick<Contestant, 'eras' | 'prepare'> {
  return {
    eras: ['2026'],
    prepare({ folder, tools, pinned }) {
      mkdirSync(folder, { recursive: true })
      const env = { ...baseEnv(), NODE_ENV: 'production', BENCH_TOOLS: String(tools), ...own }
      const options = { cwd: folder, env, pinned, portVariable }
      return () => startServer(join(HERE, script), options)
    },
  }
}

function baseEnv(): NodeJS.ProcessEnv {
  return { PATH: process.env['PATH'], HOME: process.env['HOME'] }
}
