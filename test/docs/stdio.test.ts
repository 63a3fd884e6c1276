import { randomBytes } from 'node:crypto'
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js'
import { afterAll, beforeEach, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { environment } from '../../src/config.ts'
import { STDIO } from '../../src/config-stdio.ts'
import { production } from '../production.ts'
import { ROOT, textOf } from '../source-tree.ts'

const page = textOf('docs/stdio.md')
const hostConfig = z.strictObject({
  mcpServers: z.strictObject({
    gatehouse: z.strictObject({
      command: z.literal('node'),
      args: z.array(z.string()),
      env: z.record(z.string(), z.string()),
    }),
  }),
})
const blocks = [...page.matchAll(/```json\n([\s\S]*?)```/g)].map(
  ([, json = '']) => hostConfig.parse(JSON.parse(json)).mcpServers.gatehouse,
)

const folder = mkdtempSync(join(tmpdir(), 'gatehouse-docs-'))
chmodSync(folder, 0o777) // Another user runs the server of production.
afterAll(() => rmSync(folder, { recursive: true }))
// Whoever was first owns the trail.
beforeEach(() => rmSync(join(folder, 'audit.stdio.jsonl'), { force: true }))

/** The block with the paths of this machine. */
function here(text: string): string {
  return text
    .replace(/^\/opt\/gatehouse(?=\/(src|policies))/, ROOT)
    .replace(/^\/opt\/gatehouse/, folder)
}

/** What a host does with the block. */
async function whoami(
  { args, env }: (typeof blocks)[number],
  before: readonly string[] = [],
): Promise<unknown> {
  const [command = process.execPath, ...rest] = [...before, process.execPath, ...args.map(here)]
  const client = new Client({ name: 'host', version: '1.0.0' })
  const settings = Object.entries(env).map(([name, value]) => [name, here(value)])
  const transport = new StdioClientTransport({
    command,
    args: rest,
    env: Object.fromEntries(settings),
    cwd: tmpdir(),
    stderr: 'ignore',
  })
  await client.connect(transport)
  const { structuredContent } = await client.callTool({ name: 'whoami' })
  await client.close()
  return structuredContent
}

describe('contract: docs/stdio.md does what it says', () => {
  const [development, inProduction] = blocks

  it('has one block for each mode', () => {
    expect(blocks).toHaveLength(2)
  })

  it('starts without a key in development', async () => {
    expect(development && (await whoami(development))).toMatchObject({ kind: 'local' })
  })

  it('starts as the key of a file in production', async () => {
    const { key, keysFile, unprivileged } = production()
    const files = {
      secret: randomBytes(32).toString('base64'),
      'stdio.key': key,
      'keys.json': readFileSync(keysFile, 'utf8'),
    }
    for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text)
    const { uid } = unprivileged
    const as =
      uid === undefined ? [] : ['setpriv', `--reuid=${uid}`, `--regid=${uid}`, '--clear-groups']
    expect(inProduction && (await whoami(inProduction, as))).toMatchObject({
      kind: 'api-key',
      subject: 'ci',
    })
  })

  it('names every setting that is read', () => {
    const settings = Object.keys(environment.shape)
    const read = STDIO.read(Object.fromEntries(settings.map((name) => [name, 'x'])))
    for (const name of Object.keys(read)) expect(page).toContain(`\`${name}\``)
    const named = [...page.matchAll(/`([A-Z_]{4,})`/g)].map(([, name = '']) => name)
    expect(named.filter((name) => settings.includes(name) && !(name in read))).toEqual([])
  })
})
