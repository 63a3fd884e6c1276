// optional: api-key
import { hash, randomBytes } from 'node:crypto'
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished, vi } from 'vitest'
import type { AuditEvent } from '../src/audit/trail.ts'
import { generateKey } from '../src/auth/api-key.ts'
import { loadConfig } from '../src/config.ts'
import { Denied } from '../src/errors.ts'
import { lastingParts } from '../src/lasting.ts'
import { createLogger } from '../src/log.ts'
import { loadPolicies } from '../src/policy.ts'
import { prompts } from '../src/prompts/index.ts'
import { reloading } from '../src/reload.ts'
import { resources } from '../src/resources/index.ts'
import { secretRing } from '../src/secrets.ts'
import { memoryStore } from '../src/stores/memory.ts'
import { tools } from '../src/tools/index.ts'
import { recordingTrail } from './audit/inspected-trail.ts'
import { testClock } from './clock.ts'
import { daysFromNow } from './key-file.ts'
import { ROOT } from './source-tree.ts'

type Key = ReturnType<typeof generateKey>

const PUBLIC_URL = 'https://mcp.example.com/mcp'

/** The text of a file with this one key, which is about to expire, so that reading it is logged. */
export function keyFile({ id, sha256 }: Key, revokedAt: string | null = null): string {
  const record = {
    ...{ id, name: 'ci', sha256, subject: 'ci', tenant: null, roles: [], scopes: ['mcp:use'] },
    ...{ createdAt: daysFromNow(-1), expiresAt: daysFromNow(5), allowedCidrs: [], revokedAt },
  }
  return JSON.stringify({ keys: [record] })
}

/** A server without a listener, whose files and time a test changes. */
export function reloadable(options: { readonly onRead?: (revoke: () => void) => void } = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'gatehouse-reload-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  cpSync(join(ROOT, 'policies'), folder, { recursive: true })
  const file = join(folder, 'keys.json')
  const key = generateKey()
  const write = (text: string): void => writeFileSync(file, text)
  const revoke = (): void => write(keyFile(key, '2026-01-01T00:00:00Z'))
  write(keyFile(key))
  const config = loadConfig(
    {
      NODE_ENV: 'development',
      MCP_PUBLIC_URL: PUBLIC_URL,
      MCP_API_KEYS_FILE: file,
      MCP_POLICY_DIR: folder,
      MCP_SECRET: randomBytes(32).toString('base64'),
    },
    { nodeVersion: 'v24.21.0', uid: 1000, execArgv: [] },
  )
  const policies = loadPolicies(folder, 'development')
  const clock = testClock()
  const events: AuditEvent[] = []
  const records = recordingTrail(events)
  const trail = { ...records, write: vi.fn(records.write) }
  let reads = 0
  const lasting = lastingParts(
    {
      config,
      catalog: { tools, resources, prompts },
      publicUrl: PUBLIC_URL,
      bound: 'http://127.0.0.1:3000',
      ephemeralKey: undefined,
      ring: secretRing(config.secrets),
      store: memoryStore(),
      trail,
      telemetry: { middleware: (_c, next) => next() }, // optional: telemetry
      logger: {
        ...createLogger('silent'),
        warn() {
          reads += 1
          if (reads === 1) options.onRead?.(revoke)
        },
      },
      clock,
    },
    policies.http,
  )
  const listener = { serve: vi.fn(), secure: vi.fn() }
  const live = reloading(lasting, listener, policies)
  onTestFinished(() => {
    live.close()
    live.current().close()
    lasting.holds.close()
  })
  return {
    folder,
    key,
    write,
    revoke,
    lasting,
    listener,
    live,
    trail,
    reloads: () => events.map((event) => `${event.event} ${'outcome' in event && event.outcome}`),
    async afterTenSeconds(): Promise<void> {
      for (let second = 0; second < 10; second += 1) {
        clock.advance(1000)
        await new Promise(setImmediate)
      }
    },
    /** Whether the key lets somebody in. */
    async isLive(): Promise<boolean> {
      const { authenticator } = live.current()
      const credential = {
        scheme: 'bearer',
        token: key.key,
        digest: hash('sha256', key.key),
        address: '192.0.2.1',
        certificate: undefined,
      } as const
      return authenticator.recheck(credential, Date.now()).then(
        () => true,
        (error: unknown) => {
          if (error instanceof Denied) return false
          throw error
        },
      )
    },
  }
}
