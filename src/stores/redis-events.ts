// optional: redis (@redis/client)
import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from '../log.ts'
import { clientOf, type RedisConnection, START_MS, startFault } from './redis-connection.ts'
import type { SharedEvents } from './store.ts'

/** Longest event, characters. A longer one is not one of ours. */
const MAX_LENGTH = 8192

/**
 * Events between processes, by PUBLISH and SUBSCRIBE on a connection of its own: one that subscribes
 * can do nothing else. Redis keeps no event for who is away, so whoever was away is told that it may
 * have missed some.
 *
 * @throws {Problems} when Redis refuses the right to subscribe
 * @throws {StoreUnreachable} when nothing answers within 5 s
 */
export async function redisEvents(
  url: string,
  channel: string,
  redis: Pick<RedisConnection, 'ask'>,
  logger: Logger,
): Promise<SharedEvents & { reachable(): boolean; close(): void }> {
  const client = clientOf(url)
  let hear: (text: string) => void = () => undefined
  let missed = (): void => undefined
  let lastError: unknown
  let wasReady = false

  client.on('error', (error: unknown) => {
    lastError = error
  })
  client.on('ready', () => {
    if (wasReady) missed()
    wasReady = true
  })
  const listening = client
    .connect()
    .then(() =>
      client.subscribe(channel, (text) => {
        if (text.length <= MAX_LENGTH) hear(text)
      }),
    )
    .then(
      () => true,
      (error: unknown) => {
        lastError = error
        return false
      },
    )
  if (!(await Promise.race([listening, sleep(START_MS, false, { ref: false })]))) {
    client.destroy()
    throw startFault(lastError)
  }

  return {
    publish(text) {
      redis
        .ask((publisher) => publisher.publish(channel, text))
        .catch((error: unknown) => {
          logger.warn('Other processes were not told of a change', { error })
        })
    },
    listen(onEvent, onMissed) {
      hear = onEvent
      missed = onMissed
    },
    reachable: () => client.isReady,
    close: () => client.destroy(),
  }
}
