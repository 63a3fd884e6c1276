import type { Context } from 'hono'
import type { AppEnv } from '../context.ts'
import { whenClosed } from '../when-closed.ts'

/**
 * The request of a stream that ends at its age, with the credential that opened it, and with its
 * client.
 *
 * Its signal is one of our own, held by whatever may abort it. `AbortSignal.any`, `AbortSignal.timeout`
 * and the signal that a `Request` copies are followed through weak references: after a garbage
 * collection nothing would end the stream.
 */
export function endingStream(
  c: Context<AppEnv>,
  streamSeconds: number,
): { readonly request: Request; readonly end: () => void } {
  const { expiresAt } = c.get('identity')
  const leftMs = expiresAt === null ? Number.POSITIVE_INFINITY : expiresAt * 1000 - Date.now()
  const ending = new AbortController()
  const end = (): void => ending.abort()
  const timer = setTimeout(end, Math.max(0, Math.min(streamSeconds * 1000, leftMs)))
  c.get('hold').onEnd(end)
  whenClosed(c.env.outgoing, () => {
    clearTimeout(timer)
    end()
  })
  // In place: a copy with its headers would stay in memory as long as the stream.
  const request = Object.defineProperty(c.req.raw, 'signal', { value: ending.signal })
  return { request, end }
}
