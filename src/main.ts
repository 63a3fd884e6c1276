import { createServer, type Server } from 'node:http'
import product from '../package.json' with { type: 'json' }
import { probes } from './admin/probes.ts'
import { createApp } from './app.ts'
import { allScopes, assemble } from './assemble.ts'
import { createAuditTrail } from './audit/audit-trail.ts'
import { openSink } from './audit/sink.ts'
import { ephemeralKey } from './auth/ephemeral-key.ts' // optional: api-key
import { clientAddress } from './client-address.ts'
import { readConfig } from './config.ts'
import { developmentUrl, notice } from './development.ts'
import { drain } from './drain.ts'
import { publicListener } from './listen.ts'
import { createLogger, describeError } from './log.ts'
import { loadPolicies } from './policy.ts'
import { Problems } from './problems.ts'
import { prompts } from './prompts/index.ts'
import { resources } from './resources/index.ts'
import { secretRing } from './secrets.ts'
import { memoryStore } from './stores/memory.ts'
import { tools } from './tools/index.ts'

const EXIT = { drained: 0, crash: 1, cannotListen: 69, refused: 78 } as const

/** The process: settings, policies, bind, build, drain. */
async function main(): Promise<void> {
  const config = readConfig()
  const policies = loadPolicies(config.policyDir, config.mode)
  const logger = createLogger(config.logLevel, config.mode)
  const ring = secretRing(config.secrets)
  const trail = createAuditTrail({
    ring,
    policy: policies.audit,
    sink: openSink(config.auditFile ?? 'stdout'),
    product: { name: product.name, version: product.version },
  })

  const listener = publicListener({
    trail,
    limits: policies.limits,
    clientAddress: clientAddress(config.trustedProxies),
    trustedProxies: config.trustedProxies,
    tls: config.tls,
  })
  const port = await listen(listener.server, config.port, config.host)
  const publicUrl = config.publicUrl ?? developmentUrl(config.host, port, config.tls !== undefined)

  const keyed = config.mode === 'development' && !config.anonymous // optional: api-key
  const ephemeral = keyed ? ephemeralKey(allScopes(policies)) : undefined // optional: api-key
  const assembly = assemble({
    config,
    policies,
    catalog: { tools, resources, prompts },
    publicUrl,
    ephemeralKey: ephemeral?.record, // optional: api-key
    ring,
    store: memoryStore(),
    trail,
    logger,
  })
  await trail
    .commit({
      event: 'server.start',
      settingsDigest: config.digest,
      policyDigest: policies.digest,
      toolsDigest: assembly.toolsDigest,
      nodeVersion: process.version,
    })
    .catch(() => {
      throw new Problems([{ field: 'MCP_AUDIT_FILE', message: 'cannot be written' }])
    })

  let draining = false
  const admin = createServer(
    probes(() => {
      const parts = {
        drain: draining ? 'draining' : 'ok',
        audit: trail.ready() ? 'ok' : 'broken',
        authentication: assembly.canAuthenticate() ? 'ok' : 'nobody-can-authenticate',
      }
      return { ready: Object.values(parts).every((state) => state === 'ok'), parts }
    }),
  )
  admin.maxConnections = 50
  await listen(admin, config.adminPort, config.adminHost)
  listener.serve(createApp(assembly.parts))

  async function end(cause: 'signal' | 'crash', exitCode: number): Promise<void> {
    if (draining) process.exit(exitCode)
    draining = true
    await drain({ listener, assembly, trail, drainSeconds: config.drainSeconds, cause })
    admin.close()
    process.exit(exitCode)
  }
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
    process.on(signal, () => void end('signal', EXIT.drained))
  }
  process.on('unhandledRejection', (error) => {
    logger.error('Background work failed; nobody was waiting for it', { error })
    trail.write({ event: 'fault', cause: 'unhandled-rejection' })
  })
  process.on('uncaughtException', (error) => {
    logger.fatal('An error escaped every handler; the process drains and ends', { error })
    trail.write({ event: 'fault', cause: 'uncaught-exception' })
    void end('crash', EXIT.crash)
  })

  if (config.mode === 'production') return logger.info('Listening', { url: publicUrl })
  process.stderr.write(
    notice(
      config,
      publicUrl,
      ephemeral?.key, // optional: api-key
    ),
  )
}

/** @returns the bound port */
function listen(server: Server, port: number, host: string): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause) => reject(new CannotListen(cause)))
    server.listen(port, host, () => {
      const address = server.address()
      resolve(typeof address === 'object' ? (address?.port ?? port) : port)
    })
  })
}

class CannotListen extends Error {
  constructor(cause: NodeJS.ErrnoException) {
    super(cause.code ?? cause.name, { cause })
    this.name = 'CannotListen'
  }
}

main().catch((error: unknown) => {
  if (error instanceof Problems) {
    const lines = error.problems.map(({ field, message }) => `  ${field}: ${message}\n`)
    process.stderr.write(`Gatehouse cannot start:\n${lines.join('')}`)
    process.exit(EXIT.refused)
  }
  if (error instanceof CannotListen) {
    process.stderr.write(
      `Gatehouse cannot listen: ${error.message}. Check HOST, PORT, ADMIN_PORT.\n`,
    )
    process.exit(EXIT.cannotListen)
  }
  process.stderr.write(
    `Gatehouse cannot start: ${JSON.stringify(describeError(error, 'production'))}\n`,
  )
  process.exit(EXIT.crash)
})
