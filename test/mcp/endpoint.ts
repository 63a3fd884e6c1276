import { createHash } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import type { Server } from 'node:http'
import { join } from 'node:path'
import { createApp } from '../../src/app.ts'
import { assemble } from '../../src/assemble.ts'
import { createAuditTrail } from '../../src/audit/audit-trail.ts'
import type { AuditEvent, AuditTrail } from '../../src/audit/trail.ts'
import { generateKey } from '../../src/auth/api-key.ts'
import { clientAddress } from '../../src/client-address.ts'
import type { Clock } from '../../src/clock.ts'
import { loadConfig } from '../../src/config.ts'
import type { Catalog } from '../../src/define.ts'
import { drain } from '../../src/drain.ts'
import { type LastingParts, lastingParts } from '../../src/lasting.ts'
import { publicListener } from '../../src/listen.ts'
import { describeError, type Log } from '../../src/log.ts'
import { type AccessEntry, loadPolicies, type Policies } from '../../src/policy.ts'
import { prompts } from '../../src/prompts/index.ts'
import { resources } from '../../src/resources/index.ts'
import { secretRing } from '../../src/secrets.ts'
import { memoryStore } from '../../src/stores/memory.ts'
import type { Store } from '../../src/stores/store.ts'
import { createTelemetry } from '../../src/telemetry/telemetry.ts'
import { tools } from '../../src/tools/index.ts'
import { temporaryFolder } from '../audit/pipe.ts'
import { inspect } from '../canaries.ts'

export type Outcome = Extract<AuditEvent, { event: 'outcome' }>

export interface EndpointOptions {
  /** Added to what the product serves. */
  readonly catalog?: Partial<Catalog>
  /** Changes the entry of each added tool, resource and prompt. */
  readonly access?: Partial<AccessEntry>
  readonly policies?: (policies: Policies) => Policies
  readonly store?: Store
  /** Of sessions and of checks of what is open; that of the system when left out. */
  readonly clock?: Clock
  /** Names of root secrets, the newest first. */
  readonly roots?: readonly string[]
}

/** The product behind its real listener on loopback: real parts, only the sinks are in memory. */
export interface Endpoint extends AsyncDisposable {
  readonly url: string
  /** A live API key of a subject with all scopes; the same for the same subject. */
  key(subject?: string): string
  readonly audited: AuditEvent[]
  outcomes(): Outcome[]
  /** Everything that went to the audit stream and to the log, as text. */
  written(): string
  readonly lasting: LastingParts
  readonly server: Server
  readonly store: Store
  /** Ends it as SIGTERM does. */
  drain(seconds: number): Promise<void>
}

/** The same name is the same secret. */
function rootSecret(name: string): string {
  return createHash('sha256').update(name).digest('base64')
}

const SUBJECTS = ['ann', 'bob', ...Array.from({ length: 20 }, (_, index) => `caller-${index}`)]

export async function startEndpoint(options: EndpointOptions = {}): Promise<Endpoint> {
  const folder = temporaryFolder()
  const keys = keyFile(join(folder.path, 'keys.json'))
  const roots = options.roots ?? ['the one root']
  const config = loadConfig(
    {
      NODE_ENV: 'development',
      MCP_API_KEYS_FILE: keys.file,
      MCP_SECRET: roots.map(rootSecret).join(' '),
    },
    { nodeVersion: 'v24.21.0', uid: 1000, execArgv: [] },
  )
  const policies = policiesOf(loadPolicies(config.policyDir, config.mode), options)
  const lines: string[] = []
  const audited: AuditEvent[] = []
  const ring = secretRing(config.secrets)
  const trail = recordingTrail(
    createAuditTrail({
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
    }),
    audited,
  )
  const log: Log = (message, { error, ...fields } = {}) => {
    const described = error === undefined ? undefined : describeError(error, 'production')
    lines.push(JSON.stringify({ message, ...fields, error: described }))
  }
  const listener = publicListener({
    trail,
    limits: policies.limits,
    clientAddress: clientAddress([]),
    trustedProxies: [],
    tls: undefined,
  })
  const { server } = listener
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('No port')
  const url = `http://127.0.0.1:${address.port}/mcp`
  const store = options.store ?? memoryStore()
  const lasting = lastingParts(
    {
      config,
      catalog: {
        tools: [...tools, ...(options.catalog?.tools ?? [])],
        resources: [...resources, ...(options.catalog?.resources ?? [])],
        prompts: [...prompts, ...(options.catalog?.prompts ?? [])],
      },
      publicUrl: url,
      bound: new URL(url).origin,
      ephemeralKey: undefined,
      ring,
      store,
      trail,
      telemetry: createTelemetry({ trustCallers: config.trustTraceContext }),
      ...(options.clock !== undefined && { clock: options.clock }),
      logger: { fatal: log, error: log, warn: log, info: log, debug: log },
    },
    policies.http,
  )
  const assembly = assemble(lasting, policies)
  lasting.holds.use(assembly.authenticator)
  listener.serve(createApp(assembly.parts))

  const end = (drainSeconds: number): Promise<void> =>
    drain({
      listener,
      lasting,
      close: assembly.close,
      trail,
      drainSeconds,
      cause: 'signal',
      forced: new Promise(() => {}),
    })
  return {
    url,
    key: keys.keyOf,
    audited,
    outcomes: () => audited.filter((event) => event.event === 'outcome'),
    written: () => lines.join('\n'),
    lasting,
    server,
    store,
    drain: end,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      if (server.listening) await end(0)
      inspect(lines.join('\n'))
      folder[Symbol.dispose]()
    },
  }
}

function keyFile(file: string): {
  readonly file: string
  keyOf(subject?: string): string
} {
  const now = Date.now()
  const generated = new Map(SUBJECTS.map((subject) => [subject, generateKey()]))
  const keys = [...generated].map(([subject, { id, sha256 }]) => ({
    id,
    name: subject,
    sha256,
    subject,
    tenant: null,
    roles: [],
    scopes: ['mcp:use', 'documents:process', 'reports:read', 'reports:delete'],
    createdAt: new Date(now).toISOString(),
    expiresAt: new Date(now + 3_600_000).toISOString(),
    allowedCidrs: [],
    revokedAt: null,
  }))
  writeFileSync(file, JSON.stringify({ keys }))
  return {
    file,
    keyOf(subject = 'ann') {
      const key = generated.get(subject)?.key
      if (key === undefined) throw new Error(`No key for ${subject}`)
      return key
    },
  }
}

function policiesOf(shipped: Policies, options: EndpointOptions): Policies {
  const { catalog = {}, access = {} } = options
  const entry: AccessEntry = {
    scopes: [],
    listed: false,
    timeoutSeconds: 60,
    why: 'a part of the test',
    ...access,
  }
  const entriesOf = (names: readonly string[] = []): Record<string, AccessEntry> =>
    Object.fromEntries(names.map((name) => [name, entry]))
  const policies: Policies = {
    ...shipped,
    limits: {
      ...shipped.limits,
      address: { ...shipped.limits.address, requestsPerMinute: 100_000, connections: 1000 },
      principal: { ...shipped.limits.principal, requestsPerMinute: 100_000 },
    },
    access: {
      tools: { ...shipped.access.tools, ...entriesOf(catalog.tools?.map(({ name }) => name)) },
      resources: {
        ...shipped.access.resources,
        ...entriesOf(catalog.resources?.map(({ uriTemplate }) => uriTemplate)),
      },
      prompts: {
        ...shipped.access.prompts,
        ...entriesOf(catalog.prompts?.map(({ name }) => name)),
      },
    },
  }
  return options.policies?.(policies) ?? policies
}

function recordingTrail(trail: AuditTrail, audited: AuditEvent[]): AuditTrail {
  return {
    ...trail,
    write(event) {
      audited.push(event)
      trail.write(event)
    },
    async commit(event, otherwise) {
      audited.push(event)
      await trail.commit(event, otherwise)
    },
  }
}
