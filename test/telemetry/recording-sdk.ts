import { appendFileSync } from 'node:fs'
import {
  BatchSpanProcessor,
  NodeTracerProvider,
  type ReadableSpan,
  SimpleSpanProcessor,
  type SpanExporter,
} from '@opentelemetry/sdk-trace-node'

/**
 * What an operator loads with `--import`: the OpenTelemetry SDK, which appends each span to the file in
 * `SPANS_FILE` as one JSON line; with `SPANS_BATCH`, in batches an hour apart.
 */

/** One span as the tests read it. */
export interface RecordedSpan {
  readonly name: string
  readonly kind: number
  readonly traceId: string
  readonly spanId: string
  readonly parent: string | undefined
  readonly traceState: string | undefined
  readonly links: readonly {
    readonly traceId: string
    readonly spanId: string
    readonly traceState: string | undefined
  }[]
  readonly attributes: Readonly<Record<string, unknown>>
  readonly status: { readonly code: number; readonly message?: string }
  readonly events: readonly unknown[]
  readonly durationMs: number
}

function recorded(span: ReadableSpan): RecordedSpan {
  const { name, kind, attributes, status, events, duration } = span
  const { traceId, spanId, traceState } = span.spanContext()
  return {
    name,
    kind,
    traceId,
    spanId,
    parent: span.parentSpanContext?.spanId,
    traceState: traceState?.serialize(),
    links: span.links.map(({ context }) => ({
      traceId: context.traceId,
      spanId: context.spanId,
      traceState: context.traceState?.serialize(),
    })),
    attributes,
    status,
    events,
    durationMs: duration[0] * 1000 + duration[1] / 1e6,
  }
}

const exporter: SpanExporter = {
  export(spans, done) {
    const lines = spans.map((span) => `${JSON.stringify(recorded(span))}\n`)
    appendFileSync(process.env['SPANS_FILE'] ?? '', lines.join(''))
    done({ code: 0 })
  },
  async shutdown() {},
}
const processor =
  process.env['SPANS_BATCH'] === undefined
    ? new SimpleSpanProcessor(exporter)
    : new BatchSpanProcessor(exporter, { scheduledDelayMillis: 3_600_000 })
new NodeTracerProvider({ spanProcessors: [processor] }).register()
