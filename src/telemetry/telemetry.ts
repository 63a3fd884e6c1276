// optional: telemetry
import { ProxyTracerProvider, trace } from '@opentelemetry/api'
import type { MiddlewareHandler } from 'hono'
import product from '../../package.json' with { type: 'json' }
import type { Page } from '../admin/probes.ts'
import type { AuditTrail } from '../audit/trail.ts'
import type { AppEnv } from '../context.ts'
import { counted } from './counted.ts'
import { createMetrics } from './metrics.ts'
import { operations } from './operations.ts'
import { type StateSources, watchStates } from './states.ts'

export interface Telemetry {
  /** Measures and traces the message of each request. */
  readonly middleware: MiddlewareHandler<AppEnv>
  /** The trail, with everything in it counted on the way. Before sampling. */
  count(trail: AuditTrail): AuditTrail
  /** Adds the state of the process and its parts. Once. */
  watch(sources: StateSources): void
  /** All metrics in the text format of Prometheus. */
  readonly page: Page
  /** Hands over the spans that wait, for at most `FLUSH_MS`. Never rejects. */
  flush(): Promise<void>
}

/** How long the end of the process waits for the last spans, ms. */
const FLUSH_MS = 1000

/**
 * Metrics in a registry of its own, and spans through the OpenTelemetry API alone: which SDK receives
 * them, if any, is up to whoever starts the process (`node --import`).
 */
export function createTelemetry({ trustCallers }: { readonly trustCallers: boolean }): Telemetry {
  const metrics = createMetrics()
  const { registry } = metrics
  const tracer = trace.getTracer(product.name, product.version)
  const { telemetry, noteOutcome } = operations({ metrics, tracer, trustCallers })
  let page: ReturnType<Page> | undefined

  async function render(): ReturnType<Page> {
    return { type: registry.contentType, body: await registry.metrics() }
  }

  return {
    middleware: telemetry,
    count: (trail) =>
      counted(trail, metrics, ({ requestId, outcome }) => noteOutcome(requestId, outcome)),
    watch: (sources) => watchStates(registry, sources),
    page() {
      // Readers that come at the same time share one: it may take some milliseconds.
      page ??= render().finally(() => {
        page = undefined
      })
      return page
    },
    async flush() {
      const provider = trace.getTracerProvider()
      const sdk: unknown =
        provider instanceof ProxyTracerProvider ? provider.getDelegate() : provider
      if (!canFlush(sdk)) return
      const { promise, resolve } = Promise.withResolvers<void>()
      const timer = setTimeout(resolve, FLUSH_MS)
      await Promise.race([sdk.forceFlush().catch(() => undefined), promise])
      clearTimeout(timer)
    },
  }
}

/** The API has no word for it; every SDK of OpenTelemetry has this one. */
function canFlush(sdk: unknown): sdk is { forceFlush(): Promise<void> } {
  return (
    typeof sdk === 'object' &&
    sdk !== null &&
    'forceFlush' in sdk &&
    typeof sdk.forceFlush === 'function'
  )
}
