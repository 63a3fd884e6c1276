// optional: redis (@redis/client)
import { isIP } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { createClient, ErrorReply } from '@redis/client'
import { Denied } from '../errors.ts'
import { describeError, type Logger } from '../log.ts'
import { Problems } from '../problems.ts'
import { StoreUnreachable } from './store.ts'

/** A request waits so long for one answer of Redis, ms. */
const COMMAND_MS = 500
/** The first connection may take so long, ms. */
export const START_MS = 5000
/** How long one attempt to connect may take, ms. */
const CONNECT_MS = 2000
/** A connection that is silent for so long is given up, ms. Pings keep a good one busy. */
const SILENCE_MS = 3000
const PING_MS = 1000
/** Longest pause between two attempts to connect, ms. */
const PAUSE_MS = 2000
/** Commands that may wait for an answer. */
const QUEUE = 10_000
/** How long answers under way are waited for at the end, ms. */
const CLOSE_MS = 500
/** Tells clients when to come back, seconds. */
const RETRY_SECONDS = 5

export type RedisClient = ReturnType<typeof clientOf>

/** One connection to Redis, which comes back by itself and never keeps a request waiting. */
export interface RedisConnection {
  /**
   * @throws {Denied} `store.unavailable` when Redis is away, silent for `timeoutMs` or refuses
   */
  ask<Reply>(command: (client: RedisClient) => Promise<Reply>, timeoutMs?: number): Promise<Reply>
  /** Whether the last thing that was asked was answered. */
  reachable(): boolean
  /** Waits for answers under way, but not long. */
  close(): Promise<void>
}

/**
 * Connects to Redis.
 *
 * The client's own timeout ends when a command is written, so it does not help against a Redis that
 * takes commands and answers none. Here the answer counts: after the first that is late, everything
 * else fails at once until that answer arrives or the connection was made again. So an outage costs a
 * request one wait, whatever it asks.
 *
 * @throws {Problems} when Redis refuses the user, the password or a command
 * @throws {StoreUnreachable} when nothing answers within 5 s
 */
export async function connectRedis(url: string, logger: Logger): Promise<RedisConnection> {
  const client = clientOf(url)
  let reachable = true
  let stalled = false
  let lastError: unknown

  /** Also by an error: Redis spoke, or the connection is gone, which the next command is told. */
  function settled(): void {
    stalled = false
  }

  function answered(): void {
    settled()
    if (reachable) return
    reachable = true
    logger.info('Redis is back')
  }

  function failed(error: unknown): void {
    lastError = error
    if (!reachable) return
    reachable = false
    const reason = wordOf(error)
    logger.error('Redis is away or refuses: limits follow onStoreFailure, all else is refused', {
      ...(reason === undefined ? {} : { reason }),
      error,
    })
  }

  const { promise: connected, resolve: decide } = Promise.withResolvers<boolean>()
  client.on('ready', answered)
  client.on('error', (error: unknown) => {
    failed(error)
    if (isFinal(error)) decide(false)
  })
  client.connect().then(
    () => decide(true),
    () => decide(false), // It never gives up by itself: only `destroy` gets here.
  )
  if (!(await Promise.race([connected, sleep(START_MS, false, { ref: false })]))) {
    client.destroy()
    throw startFault(lastError)
  }

  return {
    async ask(command, timeoutMs = COMMAND_MS) {
      if (stalled) throw unavailable('Redis is silent')
      const { promise: late, reject } = Promise.withResolvers<never>()
      const timer = setTimeout(() => {
        stalled = true
        reject(new Error('Redis did not answer in time'))
      }, timeoutMs)
      try {
        const running = command(client)
        running.then(answered, settled)
        return await Promise.race([running, late])
      } catch (error) {
        failed(error)
        throw unavailable(error)
      } finally {
        clearTimeout(timer)
      }
    },
    reachable: () => reachable,
    async close() {
      if (!client.isOpen) return
      await Promise.race([client.close(), sleep(CLOSE_MS, undefined, { ref: false })])
      client.destroy()
    },
  }
}

export function clientOf(url: string) {
  const { protocol, hostname } = new URL(url)
  const socket = {
    connectTimeout: CONNECT_MS,
    socketTimeout: SILENCE_MS,
    /** Never gives up; the random half keeps replicas from coming back all at once. */
    reconnectStrategy(retries: number) {
      const pauseMs = Math.min(50 * 2 ** retries, PAUSE_MS)
      return pauseMs / 2 + Math.random() * (pauseMs / 2)
    },
  }
  const tls = {
    tls: true as const,
    rejectUnauthorized: true,
    ...(isIP(hostname.replace(/^\[|\]$/g, '')) === 0 ? { servername: hostname } : {}),
  }
  return createClient({
    url,
    socket: protocol === 'rediss:' ? { ...socket, ...tls } : socket,
    pingInterval: PING_MS,
    disableOfflineQueue: true,
    disableClientInfo: true,
    maintNotifications: 'disabled',
    commandsQueueMaxLength: QUEUE,
    commandOptions: { timeout: 0 }, // No timer of its own for each command.
  })
}

function unavailable(cause: unknown): Denied {
  return new Denied('store.unavailable', {
    headers: { 'retry-after': String(RETRY_SECONDS) },
    cause,
  })
}

/** By the first word of what Redis says. */
const REFUSED = new Map([
  ['WRONGPASS', 'has a user or password that Redis refuses'],
  ['NOAUTH', 'has no user or password, and Redis asks for one'],
  ['NOPERM', 'has a user without the rights that are needed'],
  [
    'ERR',
    'names a Redis that does not do what is needed: version, database, or rights of the user',
  ],
])

/** The kind of an error of Redis, such as `OOM`. The rest of its message may quote a command. */
function wordOf(error: unknown): string | undefined {
  return error instanceof ErrorReply ? /^[A-Z]{2,20}(?= )/.exec(error.message)?.[0] : undefined
}

function refusalOf(error: unknown): string | undefined {
  return REFUSED.get(wordOf(error) ?? '')
}

/** What a start need not wait for: it does not get better by itself. */
function isFinal(error: unknown): boolean {
  const { code = '' } = describeError(error, 'production')
  return refusalOf(error) !== undefined || /CERT|SIGNATURE/.test(code)
}

/** Why the process cannot start. What Redis says may quote what it was sent: it is not repeated. */
export function startFault(error: unknown): Problems | StoreUnreachable {
  const cause = error instanceof Denied ? error.cause : error
  const refusal = refusalOf(cause)
  if (refusal !== undefined) return new Problems([{ field: 'REDIS_URL', message: refusal }])
  const { name, code = name } = describeError(cause, 'production')
  const message = `REDIS_URL: Redis does not do what it is asked within ${START_MS / 1000} s (${code})`
  return new StoreUnreachable(message, { cause })
}
