import { cpSync, existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { z } from 'zod'
import { newcomer, stepsOf } from '../pages.ts'
import { startServer, stopServers } from '../server.ts'
import { ROOT, textOf } from '../source-tree.ts'

/** Guards against hanging: compilers run here, on machines that do other things as well. */
const SLOW_MS = 600_000
const URL_OF_THE_PAGE = 'https://localhost/mcp'
/** As Compose writes the name that is used without another one. */
const DEFAULT_SITE = ['$', '{GATEHOUSE_SITE:-localhost}'].join('')

const { services } = z
  .object({
    services: z.record(z.string(), z.looseObject({ environment: z.unknown().optional() })),
  })
  .parse(parse(textOf('deploy/compose.yaml'), { merge: true }))
const steps = new Map(
  stepsOf('docs/first-deployment.md').map(([name, blocks]) => [name, blocks.join('')]),
)
const PAGE = [...steps.values()].join('')

const person = await newcomer({ ordinary: true })
const clone = join(person.folder, 'gatehouse')
const asked = join(person.folder, 'docker.log')
const keyFile = join(clone, 'deploy/secrets/access/keys.json')
let key = ''

beforeAll(async () => {
  person.install('docker', `echo "$@" >> ${asked}`)
  await person.run(steps.get('1. Get it, and make its secrets') ?? '')
  const makeKey = `${steps.get('2. Make a key')}\necho "$KEY"`
  key = (await person.run(makeKey, clone)).trim()
}, SLOW_MS)
afterAll(async () => {
  await stopServers()
  await person[Symbol.asyncDispose]()
})

describe('contract: what docs/first-deployment.md has one type works', () => {
  it('makes secrets that git does not see, and a key that is shown once', async () => {
    expect(existsSync(join(clone, 'deploy/secrets/root'))).toBe(true)
    expect(await person.run('git status --porcelain', clone)).toBe('')
    expect(key).toMatch(/^mcpk_\S+$/)
    expect(readFileSync(keyFile, 'utf8')).not.toContain(key)
  })

  it(
    'the settings of the replicas are checked before they start',
    async () => {
      const look = steps.get('3. Look before you start') ?? ''
      const said = await person.run(look, clone)
      expect(said).toContain('The server would start.')
      expect(said).toContain('public URL https://localhost/mcp')
      const settings = [...look.matchAll(/\b(HOST|MCP_\w+)=(\S+)/g)].map(([, name = '', value]) => [
        name,
        value,
      ])
      for (const [name = '', value] of settings.filter(([name]) => !name?.endsWith('_FILE'))) {
        const given = services['gatehouse-1']?.environment
        expect(given).toMatchObject({ [name]: value?.replace('localhost', DEFAULT_SITE) })
      }
      const wrong = look.replace(
        'MCP_TRUSTED_PROXIES=172.30.0.2/32',
        'MCP_TRUSTED_PROXIES=0.0.0.0/0',
      )
      await expect(person.run(wrong, clone)).rejects.toThrow('MCP_TRUSTED_PROXIES')
    },
    SLOW_MS,
  )

  it('asks Docker for services and files that there are', async () => {
    const lines = PAGE.split('\n').filter((line) => line.startsWith('docker '))
    await person.run(lines.join('\n'), clone)
    const calls = readFileSync(asked, 'utf8').trim().split('\n')
    expect(calls).toHaveLength(lines.length)
    for (const call of calls) {
      const [, command = '', rest = ''] =
        /^compose -f deploy\/compose\.yaml (\S+) ?(.*)$/.exec(call) ?? []
      expect(['up', 'cp', 'ps', 'run', 'logs', 'kill', 'down']).toContain(command)
      const words = rest.split(/[ :]/)
      for (const word of words.filter((word) => /^(gatehouse-\d|proxy)$/.test(word))) {
        expect(services).toHaveProperty([word])
      }
      for (const word of words.filter((word) => word.endsWith('.ts'))) {
        expect(existsSync(join(ROOT, word)), word).toBe(true)
      }
    }
  })

  it(
    'a caller without a key is told where to go, and one with it is served',
    async () => {
      const server = await startServer({
        env: {
          MCP_API_KEYS_FILE: keyFile,
          MCP_TLS_CERT_FILE: join(ROOT, 'test/tls/server.crt'),
          MCP_TLS_KEY_FILE: join(ROOT, 'test/tls/server.key'),
        },
      })
      // What `docker compose cp` brings.
      cpSync(join(ROOT, 'test/tls/ca.crt'), join(clone, 'deploy/secrets/local-ca.crt'))
      const checks = (steps.get('5. Check') ?? '').replaceAll(URL_OF_THE_PAGE, server.url)
      const said = await person.run(`exec 2>&1; ${checks}`, clone, { KEY: key })
      expect(said).toMatch(/^HTTP\/1\.1 401 /m)
      const challenge =
        /^www-authenticate: .*$/im.exec(textOf('docs/first-deployment.md'))?.[0] ?? '-'
      expect(said.toLowerCase()).toContain(
        challenge.replaceAll('https://localhost/', server.url.replace(/mcp$/, '')).toLowerCase(),
      )
      expect(said).toContain('process_documents')
      expect(said).toMatch(/^\[1\/\d+\] .*^reportId: /ms)
    },
    SLOW_MS,
  )
})
