// optional: api-key
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { keyFile } from '../key-file.ts'
import { callOf, startServer, stopServers } from '../server.ts'
import { ROOT, textOf } from '../source-tree.ts'

const PAGE = textOf('docs/api-keys.md')
const folder = mkdtempSync(join(tmpdir(), 'gatehouse-last-use-'))
afterAll(async () => {
  await stopServers()
  rmSync(folder, { recursive: true })
})

const hasJq = spawnSync('jq', ['--version']).error === undefined
if (!hasJq) process.stderr.write('Not tried: the queries of docs/api-keys.md, for want of jq.\n')

/** Runs a query of the page on an audit trail, as the page writes it. */
function ask(command: string, trail: string, env: Readonly<Record<string, string>> = {}): string {
  const { status, stdout, stderr } = spawnSync('sh', ['-c', command], {
    cwd: dirname(trail),
    encoding: 'utf8',
    env: { PATH: process.env['PATH'], ...env },
  })
  expect([status, stderr]).toEqual([0, ''])
  return stdout.trimEnd()
}

describe('contract: what docs/api-keys.md says works', () => {
  it.runIf(hasJq)('reads the last use of each key, and what it did, from the trail', async () => {
    const trail = join(folder, 'audit.jsonl')
    const { file, keys } = keyFile({}, {}, {}, { revokedAt: '2026-01-01T00:00:00Z' })
    const [first = '', second = '', , revoked = ''] = keys
    const server = await startServer({ env: { MCP_API_KEYS_FILE: file, MCP_AUDIT_FILE: trail } })
    const call = async (key: string): Promise<number> => {
      const { status } = await fetch(server.url, {
        method: 'POST',
        headers: {
          authorization: `Bearer ${key}`,
          'content-type': 'application/json',
          accept: 'application/json, text/event-stream',
        },
        body: callOf('whoami', {}),
      })
      return status
    }
    expect(await call(first)).toBe(200)
    expect(await call(second)).toBe(200)
    const before = Date.now()
    expect(await call(first)).toBe(200)
    expect(await call(revoked)).toBe(401)
    expect(await server.stop()).toBe(0)

    const [lastUse = '', whatItDid = ''] = [...PAGE.matchAll(/^```sh\n(.*?)^```$/gms)].map(
      ([, text = '']) => text,
    )
    expect(lastUse.trim()).not.toContain('\n')
    const lines = ask(lastUse, trail).split('\n')
    expect(lines.map((line) => line.split(' ')[0]).sort()).toEqual(
      [first, second].map((key) => key.slice(5, 17)).sort(),
    )
    const [, used = ''] =
      lines.find((line) => line.startsWith(first.slice(5, 17)))?.split(' ') ?? []
    expect(Date.parse(used)).toBeGreaterThanOrEqual(Math.floor(before / 1000) * 1000)
    expect(Date.parse(used)).toBeLessThanOrEqual(Date.now())

    const did = ask(whatItDid, trail, { ID: second.slice(5, 17) })
    expect(did.split('\n').map((line) => JSON.parse(line).slice(1))).toContainEqual([
      '127.0.0.1',
      'tools/call',
      'whoami',
      null,
    ])
  })

  it('names messages that the log has', () => {
    const [, message = ''] = /"msg":"([^"]+)"/.exec(PAGE) ?? []
    expect(textOf('src/auth/key-expiry.ts')).toContain(`'${message}'`)
  })

  it('links pages that exist', () => {
    for (const page of ['docs/api-keys.md', 'docs/secret-scanning.md']) {
      const links = [...textOf(page).matchAll(/\]\((?!https?:)([^)]+)\)/g)].map(([, to = '']) => to)
      expect(links.filter((to) => !existsSync(join(ROOT, dirname(page), to)))).toEqual([])
    }
  })
})
