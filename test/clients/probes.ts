import { vi } from 'vitest'
import { LOG_LEVELS, type LogLevel } from '../../src/define.ts'

/** What the probes do with a client, whichever library it is made of. It agrees to whatever it is asked. */
export interface MatrixClient {
  readonly isModern: boolean
  version(): string | undefined
  tools(): Promise<readonly string[]>
  call(
    name: string,
    args: Record<string, unknown>,
    options?: CallOptions,
    // biome-ignore lint/suspicious/noExplicitAny: results are inspected by the tests
  ): Promise<any>
  setLevel(level: LogLevel): Promise<void>
  onLog(listener: (level: string) => void): void
  close(): Promise<void>
}

export interface CallOptions {
  readonly onprogress?: (progress: number) => unknown
  readonly signal?: AbortSignal
  /** For clients of 2026-07-28, which ask for a level with each call. */
  readonly level?: LogLevel
}

/** What the server has recorded of `hang`. */
export interface HangRecords {
  /** How often it was allowed to run. */
  begun(): number
  /** How often it was cancelled. */
  cancelled(): number
  /** How often a client said that it wants to cancel it. */
  notified(): number
}

/** What the run saw, a cell of the table each. */
export interface Verdicts {
  readonly revision: string
  readonly lists: string
  readonly calls: string
  readonly progress: string
  readonly logs: string
  readonly elicitation: string
  readonly cancel: string
}

/** Uses a client for everything that the table speaks of, and closes it. */
export async function probe(client: MatrixClient, records: HangRecords): Promise<Verdicts> {
  const verdicts = {
    revision: client.version() ?? '-',
    lists: (await client.tools()).includes('echo') ? 'yes' : 'no',
    calls: await callVerdict(client),
    logs: await logVerdict(client),
    elicitation: await elicitationVerdict(client),
  }
  return { ...verdicts, ...(await runningVerdicts(client, records)) }
}

async function callVerdict(client: MatrixClient): Promise<string> {
  const { structuredContent } = await client.call('echo', { text: 'hi' })
  return structuredContent?.text === 'hi' ? 'yes' : 'no'
}

async function logVerdict(client: MatrixClient): Promise<string> {
  const seen: string[] = []
  client.onLog((level) => seen.push(level))
  if (!client.isModern) await client.setLevel('warning')
  await client.call('every_level', {}, client.isModern ? { level: 'warning' } : {})
  if (seen.join() === LOG_LEVELS.slice(3).join()) {
    return client.isModern ? 'by level, per call' : 'by level'
  }
  return seen.join() === LOG_LEVELS.join() ? 'all, always' : 'no'
}

async function elicitationVerdict(client: MatrixClient): Promise<string> {
  const { isError, structuredContent } = await client.call('agree', {})
  if (structuredContent?.agreed === true) return 'yes'
  return isError ? '`isError`' : 'no'
}

/** What happens while a call runs, which tells of its progress and does not end by itself. */
async function runningVerdicts(
  client: MatrixClient,
  records: HangRecords,
): Promise<Pick<Verdicts, 'progress' | 'cancel'>> {
  const cancel = new AbortController()
  const before = { begun: records.begun(), cancelled: records.cancelled() }
  const notified = records.notified()
  const isCancelled = (): boolean => records.cancelled() > before.cancelled
  const seen: number[] = []
  const options = { signal: cancel.signal, onprogress: (done: number) => seen.push(done) }
  const call = client.call('hang', {}, options).catch(() => undefined)
  await vi.waitUntil(() => records.begun() > before.begun, WAIT)
  const isTold = (): boolean => seen.join() === '1,2'
  const progress = await vi.waitUntil(isTold, WAIT).then(
    () => 'yes',
    () => 'no',
  )
  cancel.abort()
  await call
  await vi.waitUntil(() => isCancelled() || records.notified() > notified, WAIT)
  // The notification is on record when it was handed over; the call ends in the same turn or never.
  await client.call('echo', { text: 'a round trip' })
  const verdict = isCancelled() ? 'yes' : 'when the client leaves'
  await client.close()
  await vi.waitUntil(isCancelled, WAIT)
  return { progress, cancel: verdict }
}

const WAIT = { timeout: 20_000, interval: 10 }
