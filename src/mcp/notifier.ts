import { LOG_LEVEL_META_KEY, type ServerContext } from '@modelcontextprotocol/server'
import { LOG_LEVELS, type LogLevel } from '../define.ts'

/** What one notification counts at least, bytes. */
const LEAST_BYTES = 256
/** Notifications of one kind that a call may send at once, and then each second, bytes of JSON. */
const BURST_BYTES = 256 * LEAST_BYTES
const BYTES_PER_SECOND = 50 * LEAST_BYTES
const MESSAGE_LENGTH = 1024
const DATA_LENGTH = 8192
const SEVERITY = new Map<unknown, number>(LOG_LEVELS.map((level, index) => [level, index]))

/** Sends the progress and log notifications of one call. */
export interface Notifier {
  progress(done: number, total?: number, message?: string): void
  log(level: LogLevel, message: string, data?: Readonly<Record<string, unknown>>): void
  /** Ends the notifications: sends what was held back and waits until everything has left. */
  flush(): Promise<void>
  /** Progress notifications sent. */
  count(): number
}

/**
 * The SDK queues without a bound for a reader that stalls, so a flood is thinned here: beyond a burst,
 * and while the reader is behind, progress is merged into the newest value and log notifications are
 * counted instead of sent. What waits for one reader is two bursts at most, besides its result.
 * Progress grows, as MCP demands (Progress, Behavior Requirements): other values are dropped.
 *
 * @param reader.isBehind whether it takes less than is written
 * @param reader.logLevel the least severity of its connection; 2026-07-28 says it in each request
 * @param now monotonic clock, ms
 */
export function notifier(
  request: ServerContext['mcpReq'],
  {
    isBehind,
    logLevel,
  }: {
    readonly isBehind: () => boolean
    readonly logLevel?: (() => LogLevel) | undefined
  },
  now: () => number = () => performance.now(),
): Notifier {
  const token = request._meta?.progressToken
  const envelope: Readonly<Record<string, unknown>> = request.envelope ?? {}
  const asked = envelope[LOG_LEVEL_META_KEY]
  const forProgress = bucket(now)
  const forLogs = bucket(now)
  const sending = new Set<Promise<void>>()
  /** The newest progress, as long as it has not been sent. */
  let held: Progress | undefined
  let highest = Number.NEGATIVE_INFINITY
  let dropped = 0
  let closed = false
  let sent = 0

  function isHeard(level: LogLevel): boolean {
    return (SEVERITY.get(level) ?? 0) >= (SEVERITY.get(asked ?? logLevel?.()) ?? 0)
  }

  function send(notification: Promise<void>): void {
    // A notification that cannot be delivered has no reader: the abort signal tells the tool.
    const settled = notification.catch(() => {}).finally(() => sending.delete(settled))
    sending.add(settled)
  }

  function sendProgress(progressToken: string | number, { done, total, message }: Progress): void {
    const params = {
      progressToken,
      progress: done,
      ...(Number.isFinite(total) ? { total } : {}),
      ...(message === undefined ? {} : { message }),
    }
    held = undefined
    sent += 1
    forProgress.spend(params)
    send(request.notify({ method: 'notifications/progress', params }))
  }

  return {
    progress(done, total, message) {
      if (closed || token === undefined || !(done > highest) || !Number.isFinite(done)) return
      highest = done
      held = { done, total, message: message?.slice(0, MESSAGE_LENGTH) }
      if (!isBehind() && !forProgress.isEmpty()) sendProgress(token, held)
    },
    log(level, message, data) {
      // What nobody hears must not use up the burst of what is asked for.
      if (closed || !isHeard(level)) return
      if (isBehind() || forLogs.isEmpty()) {
        dropped += 1
        return
      }
      const sendable = logData(message, data)
      forLogs.spend(sendable)
      send(request.log(level, sendable))
    },
    async flush() {
      closed = true
      if (held !== undefined && token !== undefined) sendProgress(token, held)
      if (dropped > 0 && isHeard('warning'))
        send(request.log('warning', `${dropped} log notifications were dropped`))
      await Promise.all(sending)
    },
    count: () => sent,
  }
}

interface Progress {
  readonly done: number
  readonly total: number | undefined
  readonly message: string | undefined
}

interface Bucket {
  isEmpty(): boolean
  /** Counts what is sent. The last one may be more than was left. */
  spend(json: unknown): void
}

function bucket(now: () => number): Bucket {
  let left = BURST_BYTES
  let refilledMs = now()

  return {
    isEmpty() {
      left = Math.min(BURST_BYTES, left + ((now() - refilledMs) / 1000) * BYTES_PER_SECOND)
      refilledMs = now()
      return left < LEAST_BYTES
    },
    spend(json) {
      left -= Math.max(LEAST_BYTES, Buffer.byteLength(JSON.stringify(json)))
    },
  }
}

/** Plain text, or an object when there is data; data that is too long or not JSON is left out. */
function logData(message: string, data?: Readonly<Record<string, unknown>>): unknown {
  const text = message.slice(0, MESSAGE_LENGTH)
  if (data === undefined) return text
  try {
    const json = JSON.stringify(data)
    // Read back, because a `toJSON` or a getter need not do the same when the SDK asks again.
    if (json.length <= DATA_LENGTH) return { ...JSON.parse(json), message: text }
  } catch {
    // Not JSON: the message alone is sent, the call goes on.
  }
  return text
}
