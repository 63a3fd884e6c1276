import { LOG_LEVEL_META_KEY, type ServerContext } from '@modelcontextprotocol/server'
import { LOG_LEVELS, type LogLevel } from '../define.ts'

/** Notifications of one kind that a call may send at once, and then each second. */
const BURST = 256
const PER_SECOND = 50
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
 * progress is merged into the newest value and log notifications are counted instead of sent.
 * Progress grows, as MCP demands (Progress, Behavior Requirements): other values are dropped.
 *
 * @param now monotonic clock, ms
 */
export function notifier(
  request: ServerContext['mcpReq'],
  now: () => number = () => performance.now(),
): Notifier {
  const token = request._meta?.progressToken
  const envelope: Readonly<Record<string, unknown>> = request.envelope ?? {}
  const asked = SEVERITY.get(envelope[LOG_LEVEL_META_KEY]) ?? 0
  const mayProgress = bucket(now)
  const mayLog = bucket(now)
  const sending = new Set<Promise<void>>()
  let held: (() => Promise<void>) | undefined
  let highest = Number.NEGATIVE_INFINITY
  let dropped = 0
  let closed = false
  let sent = 0

  function send(notification: Promise<void>): void {
    // A notification that cannot be delivered has no reader: the abort signal tells the tool.
    const settled = notification.catch(() => {}).finally(() => sending.delete(settled))
    sending.add(settled)
  }

  return {
    progress(done, total, message) {
      if (closed || token === undefined || !(done > highest) || !Number.isFinite(done)) return
      highest = done
      const params = {
        progressToken: token,
        progress: done,
        ...(Number.isFinite(total) ? { total } : {}),
        ...(message === undefined ? {} : { message: message.slice(0, MESSAGE_LENGTH) }),
      }
      held = () => request.notify({ method: 'notifications/progress', params })
      if (!mayProgress()) return
      sent += 1
      send(held())
      held = undefined
    },
    log(level, message, data) {
      // The SDK filters too. What it would hold back must not use up the burst of what is asked for.
      if (closed || (SEVERITY.get(level) ?? 0) < asked) return
      if (!mayLog()) dropped += 1
      else send(request.log(level, logData(message, data)))
    },
    async flush() {
      closed = true
      if (held !== undefined) {
        sent += 1
        send(held())
      }
      if (dropped > 0) send(request.log('warning', `${dropped} log notifications were dropped`))
      await Promise.all(sending)
    },
    count: () => sent,
  }
}

/** @returns a token bucket: `true` for as many calls as the rate allows. */
function bucket(now: () => number): () => boolean {
  let tokens = BURST
  let refilledMs = now()

  return function take() {
    tokens = Math.min(BURST, tokens + ((now() - refilledMs) / 1000) * PER_SECOND)
    refilledMs = now()
    if (tokens < 1) return false
    tokens -= 1
    return true
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
