// optional: stdio
import { fstatSync, statSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import product from '../../package.json' with { type: 'json' }
import { allScopes } from '../access/scopes.ts'
import { createAuditTrail } from '../audit/audit-trail.ts'
import { loadSigner } from '../audit/checkpoint.ts'
import { namesUnder } from '../audit/names.ts'
import { openSink, type SinkFault } from '../audit/sink.ts'
import { systemClock } from '../clock.ts'
import { type Config, readStdioConfig } from '../config.ts'
import type { Identity } from '../context.ts'
import type { Catalog } from '../define.ts'
import { drain } from '../drain.ts'
import { Denied } from '../errors.ts'
import { credentialHolds } from '../holds.ts'
import { createLogger } from '../log.ts'
import { changes } from '../mcp/changes.ts'
import { createOutbound } from '../outbound.ts'
import { loadPolicies } from '../policy.ts'
import { Problems } from '../problems.ts'
import { secretRing } from '../secrets.ts'
import { startFailure } from '../start-failure.ts'
import { memoryStore } from '../stores/memory.ts'
import type { Store } from '../stores/store.ts'
import { type Caller, keyCaller, localCaller } from './caller.ts'
import { output, reserve } from './output.ts'
import { stdioServer } from './serve.ts'

/** Loaded when it is used: it takes a sixth of a second and 40 MB. */ // optional: redis
const redis = () => import('../stores/redis.ts') // optional: redis

const EXIT = { drained: 0, crash: 1 } as const

/** What a drain may take beyond its time before the process ends anyway, ms. */
const OVERDUE_MS = 5000
/** How long the last messages may take to leave, ms. */
const LAST_MESSAGES_MS = 1000

/**
 * The process that serves whoever started it, on its standard input and output: settings, policies,
 * caller, drain. It ends when the input ends. Says on standard error why it cannot start.
 */
export async function runStdio(catalog: Catalog): Promise<void> {
  try {
    await start(catalog)
  } catch (error) {
    const { text, exitCode } = startFailure(error)
    process.stderr.write(text)
    process.exit(exitCode)
  }
}

async function start(catalog: Catalog): Promise<void> {
  let onSignal = (): void => process.exit(EXIT.drained)
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const)
    process.on(signal, () => onSignal())
  const host = output(process.stdout, () => onSignal())
  reserve(process.stdout, process.stderr)

  const config = readStdioConfig()
  const policies = loadPolicies(config.policyDir, config.mode)
  const logger = createLogger(config.logLevel, config.mode)
  const ring = secretRing(config.secrets)
  const signingKey = config.auditSigningKeyFile
  const sink = openSink(auditTarget(config), (fault: SinkFault | undefined) => {
    if (fault === undefined) logger.info('The audit trail is written again')
    else logger.error('The audit trail cannot be written', { reason: fault })
  })
  const trail = createAuditTrail({
    ring,
    policy: policies.audit,
    signer: signingKey === undefined ? undefined : loadSigner(signingKey),
    sink,
    product: { name: product.name, version: product.version },
  })
  let store: Store = memoryStore()
  const url = config.redisUrl // optional: redis
  if (url !== undefined) store = await (await redis()).redisStore({ url, logger }) // optional: redis
  const holds = credentialHolds(systemClock)
  const changed = changes()
  const caller =
    config.stdioKey === undefined
      ? localCaller(allScopes(policies))
      : keyCaller(config.stdioKey, {
          config,
          policies,
          nameOf: namesUnder(policies.audit, ring),
          shared: store.shared,
          holds,
          clock: systemClock,
          trail,
          logger,
          changed: changed.listsChanged,
        })
  const identity = await identityOf(caller)
  let lost = (): void => undefined
  const outbound = createOutbound({ mode: config.mode })
  const parts = { catalog, policies, ring, store, trail, outbound, logger, holds, caller, identity }
  const server = stdioServer(
    { ...parts, clock: systemClock, changes: changed, lost: () => lost() },
    host,
  )
  await trail
    .commit({
      event: 'server.start',
      settingsDigest: config.digest,
      policyDigest: policies.digest,
      toolsDigest: server.toolsDigest,
      nodeVersion: process.version,
    })
    .catch(() => {
      throw new Problems([{ field: 'MCP_AUDIT_FILE', message: 'cannot be written' }])
    })

  const forced = Promise.withResolvers<void>()
  let exitCode: 0 | 1 | undefined
  /** Ends the process once. Whatever asks again leaves what still runs a second for its answer. */
  function end(cause: 'signal' | 'crash'): void {
    const isEnding = exitCode !== undefined
    if (!isEnding || cause === 'crash') exitCode = EXIT[cause === 'crash' ? 'crash' : 'drained']
    if (isEnding) {
      forced.resolve()
      return
    }
    setTimeout(() => process.exit(EXIT.crash), config.drainSeconds * 1000 + OVERDUE_MS)
    const answered = server.drain()
    drain({
      listener: {
        drain: () => ({ answered, closed: answered }),
        server: { closeAllConnections() {} },
      },
      lasting: {
        calls: server.calls,
        mcp: { close: () => Promise.race([server.close(), sleep(LAST_MESSAGES_MS)]) },
        holds,
        store,
      },
      close: caller.close,
      trail,
      drainSeconds: config.drainSeconds,
      cause,
      forced: forced.promise,
    }).then(
      () => process.exit(exitCode),
      () => process.exit(EXIT.crash),
    )
  }
  onSignal = () => end('signal')
  lost = () => {
    if (exitCode !== undefined) return
    logger.error('The API key of this process does not hold any more: the process ends')
    end('signal')
  }
  if (caller.credential !== undefined) holds.add(caller.credential, identity).hold.onEnd(lost)
  process.on('unhandledRejection', (error) => {
    logger.error('Background work failed; nobody was waiting for it', { error })
    trail.write({ event: 'fault', cause: 'unhandled-rejection' })
  })
  process.on('uncaughtException', (error) => {
    logger.fatal('An error escaped every handler; the process drains and ends', { error })
    trail.write({ event: 'fault', cause: 'uncaught-exception' })
    end('crash')
  })
  logger.info('Serving standard input and output')
  server.serve(process.stdin).then(
    () => end('signal'),
    () => end('signal'), // The host went away in the middle of something.
  )
}

/** Standard output carries the protocol, under whatever name the trail is sent there. */
function auditTarget({ auditFile }: Config): string {
  if (auditFile === undefined) return 'stderr'
  const file = statSync(auditFile, { throwIfNoEntry: false })
  const { dev, ino } = fstatSync(1)
  if (file?.dev === dev && file.ino === ino) {
    const message = 'must not be standard output, which carries the protocol'
    throw new Problems([{ field: 'MCP_AUDIT_FILE', message }])
  }
  return auditFile
}

/** @throws {Problems} when the key is none that holds */
async function identityOf(caller: Caller): Promise<Identity> {
  try {
    return await caller.identify()
  } catch (error) {
    if (!(error instanceof Denied)) throw error
    const message = 'is not a live key of MCP_API_KEYS_FILE'
    throw new Problems([{ field: 'MCP_STDIO_KEY', message }])
  }
}
