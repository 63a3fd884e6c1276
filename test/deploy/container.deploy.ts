import { randomBytes } from 'node:crypto'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import packageJson from '../../package.json' with { type: 'json' }
import { production } from '../production.ts'
import { connect } from '../raw-http.ts'
import { textOf } from '../source-tree.ts'
import { REQUESTS } from './attacks.ts'
import {
  type Container,
  controlGroupLimit,
  HARDENED,
  health,
  MEMORY_MEBIBYTES,
  PIDS,
  startContainer,
  statusOf,
} from './container.ts'
import { ENDPOINT, fetchThrough } from './fetch.ts'
import { buildImage, DECOY, IMAGE, run, withRootOf } from './image.ts'
import { listenRequest } from './listen.ts'
import { describeWith } from './programs.ts'

const UID = 1000
const site = production(randomBytes(32), ['mcp:use', 'documents:process'])
const entry = z.object({ dev: z.boolean().default(false), link: z.boolean().default(false) })
const healthCheck = z.object({ Test: z.array(z.string()) }).optional()
const lockfile = z.object({
  packages: z.record(z.string(), entry),
})

describeWith(['buildah', 'podman', 'runc'], 'the image, built and run', () => {
  beforeAll(buildImage)
  afterAll(() => run('podman', ['image', 'rm', '--force', IMAGE]))

  describe('threat: what is in the image besides the server', () => {
    interface Entry {
      readonly path: string
      readonly mode: number
      readonly uid: number
      readonly text: string
    }
    const entries: Entry[] = []
    beforeAll(() =>
      withRootOf(IMAGE, (root) => {
        for (const path of readdirSync(root, { recursive: true, encoding: 'utf8' })) {
          const { mode, uid, size } = statSync(join(root, path))
          const isText = size < 1 << 20 && (mode & 0o170000) === 0o100000
          const text = isText ? readFileSync(join(root, path), 'latin1') : ''
          entries.push({ path, mode, uid, text })
        }
      }),
    )
    const inFolder = (folder: string): string[] => {
      const below = entries.filter(({ path }) => path.startsWith(folder))
      return [...new Set(below.map(({ path }) => path.slice(folder.length).split('/')[0] ?? ''))]
    }

    it('has the files that run, and no others', () => {
      const top = ['LICENSE', 'node_modules', 'package.json', 'policies', 'src']
      expect(inFolder('app/').sort()).toEqual(top)
      expect(inFolder('usr/local/bin/')).toEqual(['node'])
      const programs = entries.filter(({ path }) => /(^|\/)(s?bin)\/[^/]+$/.test(path))
      const system = programs.filter(({ path }) => !path.startsWith('app/'))
      expect(system.map(({ path }) => path)).toEqual(['usr/local/bin/node'])
    })

    it('has the packages of production, and no others', () => {
      const { packages } = lockfile.parse(JSON.parse(textOf('package-lock.json')))
      const wanted = Object.entries(packages).filter(
        ([path, { dev, link }]) => path.startsWith('node_modules/') && !dev && !link,
      )
      const names = wanted.map(([path]) => `app/${path}/package.json`)
      expect(names.length).toBeGreaterThan(10)
      const all = entries.map(({ path }) => path)
      expect(names.filter((name) => !all.includes(name))).toEqual([])
      for (const name of Object.keys(packageJson.devDependencies)) {
        expect(all).not.toContain(`app/node_modules/${name}`)
      }
    })

    it('has no file that runs as somebody else, and none that its user could change', () => {
      const special = entries.filter(({ mode }) => (mode & 0o6000) !== 0)
      expect(special.map(({ path }) => path)).toEqual([])
      const writable = entries.filter(({ mode, uid }) => uid === UID || (mode & 0o002) !== 0)
      expect(writable.map(({ path }) => path)).toEqual([])
    })

    it('has no secret that lay around where it was built, in files or in its history', async () => {
      expect(entries.filter(({ text }) => text.includes(DECOY)).map(({ path }) => path)).toEqual([])
      expect(entries.filter(({ path }) => /\.(env|pem|key)$/.test(path))).toEqual([])
      expect(await run('podman', ['history', '--no-trunc', IMAGE])).not.toContain(DECOY)
    })

    it('says what it is, and runs as a number', async () => {
      const [image] = z
        .array(
          z.object({
            User: z.string(),
            Labels: z.record(z.string(), z.string()),
            HealthCheck: healthCheck,
            Healthcheck: healthCheck,
          }),
        )
        .parse(JSON.parse(await run('podman', ['image', 'inspect', IMAGE])))
      expect(image?.User).toBe(`${UID}:${UID}`)
      expect(image?.Labels).toMatchObject({
        'org.opencontainers.image.title': 'Gatehouse',
        'org.opencontainers.image.version': packageJson.version,
        'org.opencontainers.image.licenses': packageJson.license,
      })
      const check = image?.HealthCheck ?? image?.Healthcheck
      expect(check?.Test).toEqual(['CMD', 'node', 'src/cli/healthcheck.ts'])
    })
  })

  describe('threat: code that runs in the container reaches for more', () => {
    let container: Container
    beforeAll(async () => {
      container = await startContainer(site)
    })
    afterAll(() => container[Symbol.asyncDispose]())

    it('has no user, capability or privilege but its own', () => {
      const status = statusOf(container.pid)
      expect(status.get('Uid')).toBe(`${UID} ${UID} ${UID} ${UID}`)
      expect(status.get('Gid')).toBe(`${UID} ${UID} ${UID} ${UID}`)
      for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb']) {
        expect([set, Number(`0x${status.get(set)}`)]).toEqual([set, 0])
      }
      expect(status.get('NoNewPrivs')).toBe('1')
      expect(status.get('Seccomp')).toBe('2')
    })

    it('has the memory and the processes that it was given', async () => {
      const memory = controlGroupLimit(container.pid, 'memory.limit_in_bytes', 'memory.max')
      expect(memory).toBe(MEMORY_MEBIBYTES << 20)
      expect(controlGroupLimit(container.pid, 'pids.max', 'pids.max')).toBe(PIDS)
      const flag = '--max-old-space-size-percentage=70'
      const heap = await container.exec(
        'node',
        flag,
        '-p',
        'v8.getHeapStatistics().heap_size_limit',
      )
      expect(Number(heap)).toBeLessThan(memory * 0.9)
    })

    it('cannot write', async () => {
      const mounts = readFileSync(`/proc/${container.pid}/mountinfo`, 'utf8')
      expect(mounts).toMatch(/^\d+ \d+ \S+ \/ \/ ro,/m)
      const write = (folder: string): string => `fs.writeFileSync('${folder}/x', 'x')`
      for (const folder of [
        '/app',
        '/app/policies',
        '/tmp',
        '/',
        '/run/secrets',
        '/etc/gatehouse',
      ]) {
        await expect(container.exec('node', '-e', write(folder))).rejects.toThrow(
          /EROFS|EACCES|ENOENT|read-only/,
        )
      }
    })

    it('finds no shell', async () => {
      for (const shell of ['sh', 'bash', '/bin/sh', 'npm', 'apt-get']) {
        await expect(container.exec(shell, '-c', 'true')).rejects.toThrow()
      }
    })

    it.each([
      ['starts a program', "child_process.execFileSync('/usr/local/bin/node')", 'ChildProcess'],
      ['starts a thread', "new worker_threads.Worker('', { eval: true })", 'WorkerThreads'],
      ['reads what is not its own', "fs.readFileSync('/etc/passwd')", 'FileSystemRead'],
      ['reads its environment', "fs.readFileSync('/proc/self/environ')", 'FileSystemRead'],
      ['writes a file', "fs.writeFileSync('/app/x', '')", 'FileSystemWrite'],
    ])('with the flags of the image, code that %s fails', async (_name, code, permission) => {
      const flags = readFileSync(`/proc/${container.pid}/cmdline`, 'utf8').split('\0')
      const words = flags.filter((flag) => flag.startsWith('--'))
      expect(words).toContain('--permission')
      await expect(container.exec('node', ...words, '-e', code)).rejects.toThrow(
        new RegExp(`ERR_ACCESS_DENIED[\\s\\S]*${permission}`),
      )
    })

    it.each(REQUESTS)('answers %s as everywhere', async (_name, [status], wire) => {
      using connection = connect(container)
      connection.write(wire.replaceAll('KEY', site.key))
      const received = await connection.closed()
      const statuses = [...received.matchAll(/^HTTP\/1\.1 (\d{3}) /gm)].map(([, code]) =>
        Number(code),
      )
      // All come from one address, which is stopped after some time: that is a refusal, too.
      if (status !== 200 && statuses[0] === 429) return
      expect(statuses).toEqual([status])
    })
  })

  describe('contract: the container serves, tells how it is, and ends in order', () => {
    it('makes the call with live progress, and drains on SIGTERM', async () => {
      await using container = await startContainer(site)
      const send = fetchThrough(container)
      const client = new Client(
        { name: 'test', version: '1.0.0' },
        { versionNegotiation: { mode: 'auto' } },
      )
      await client.connect(
        new StreamableHTTPClientTransport(ENDPOINT, {
          fetch: send,
          requestInit: { headers: { authorization: `Bearer ${site.key}` } },
        }),
      )
      const seen: number[] = []
      const documents = ['a', 'b', 'c'].map((name) => ({ name, text: `text of ${name}` }))
      const result = await client.callTool(
        { name: 'process_documents', arguments: { documents } },
        { onprogress: ({ progress }) => seen.push(progress) },
      )
      expect(result.isError).not.toBe(true)
      expect(seen.at(-1)).toBe(documents.length)
      expect(await health(container.name)).toBe(0)

      const stream = await send(ENDPOINT, listenRequest(site.key))
      expect(stream.status).toBe(200)
      const [ended, exitCode] = await Promise.all([stream.text(), container.stop()])
      expect(ended).toContain('"result"')
      expect(exitCode).toBe(0)
      const events = (await container.records()).map(({ metadata }) => metadata.event_code)
      expect(events[0]).toBe('server.start')
      expect(events).toContain('outcome')
      expect(events.slice(-2)).toEqual(['server.stop', 'audit.checkpoint'])
      await client.close()
    })

    it('is unhealthy when nothing answers', async () => {
      await using container = await startContainer(site)
      const check = ['node', 'src/cli/healthcheck.ts']
      expect(await container.exec(...check)).toBe('')
      const elsewhere = ['exec', '--env=ADMIN_PORT=1', container.name, ...check]
      await expect(run('podman', elsewhere)).rejects.toMatchObject({ code: 1 })
    })

    it('says by name what keeps it from starting, and ends with 78', async () => {
      const started = run('podman', ['run', '--rm', ...HARDENED, IMAGE])
      await expect(started).rejects.toMatchObject({
        code: 78,
        stderr: expect.stringContaining('MCP_PUBLIC_URL'),
      })
    })
  })
})
