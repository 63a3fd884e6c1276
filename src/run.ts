import product from '../package.json' with { type: 'json' }
import { allScopes } from './access/scopes.ts' // optional: api-key
import { adminListener, type Page, type Readiness } from './admin/probes.ts'
import { sharedStates } from './admin/shared-states.ts'
import { createApp } from './app.ts'
import { createAuditTrail } from './audit/audit-trail.ts'
import { loadSigner } from './audit/checkpoint.ts'
import { sampled } from './audit/sampling.ts'
import { openSink, type SinkFault } from './audit/sink.ts'
import { ephemeralKey } from './auth/ephemeral-key.ts' // optional: api-key
import { bind } from './bind.ts'
import { clientAddress } from './client-address.ts'
import { systemClock } from './clock.ts'
import { readConfig } from './config.ts'
import type { Catalog } from './define.ts'
import { notice } from './development.ts'
import { drain } from './drain.ts'
import { lastResort } from './last-resort.ts'
import { lastingParts } from './lasting.ts'
import { publicListener } from './listen.ts'
import { watchLoad } from './load.ts'
import { createLogger, type Logger } from './log.ts'
import { loadPolicies } from './policy.ts'
import { Problems } from './problems.ts'
import { reloading } from './reload.ts'
import { secretRing } from './secrets.ts'
import { watchStalls } from './stalls.ts'
import { startFailure } from './start-failure.ts'
import { memoryStore } from './stores/memory.ts'
import type { Store } from './stores/store.ts'
import { createTelemetry } from './telemetry/telemetry.ts' // optional: telemetry
import { boundUrl } from './urls.ts'

/** Loaded when it is used: it takes a sixth of a second and 40 MB. */ // optional: redis
const redis = () => import('./stores/redis.ts') // optional: redis

const EXIT = { drained: 0, crash: 1 } as const

/** What a drain may take beyond its time before the process ends anyway, ms. */
const OVERDUE_MS = 5000

/** The process: settings, policies, bind, build, drain. Says on standard error why it cannot start. */
export async function run(catalog: Catalog): Promise<void> {
  try {
    await start(catalog)
  } catch (error) {
    const { text, exitCode } = startFailure(error)
    process.stderr.write(text)
    process.exit(exitCode)
  }
}

async function start(catalog: Catalog): Promise<void> {
  // The kernel drops signals that the first process of a container does not handle.
  // A hang-up waits: it means a reload or the end, and the settings that tell which are not read yet.
  let hungUp = false
  let onSignal = (signal: NodeJS.Signals): void => {
    if (signal === 'SIGHUP') hungUp = true
    else process.exit(EXIT.drained)
  }
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
    process.on(signal, () => onSignal(signal))
  }

  const config = readConfig()
  const policies = loadPolicies(config.policyDir, config.mode)
  const logger = createLogger(config.logLevel, config.mode)
  const ring = secretRing(config.secrets)
  const signingKey = config.auditSigningKeyFile
  let onSinkChange = (_fault: SinkFault | undefined): void => undefined // The start fails by itself.
  const sink = openSink(config.auditFile ?? 'stdout', (fault) => onSinkChange(fault))
  const records = createAuditTrail({
    ring,
    policy: policies.audit,
    signer: signingKey === undefined ? undefined : loadSigner(signingKey),
    sink,
    product: { name: product.name, version: product.version },
  })
  let trail = sampled(records, systemClock)
  const trustCallers = config.trustTraceContext // optional: telemetry
  const telemetry = createTelemetry({ trustCallers }) // optional: telemetry
  trail = telemetry.count(trail) // optional: telemetry

  const listener = publicListener({
    trail,
    limits: policies.limits,
    clientAddress: clientAddress(config.trustedProxies),
    trustedProxies: config.trustedProxies,
    tls: config.tls,
  })
  const port = await bind(listener.server, config.port, config.host, '')
  const bound = boundUrl(config.host, port, config.tls !== undefined)
  const publicUrl = config.publicUrl ?? `${bound}/mcp`

  let store: Store = memoryStore()
  const url = config.redisUrl // optional: redis
  if (url !== undefined) store = await (await redis()).redisStore({ url, logger }) // optional: redis
  const keyed = config.mode === 'development' && !config.anonymous // optional: api-key
  const ephemeral = keyed ? ephemeralKey(allScopes(policies)) : undefined // optional: api-key
  const lasting = lastingParts(
    {
      config,
      catalog,
      publicUrl,
      bound,
      ephemeralKey: ephemeral?.record, // optional: api-key
      ring,
      store,
      trail,
      telemetry, // optional: telemetry
      logger,
      load: watchLoad(systemClock),
    },
    policies.http,
  )
  const live = reloading(lasting, listener, policies)
  let exitCode: 0 | 1 | undefined
  const readiness = (): Readiness => ({
    own: {
      drain: exitCode === undefined ? 'ok' : 'draining',
      load: lasting.load.shortage() === undefined ? 'ok' : 'overloaded',
      audit: trail.ready() ? 'ok' : 'broken',
      authentication: live.current().canAuthenticate() ? 'ok' : 'nobody-can-authenticate',
    },
    shared: {
      ...sharedStates(store, live),
      issuers: lasting.keySets.available() ? 'ok' : 'unreachable', // optional: oauth
    },
    toolsDigest: live.current().toolsDigest,
  })
  const pages = new Map<string, Page>()
  const { server } = listener // optional: telemetry
  telemetry.watch({ readiness, lasting, live, records, sink, server }) // optional: telemetry
  pages.set('/metrics', telemetry.page) // optional: telemetry
  const admin = adminListener(readiness, pages)
  const adminPort = await bind(admin, config.adminPort, config.adminHost, 'ADMIN_')
  for (const server of [listener.server, admin]) {
    server.on('error', (error) => logger.error('A connection could not be accepted', { error }))
  }
  await trail
    .commit({
      event: 'server.start',
      settingsDigest: config.digest,
      policyDigest: policies.digest,
      toolsDigest: live.current().toolsDigest,
      nodeVersion: process.version,
    })
    .catch(cannotAudit)
  onSinkChange = sinkLog(logger)
  listener.serve(createApp(live.current().parts))

  /** Whether every record is written or counted in another one. If not, says how many at least are lost. */
  function isTrailWhole(): boolean {
    const count = records.unreported() + sink.waiting('decision') + sink.waiting('bulk')
    if (count > 0) logger.fatal('Audit records are lost: they could not be written', { count })
    return count === 0
  }

  const forced = Promise.withResolvers<void>()
  /** Ends the process once. Whatever asks again leaves what still runs a second for its answer. */
  function end(cause: 'signal' | 'crash'): void {
    const isEnding = exitCode !== undefined
    if (!isEnding || cause === 'crash') exitCode = cause === 'crash' ? EXIT.crash : EXIT.drained
    if (isEnding) {
      forced.resolve()
      return
    }
    live.close()
    setTimeout(() => process.exit(EXIT.crash), config.drainSeconds * 1000 + OVERDUE_MS)
    const close = (): void => live.current().close()
    const { drainSeconds } = config
    const options = { listener, lasting, close, trail, drainSeconds, cause, forced: forced.promise }
    let drained = drain(options)
    drained = drained.then(telemetry.flush) // optional: telemetry
    drained.then(
      () => process.exit(isTrailWhole() ? exitCode : EXIT.crash),
      () => process.exit(EXIT.crash),
    )
  }
  onSignal = (signal) => {
    if (signal === 'SIGHUP' && config.mode === 'production') void live.reload()
    else end('signal')
  }
  if (hungUp) onSignal('SIGHUP')
  const isEnding = (): boolean => exitCode !== undefined
  lastResort({ logger, trail, isEnding, crash: () => end('crash') })
  watchStalls({ clock: systemClock, calls: lasting.calls, logger })

  const adminUrl = boundUrl(config.adminHost, adminPort, false)
  if (config.mode === 'production') {
    logger.info('Listening for calls', { url: bound })
    logger.info('Listening for probes', { url: adminUrl })
    return
  }
  process.stderr.write(
    notice(
      config,
      { url: `${bound}/mcp`, publicUrl, adminUrl },
      ephemeral?.key, // optional: api-key
    ),
  )
}

function cannotAudit(): never {
  throw new Problems([{ field: 'MCP_AUDIT_FILE', message: 'cannot be written' }])
}

/** A trail that cannot be written cannot say so itself. */
function sinkLog(logger: Logger): (fault: SinkFault | undefined) => void {
  return function changed(reason) {
    if (reason === undefined) logger.info('The audit trail is written again')
    else logger.error('The audit trail cannot be written', { reason })
  }
}
