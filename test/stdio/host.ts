import { randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { vi } from 'vitest'
import { createAuditTrail } from '../../src/audit/audit-trail.ts'
import { namesUnder } from '../../src/audit/names.ts'
import type { AuditEvent, AuditTrail } from '../../src/audit/trail.ts'
import { generateKey } from '../../src/auth/api-key.ts'
import type { KeyRecord } from '../../src/auth/key-file.ts'
import type { Catalog } from '../../src/define.ts'
import { Denied } from '../../src/errors.ts'
import { credentialHolds } from '../../src/holds.ts'
import { createLogger } from '../../src/log.ts'
import { changes } from '../../src/mcp/changes.ts'
import { createOutbound } from '../../src/outbound.ts'
import { loadPolicies, type Policies } from '../../src/policy.ts'
import { prompts } from '../../src/prompts/index.ts'
import { resources } from '../../src/resources/index.ts'
import { secretRing } from '../../src/secrets.ts'
import { keyCaller } from '../../src/stdio/caller.ts'
import { output } from '../../src/stdio/output.ts'
import { stdioServer } from '../../src/stdio/serve.ts'
import { memoryStore } from '../../src/stores/memory.ts'
import { tools } from '../../src/tools/index.ts'
import { temporaryFolder } from '../audit/pipe.ts'
import { inspect } from '../canaries.ts'
import { type TestClock, testClock } from '../clock.ts'
import { daysFromNow } from '../key-file.ts'

// biome-ignore lint/suspicious/noExplicitAny: messages are inspected by the tests
export type Received = any

export interface HostOptions {
  /** Added to what the product serves, each open to every caller. */
  readonly catalog?: Partial<Catalog>
  readonly policies?: (policies: Policies) => Policies
  /** Of the key that the server runs as. */
  readonly scopes?: readonly string[]
  readonly trailReady?: () => boolean
}

/** A desktop host, and the server that it has started, in this process. Only the sinks are in memory. */
export interface Host extends AsyncDisposable {
  readonly audited: AuditEvent[]
  readonly clock: TestClock
  /** Everything the server has written to its standard output, a message each. */
  readonly received: Received[]
  /** Writes one line: a message, or any text. */
  send(message: object | string): void
  /** Sends a request and waits for its answer, or for the error without an id that a bad line gets. */
  ask(message: object | string): Promise<Received>
  /** Waits for a message like that. */
  arrived(like: (message: Received) => boolean): Promise<Received>
  /** Changes the record of the key, or the whole text of its file. */
  editKey(edit: Partial<KeyRecord> | string): void
  /** Whether the server wants to end, because its credential does not hold. */
  lost(): boolean
  /** Stops or goes on reading what the server writes. */
  read(on: boolean): void
  drain(): Promise<void>
  /** The host closes its end. Resolves when the server has noticed. */
  hangUp(): Promise<void>
  close(): Promise<void>
}

const SCOPES = ['mcp:use', 'documents:process', 'reports:read', 'reports:delete']

export async function startHost(options: HostOptions = {}): Promise<Host> {
  const folder = temporaryFolder()
  const file = join(folder.path, 'keys.json')
  const { key, id, sha256 } = generateKey()
  const record: KeyRecord = {
    id,
    name: 'a host',
    sha256,
    subject: 'ann',
    tenant: null,
    roles: [],
    scopes: [...(options.scopes ?? SCOPES)],
    createdAt: daysFromNow(-1),
    expiresAt: daysFromNow(1),
    allowedCidrs: [],
    revokedAt: null,
  }
  const write = (keys: readonly KeyRecord[]): void => writeFileSync(file, JSON.stringify({ keys }))
  write([record])

  const policies = policiesOf(options)
  const ring = secretRing([randomBytes(32)])
  const lines: string[] = []
  const audited: AuditEvent[] = []
  const trail = recordingTrail(policies, ring, lines, audited, options.trailReady ?? (() => true))
  const clock = testClock()
  const holds = credentialHolds(clock)
  const changed = changes()
  const logger = createLogger('silent')
  const store = memoryStore()
  const caller = keyCaller(key, {
    config: { apiKeysFile: file, denyListFile: undefined },
    policies,
    nameOf: namesUnder(policies.audit, ring),
    shared: undefined,
    holds,
    clock,
    trail,
    logger,
    changed: changed.listsChanged,
  })
  const input = new PassThrough()
  const stdout = new PassThrough()
  const received: Received[] = []
  let text = ''
  stdout.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk
    const whole = text.split('\n')
    text = whole.pop() ?? ''
    received.push(...whole.map((line) => JSON.parse(line)))
  })
  let lost = false
  const server = stdioServer(
    {
      catalog: {
        tools: [...tools, ...(options.catalog?.tools ?? [])],
        resources: [...resources, ...(options.catalog?.resources ?? [])],
        prompts: [...prompts, ...(options.catalog?.prompts ?? [])],
      },
      policies,
      ring,
      store,
      trail,
      outbound: createOutbound({ mode: 'development' }),
      logger,
      clock,
      holds,
      changes: changed,
      caller,
      identity: await caller.identify(),
      lost() {
        lost = true
      },
    },
    output(stdout, () => undefined),
  )
  const served = server.serve(input)

  const host: Host = {
    audited,
    clock,
    received,
    send(message) {
      input.write(`${typeof message === 'string' ? message : JSON.stringify(message)}\n`)
    },
    async ask(message) {
      const before = received.length
      host.send(message)
      const id = typeof message === 'object' && 'id' in message ? message.id : undefined
      return host.arrived(
        (one) => !('method' in one) && one.id === id && received.indexOf(one) >= before,
      )
    },
    async arrived(like) {
      return vi.waitUntil(() => received.find(like), { timeout: 10_000, interval: 5 })
    },
    editKey(edit) {
      if (typeof edit === 'string') writeFileSync(file, edit)
      else write([{ ...record, ...edit }])
    },
    lost: () => lost,
    read(on) {
      if (on) stdout.resume()
      else stdout.pause()
    },
    drain: server.drain,
    async hangUp() {
      input.end()
      await served
    },
    close: server.close,
    async [Symbol.asyncDispose]() {
      input.end()
      server.calls.end()
      await server.close()
      caller.close()
      holds.close()
      inspect(lines.join('\n'))
      folder[Symbol.dispose]()
    },
  }
  return host
}

function readPolicy(): Policies {
  return loadPolicies('policies', 'production')
}

function policiesOf({ catalog = {}, policies: edit }: HostOptions): Policies {
  const shipped = readPolicy()
  const why = 'a part of the test'
  const entry = { scopes: [], listed: false, timeoutSeconds: 60, why }
  const entries = Object.fromEntries((catalog.tools ?? []).map(({ name }) => [name, entry]))
  const policies: Policies = {
    ...shipped,
    access: { ...shipped.access, tools: { ...shipped.access.tools, ...entries } },
  }
  return edit?.(structuredClone(policies)) ?? policies
}

function recordingTrail(
  policies: Policies,
  ring: ReturnType<typeof secretRing>,
  lines: string[],
  audited: AuditEvent[],
  ready: () => boolean,
): AuditTrail {
  const trail = createAuditTrail({
    ring,
    policy: policies.audit,
    product: { name: 'gatehouse', version: '0.0.0' },
    sink: {
      hasRoom: () => true,
      async append(_lane, line) {
        lines.push(line)
        return true
      },
      broken: () => false,
      async close() {},
    },
    clock: testClock(),
  })
  return {
    ...trail,
    ready,
    write(event) {
      audited.push(event)
      trail.write(event)
    },
    async commit(event, otherwise) {
      if (!ready()) throw new Denied('audit.sink-broken')
      audited.push(event)
      await trail.commit(event, otherwise)
    },
  }
}
