import type { Client } from './client.ts'
import type { Work } from './work.ts'

/** Callers at the same time, each on a connection of its own. */
export const CONNECTIONS = 16

/**
 * Does one piece of work after the other with each client for a time, and checks every answer.
 *
 * @returns how many were answered, and the seconds it took
 * @throws when an answer is wrong
 */
export async function load(
  clients: readonly Client[],
  work: Work,
  seconds: number,
): Promise<{ readonly requests: number; readonly seconds: number }> {
  const start = performance.now()
  const deadline = start + seconds * 1000
  let requests = 0
  await Promise.all(
    clients.map(async (client) => {
      while (performance.now() < deadline) {
        await work(client)
        requests += 1
      }
    }),
  )
  const took = (performance.now() - start) / 1000
  // Idle servers close their connections at a moment of their own: better none is left open.
  for (const client of clients) client.close()
  return { requests, seconds: took }
}
