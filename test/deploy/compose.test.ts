import { execFileSync } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DCLinter } from 'dclint'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { z } from 'zod'
import { environment } from '../../src/config.ts'
import { describeRedis, startRedis } from '../redis.ts'
import { startServer, stopServers } from '../server.ts'
import { ROOT, textOf } from '../source-tree.ts'
import { isSetting } from './settings.ts'

const service = z.strictObject({
  restart: z.literal('unless-stopped'),
  read_only: z.literal(true),
  cap_drop: z.tuple([z.literal('ALL')]),
  cap_add: z.array(z.literal('NET_BIND_SERVICE')).optional(),
  security_opt: z.tuple([z.literal('no-new-privileges:true')]),
  logging: z.looseObject({ options: z.looseObject({ 'max-size': z.string() }) }),
  build: z.strictObject({ context: z.string() }).optional(),
  image: z.string(),
  user: z.string().regex(/^[1-9]\d*:[1-9]\d*$/),
  depends_on: z.unknown().optional(),
  environment: z.record(z.string(), z.string()).default({}),
  secrets: z.array(z.string()).default([]),
  volumes: z
    .array(
      z.discriminatedUnion('type', [
        z.strictObject({
          type: z.literal('bind'),
          source: z.string(),
          target: z.string(),
          read_only: z.literal(true),
        }),
        z.strictObject({ type: z.literal('volume'), source: z.string(), target: z.string() }),
      ]),
    )
    .default([]),
  tmpfs: z.array(z.string()).optional(),
  sysctls: z.record(z.string(), z.string()).optional(),
  command: z.array(z.string()).default([]),
  ports: z.array(z.string()).default([]),
  networks: z.union([z.array(z.string()), z.record(z.string(), z.unknown())]),
  healthcheck: z.looseObject({ test: z.array(z.string()) }).optional(),
  stop_grace_period: z
    .string()
    .regex(/^\d+s$/)
    .optional(),
  deploy: z.strictObject({
    resources: z.strictObject({
      limits: z.strictObject({ cpus: z.string(), memory: z.string(), pids: z.number() }),
    }),
  }),
})
/** Warnings are about the order of lines. */
const lintResults = z.array(z.object({ errorCount: z.number() }))
const { services, networks, secrets } = z
  .object({
    services: z.record(z.string(), service),
    networks: z.record(z.string(), z.looseObject({ internal: z.boolean().default(false) })),
    secrets: z.record(z.string(), z.strictObject({ file: z.string() })),
  })
  .parse(parse(textOf('deploy/compose.yaml'), { merge: true }))
const replicas = Object.entries(services).filter(([name]) => name.startsWith('gatehouse-'))
const replica = replicas[0]?.[1]

describe('contract: compose.yaml is one', () => {
  it('has no error against the schema of the Compose Specification', () => {
    const linter = new DCLinter({
      // The public port is meant to be public.
      rules: { 'no-unbound-port-interfaces': 0 },
      quiet: true,
      debug: false,
      exclude: [],
    })
    const found = linter.lintFiles([join(ROOT, 'deploy/compose.yaml')], false)
    expect(lintResults.parse(found)).toEqual([{ errorCount: 0 }])
  })

  it('runs two replicas of the same, behind the one proxy that they trust', () => {
    expect(replicas).toHaveLength(2)
    expect(replicas[1]?.[1]).toEqual(replica)
    const { proxy } = services
    expect(proxy?.networks).toMatchObject({ edge: { ipv4_address: '172.30.0.2' } })
    expect(replica?.environment['MCP_TRUSTED_PROXIES']).toBe('172.30.0.2/32')
    const upstreams = replicas.map(([name]) => `${name}:3000`).join(' ')
    expect(proxy?.environment['GATEHOUSE_UPSTREAMS']).toBe(upstreams)
    for (const name of textOf('deploy/Caddyfile').matchAll(/\{\$(\w+)\}/g)) {
      expect(proxy?.environment).toHaveProperty(name[1] ?? '')
    }
  })

  it('gives replicas settings that exist, and time to drain', () => {
    const names = Object.keys(replica?.environment ?? {})
    expect(names.filter((name) => !isSetting(name))).toEqual([])
    const drain = environment.shape.MCP_DRAIN_SECONDS.parse(undefined)
    const grace = Number.parseInt(replica?.stop_grace_period ?? '', 10)
    expect(grace).toBeGreaterThanOrEqual(drain + 5)
  })

  it('sends the trail of a replica to standard output, and has no place for it in the container', () => {
    expect(replica?.environment).not.toHaveProperty('MCP_AUDIT_FILE')
    expect([replica?.read_only, replica?.tmpfs]).toEqual([true, undefined])
    expect(replica?.volumes.filter(({ type }) => type === 'volume')).toEqual([])
  })
})

describe('threat: one container is taken over, the others are within reach', () => {
  it('pins what it does not build by digest, and names no moving tag', () => {
    for (const [name, { image, build }] of Object.entries(services)) {
      const pinned =
        build === undefined ? /^[\w./-]+:[\w.-]+@sha256:[0-9a-f]{64}$/ : /:\d+\.\d+\.\d+$/
      expect([name, image]).toEqual([name, expect.stringMatching(pinned)])
    }
  })

  it('takes what it does not need from every container, and bounds it', () => {
    for (const [name, one] of Object.entries(services)) {
      expect([name, one]).toEqual([
        name,
        expect.objectContaining({
          user: expect.stringMatching(/^[1-9]\d*:[1-9]\d*$/),
          read_only: true,
          cap_drop: ['ALL'],
          security_opt: ['no-new-privileges:true'],
        }),
      ])
      expect([name, one.cap_add]).toEqual([
        name,
        name === 'proxy' ? ['NET_BIND_SERVICE'] : undefined,
      ])
      const { cpus, memory, pids } = one.deploy.resources.limits
      expect([name, Number(cpus) > 0, /^[1-9]\d*M$/.test(memory), pids > 0]).toEqual([
        name,
        true,
        true,
        true,
      ])
    }
  })

  it('publishes the proxy alone, and lets only the proxy out', () => {
    const published = Object.entries(services).filter(([, { ports }]) => ports.length > 0)
    expect(published.map(([name, { ports }]) => [name, ports])).toEqual([['proxy', ['443:443']]])
    const outward = Object.keys(networks).filter((name) => networks[name]?.internal !== true)
    expect(outward).toEqual(['front'])
    for (const [name, { networks: joined }] of Object.entries(services)) {
      const names = Array.isArray(joined) ? joined : Object.keys(joined)
      expect([name, names.includes('front')]).toEqual([name, name === 'proxy'])
      expect([name, names.includes('edge') && names.includes('store')]).toEqual([
        name,
        name.startsWith('gatehouse-'),
      ])
    }
  })

  it('hands out secrets as files, each to whom it belongs', () => {
    const values = Object.values(services).flatMap((one) => Object.values(one.environment))
    expect(values.filter((value) => /[A-Za-z0-9+/=]{32,}|:\/\/[^/]*@/.test(value))).toEqual([])
    expect(services['proxy']?.secrets).toEqual([])
    expect(services['redis']?.secrets).not.toContain('root')
    expect(replica?.secrets).not.toContain('redis.key')
    for (const { file } of Object.values(secrets)) expect(file).toMatch(/^\.\/secrets\//)
    expect(textOf('.gitignore')).toMatch(/^\/deploy\/secrets\/$/m)
  })
})

describeRedis('contract: what make-secrets.sh makes is what the services take', () => {
  let folder: string
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'gatehouse-compose-'))
    cpSync(join(ROOT, 'deploy/make-secrets.sh'), join(folder, 'make-secrets.sh'))
    execFileSync('sh', [join(folder, 'make-secrets.sh')])
  })
  afterAll(async () => {
    await stopServers()
    rmSync(folder, { recursive: true })
  })
  const secret = (name: string): string => join(folder, 'secrets', name)

  it('makes every file, in a folder that is the own', () => {
    expect(statSync(join(folder, 'secrets')).mode & 0o777).toBe(0o700)
    for (const { file } of Object.values(secrets)) {
      expect(statSync(join(folder, file)).mode & 0o777).toBe(0o444)
    }
    expect(statSync(secret('access/keys.json')).mode & 0o777).toBe(0o444)
  })

  it('changes nothing when it runs again', () => {
    const before = readFileSync(secret('root'), 'utf8')
    execFileSync('sh', [join(folder, 'make-secrets.sh')])
    expect(readFileSync(secret('root'), 'utf8')).toBe(before)
  })

  it('gives Redis the rights that docs/shared-store.md names', () => {
    const [rights] = /resetkeys .*/.exec(textOf('docs/shared-store.md')) ?? []
    expect(readFileSync(secret('redis-acl'), 'utf8')).toContain(` ${rights}\n`)
  })

  it('starts Redis and a replica that trust each other', async () => {
    const [program, ...command] = services['redis']?.command ?? []
    expect(program).toBe('redis-server')
    const own = new Set(['--port', '--tls-port', '--appendonly'])
    const args = command
      .map((word) => word.replace(/^\/run\/secrets\//, `${folder}/secrets/`))
      .filter((word, index, all) => !own.has(word) && !own.has(all[index - 1] ?? ''))
    const tls = { cert: secret('redis.crt'), key: secret('redis.key'), ca: secret('redis.crt') }
    await using redis = await startRedis({ tls, args })
    const [health] = [services['redis']?.healthcheck?.test.slice(2) ?? []]
    const ping = health.slice(health.indexOf('--user'))
    expect(await redis.cli(...ping)).toBe('PONG')
    await expect(redis.cli('PING')).resolves.toMatch(/^NOAUTH/)
    expect(
      await redis.cli('--user', 'health', '--pass', 'none', '--no-auth-warning', 'KEYS', '*'),
    ).toMatch(/^NOPERM/)

    const url = readFileSync(secret('redis-url'), 'utf8').trim()
    const server = await startServer({
      env: {
        REDIS_URL: url.replace('@redis:6379', `@localhost:${redis.port}`),
        MCP_SECRET: readFileSync(secret('root'), 'utf8').trim(),
        NODE_EXTRA_CA_CERTS: secret('redis.crt'),
      },
    })
    expect((await server.call('echo', { text: 'hello' })).status).toBe(200)
    const ready = await fetch(`${server.adminUrl}/readyz`)
    expect(await ready.json()).toMatchObject({ status: 'ok', store: 'ok' })
  })
})
