import { createSecretKey, randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { Agent, type IncomingMessage, request } from 'node:http'
import { text } from 'node:stream/consumers'
import type { Verdict, VerifierOptions } from '../../src/audit/verifier.ts'
import { secretRing } from '../../src/secrets.ts'
import { linesOfBytes, verdictOf } from '../audit/log.ts'
import { NO_LIMITS } from '../identity/attempt.ts'
import { misbehavingAccess } from '../misbehaving-tools.ts'
import {
  type AuditRecord,
  callOf,
  type PolicyEdit,
  type Server,
  type ServerOptions,
  startServer,
} from '../server.ts'

/** A server under load whose one tool leaves a line in a file, and what its trail says of it. */

const ROOT = randomBytes(32)
const [MAC_KEY] = secretRing([ROOT])('audit-mac')

/** Starts a server without limits whose tools include `marking`. */
export function startMarking(
  options: Omit<ServerOptions, 'entry' | 'policies'> = {},
  ...policies: readonly PolicyEdit[]
): Promise<Server> {
  return startServer({
    ...options,
    entry: 'test/misbehaving-server.ts',
    env: { MCP_SECRET: ROOT.toString('base64'), ...options.env },
    policies: [misbehavingAccess, ...NO_LIMITS, ...policies],
  })
}

/** One answer, by the number of its call: `rpc_id` of its records, and the line of its effect. */
export interface Answer {
  readonly call: number
  readonly status: number
  readonly requestId: string
  readonly retryAfter: string | undefined
  readonly ok: boolean
}

export interface Load {
  /** Oldest first. */
  readonly answers: readonly Answer[]
  /** Calls that never got one. */
  readonly unanswered: readonly number[]
  /** Once one more, or the first of this status, has come since. */
  next(status?: number): Promise<Answer>
  /** Once there are so many in all. */
  reaches(count: number): Promise<void>
  /** Waits for what is under way. */
  stop(): Promise<void>
}

/** Faults last some seconds, and machines are slow. */
export const FAULT_TIMEOUT_MS = 60_000

/** Callers that each wait for one answer before they call again. */
const CALLERS = 16

let calls = 0

/** Calls `marking` until it is stopped or the server is gone. */
export function startLoad(server: Server, effects: string): Load {
  const agent = new Agent({ keepAlive: true, maxSockets: CALLERS })
  const answers: Answer[] = []
  const unanswered: number[] = []
  let changed = Promise.withResolvers<void>()
  let running = true

  async function caller(): Promise<void> {
    while (running) {
      calls += 1
      const call = calls
      try {
        answers.push(await mark(server, agent, effects, call))
      } catch {
        unanswered.push(call)
        if (server.child.exitCode !== null || server.child.signalCode !== null) running = false
      }
      changed.resolve()
      changed = Promise.withResolvers()
    }
  }
  const callers = Promise.all(Array.from({ length: CALLERS }, caller))

  return {
    answers,
    unanswered,
    async next(status) {
      for (let seen = answers.length; ; ) {
        await changed.promise
        const found = answers
          .slice(seen)
          .find((answer) => status === undefined || answer.status === status)
        if (found !== undefined) return found
        seen = answers.length
      }
    },
    async reaches(count) {
      while (answers.length < count) await changed.promise
    },
    async stop() {
      running = false
      await callers
      agent.destroy()
    },
  }
}

async function mark(server: Server, agent: Agent, file: string, call: number): Promise<Answer> {
  const body = callOf('marking', { file, line: `${call}` }, call)
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    const headers = {
      authorization: `Bearer ${server.key}`,
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      'content-length': body.length,
    }
    request(server.url, { method: 'POST', agent, headers }, resolve).on('error', reject).end(body)
  })
  const answer = await text(response)
  return {
    call,
    status: response.statusCode ?? 0,
    requestId: String(response.headers['x-request-id']),
    retryAfter: response.headers['retry-after'],
    ok: answer.includes('"structuredContent"'),
  }
}

/** Numbers of the calls that have had their effect. */
export function effectsIn(file: string): readonly number[] {
  return readFileSync(file, 'utf8').trimEnd().split('\n').map(Number)
}

/** What a trail says of calls. */
export interface Trail {
  /** Numbers of calls. */
  readonly allowed: readonly number[]
  readonly ended: readonly number[]
  /** Ids of requests. Refusals of callers that nobody knows are counted when they are many. */
  readonly requests: readonly string[]
  readonly counted: number
  /** Records that it says it has lost. */
  readonly dropped: number
}

export function trailIn(text: string): Trail {
  const records: AuditRecord[] = text
    .slice(0, text.lastIndexOf('\n') + 1)
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line))
  const of = (event: string): AuditRecord[] =>
    records.filter(({ metadata }) => metadata.event_code === event)
  const callOf = ({ unmapped }: AuditRecord): number => unmapped.mcp.rpc_id
  return {
    allowed: of('decision')
      .filter(({ action_id }) => action_id === 1)
      .map(callOf),
    ended: of('outcome').map(callOf),
    requests: of('request')
      .filter(({ count }) => count === undefined)
      .map(({ metadata }) => metadata.correlation_uid),
    counted: of('request').reduce((sum, { count = 0 }) => sum + count, 0),
    dropped: records.reduce((sum, { unmapped }) => sum + (unmapped.dropped ?? 0), 0),
  }
}

/** What the verifier says of the bytes of a trail. */
export function verdictOn(bytes: Buffer, options: Partial<VerifierOptions> = {}): Verdict {
  const macKeys = new Map([[MAC_KEY.id, createSecretKey(MAC_KEY.key)]])
  return verdictOf(linesOfBytes(bytes), { macKeys, ...options })
}

/** What is in the first list and not in the second. */
export function missing<T>(from: readonly T[], list: readonly T[]): readonly T[] {
  const known = new Set(list)
  return from.filter((one) => !known.has(one))
}
