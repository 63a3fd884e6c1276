import { Failed, Refused } from './mcp.js'

/** @import { mcpClient } from './mcp.js' */

const FIRST_WAIT_MS = 1000
const LONGEST_WAIT_MS = 30_000
/** A stream that lived so long was a connection: the next try is made at once. */
const CONNECTED_MS = 5000
const BUSY = [429, 502, 503, 504]

/**
 * Keeps a stream open, if the server offers one (the page can do without), and opens it again when it is lost: at once, then with growing pauses, and as
 * soon as the browser has a network again.
 *
 * @param {ReturnType<typeof mcpClient>} client
 * @param {object} on
 * @param {() => void} on.open after each time that the server has taken the stream
 * @param {() => void} on.change of the list of tools
 * @param {(waitMs: number) => void} on.lost
 * @param {(error: unknown) => void} on.refused the credential is no longer taken
 * @param {AbortSignal} signal
 */
export async function stayConnected(client, on, signal) {
  let failures = 0
  while (!signal.aborted) {
    let openedMs = Number.POSITIVE_INFINITY
    const onOpen = () => {
      openedMs = performance.now()
      on.open()
    }
    /** @type {number | undefined} */
    let askedMs
    try {
      await client.listen({ onOpen, onChange: on.change }, signal)
    } catch (error) {
      if (signal.aborted) return
      if (error instanceof Failed) return
      if (error instanceof Refused) {
        const { status, retryAfterSeconds = 0 } = error.refusal
        if (status === 401) return on.refused(error)
        if (!BUSY.includes(status)) return
        askedMs = retryAfterSeconds * 1000
      }
    }
    failures = performance.now() - openedMs > CONNECTED_MS ? 0 : failures + 1
    if (failures === 0) continue
    const waitMs = Math.max(askedMs ?? 0, pauseMs(failures))
    on.lost(waitMs)
    await pause(waitMs, signal)
  }
}

/**
 * Doubles each time. The chance in it keeps all pages from coming back at the same moment.
 *
 * @param {number} failures
 */
function pauseMs(failures) {
  const longest = Math.min(FIRST_WAIT_MS * 2 ** (failures - 1), LONGEST_WAIT_MS)
  return longest * (0.5 + Math.random() / 2)
}

/**
 * @param {number} ms
 * @param {AbortSignal} signal
 */
function pause(ms, signal) {
  /** @type {PromiseWithResolvers<void>} */
  const { promise, resolve } = Promise.withResolvers()
  const timer = setTimeout(resolve, ms)
  const now = () => resolve()
  addEventListener('online', now)
  signal.addEventListener('abort', now)
  return promise.finally(() => {
    clearTimeout(timer)
    removeEventListener('online', now)
    signal.removeEventListener('abort', now)
  })
}
