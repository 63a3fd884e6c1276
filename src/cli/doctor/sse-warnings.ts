// optional: legacy-sse
import type { Startable } from './start-checks.ts'
import type { Warning } from './warnings.ts'

/** What a reviewer asks of the transport of 2024-11-05. */
export function sseWarnings({ policies }: Startable): readonly Warning[] {
  if (!policies.http.protocol.httpSse) return []
  return [
    {
      severity: 'low',
      field: 'http.yaml protocol.httpSse',
      message: 'the transport of 2024-11-05 is deprecated',
      advice: 'docs/migrate-from-sse.md',
    },
  ]
}
