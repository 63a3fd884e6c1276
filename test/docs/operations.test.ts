// optional: api-key
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it, onTestFinished } from 'vitest'
import { parse } from 'yaml'
import { z } from 'zod'
import { keys } from '../../src/cli/keys.ts'
import { environment } from '../../src/config.ts'
import type { Identity } from '../../src/context.ts'
import { denyList } from '../../src/deny-list.ts'
import { DENIALS } from '../../src/errors.ts'
import { RECORDS } from '../audit/record-schema.ts'
import { production } from '../production.ts'
import { callOf, type Server, startServer, stopServers } from '../server.ts'
import { readSources, textOf } from '../source-tree.ts'

const PAGE = textOf('docs/operations.md')
const words = [...PAGE.matchAll(/`([^`\n]+)`/g)].map(([, word = '']) => word)

afterAll(stopServers)

describe('contract: what docs/operations.md names is what the server has', () => {
  const sources = readSources().filter(({ path }) => path.startsWith('src/'))
  const text = sources.map((source) => source.text).join('\n')

  it('metrics', () => {
    const named = words.filter((word) => word.startsWith('gatehouse_'))
    expect(named.length).toBeGreaterThan(3)
    for (const name of named) expect(textOf('docs/observability.md')).toContain(`\`${name}\``)
  })

  it('alerts', () => {
    const rules = z
      .object({
        groups: z.array(z.object({ rules: z.array(z.object({ alert: z.string() })) })),
      })
      .parse(parse(textOf('deploy/alerts/gatehouse.yaml')))
      .groups.flatMap((group) => group.rules.map(({ alert }) => alert))
    const named = words.filter((word) => /^Gatehouse[A-Z]/.test(word))
    expect(named.length).toBeGreaterThan(3)
    for (const name of named) expect(rules).toContain(name)
  })

  it('refusals', () => {
    const files = new Set(Object.keys(DENIALS).map((name) => name.split('.')[0]))
    const named = words.filter((word) => /^[a-z-]+\.[a-z-]+$/.test(word))
    const refusals = named.filter((word) => files.has(word.split('.')[0] ?? ''))
    expect(refusals.length).toBeGreaterThan(5)
    for (const name of refusals) expect(Object.keys(DENIALS)).toContain(name)
  })

  it('events', () => {
    const named = words.filter((word) =>
      /^(policy|keys|jwks|server|authn|audit)\.[a-z]+$/.test(word),
    )
    expect(named.length).toBeGreaterThan(1)
    for (const name of named) expect(Object.keys(RECORDS)).toContain(name)
  })

  it('settings', () => {
    const known = Object.keys(environment.shape)
    for (const name of words.filter((word) => /^(MCP_|REDIS_URL)/.test(word))) {
      expect(known).toContain(name.replace(/_FILE$/, (end) => (known.includes(name) ? end : '')))
    }
  })

  it('lines of the log', () => {
    const lines = words.filter((word) => /^[A-Z][a-z]+ [a-z]/.test(word))
    expect(lines.length).toBeGreaterThan(4)
    for (const line of lines) expect(text).toContain(`'${line}'`)
  })

  it('scripts and files', () => {
    const { scripts } = z
      .object({ scripts: z.record(z.string(), z.string()) })
      .parse(JSON.parse(textOf('package.json')))
    for (const [, name = ''] of PAGE.matchAll(/npm run ([a-z:]+)/g))
      expect(Object.keys(scripts)).toContain(name)
    for (const [, file = ''] of PAGE.matchAll(/\]\(((?:\.\.\/)?[\w./-]+\.(?:md|yaml))/g)) {
      expect(textOf(join('docs', file)).length).toBeGreaterThan(0)
    }
  })
})

describe('contract: the deny list of docs/operations.md shuts somebody out', () => {
  it('the example is read, and shuts out whom it names', () => {
    const [, example = ''] = /^```json\n(.*?)^```$/ms.exec(PAGE) ?? []
    const folder = mkdtempSync(join(tmpdir(), 'operations-test-'))
    onTestFinished(() => rmSync(folder, { recursive: true }))
    const file = join(folder, 'denied.json')
    writeFileSync(file, example)
    const { denies } = denyList(file)
    const of = (issuer: string, subject: string, credentialId: string | null): Identity => ({
      principal: {
        kind: 'oauth',
        issuer,
        client: '',
        subject,
        scopes: [],
        roles: [],
        tenant: null,
      },
      credentialDigest: '',
      credentialId,
      expiresAt: null,
      claims: {},
    })
    const issuer = 'https://auth.example.com'
    expect(denies(of(issuer, 'mallory', null))).toBe(true)
    expect(denies(of('https://other.example.com', 'mallory', null))).toBe(false)
    expect(denies(of(issuer, 'alice', '7f21…'))).toBe(true)
    expect(denies(of('https://other.example.com', 'alice', '7f21…'))).toBe(false)
    expect(denies(of('https://other.example.com', 'alice', '0b5c…'))).toBe(true)
  })
})

describe('contract: secrets are rotated without a refused call', () => {
  async function statusOf({ url }: Server, key: string): Promise<number> {
    const response = await fetch(url, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${key}`,
        'content-type': 'application/json',
        accept: 'application/json, text/event-stream',
      },
      body: callOf('whoami', {}),
    })
    await response.text()
    return response.status
  }

  it('an API key: both work in the overlap, then the old one is revoked', async () => {
    const { key, keysFile } = production()
    const server = await startServer({ env: { MCP_API_KEYS_FILE: keysFile } })
    const reloads = (): number =>
      server.audited().filter(({ metadata }) => metadata.event_code === 'keys.reload').length
    const said: string[] = []
    const run = (...args: string[]): number =>
      keys(
        [...args, '--file', keysFile],
        { out: (text) => said.push(text), err: () => {} },
        Date.now(),
      )
    const id = key.slice(5, 17)

    expect(run('rotate', id, '--overlap-hours', '1')).toBe(0)
    await server.recorded(() => reloads() === 1)
    const fresh = said.join('').trim()
    expect([await statusOf(server, key), await statusOf(server, fresh)]).toEqual([200, 200])

    expect(run('revoke', id)).toBe(0)
    await server.recorded(() => reloads() === 2)
    expect([await statusOf(server, key), await statusOf(server, fresh)]).toEqual([401, 200])
  }, 60_000)
})
