import { Agent, type IncomingMessage, request } from 'node:http'
import { text } from 'node:stream/consumers'
import { META } from '../app.ts'
import { callOf, type Server } from '../server.ts'

/** Clients that each wait for one answer before they call again. */
export interface Callers {
  /** Time of each answered call, ms, oldest first. */
  readonly latencies: readonly number[]
  /** What came in place of a result: the status, or the code of the error of the socket. */
  readonly failures: readonly string[]
  /** `x-request-id` of each whole answer. */
  readonly answered: readonly string[]
  /** Once there are so many answers and failures. */
  reaches(count: number): Promise<void>
  /** Waits for the calls that run. */
  stop(): Promise<void>
}

export interface CallersOptions {
  readonly count: number
  /** `echo` when left out. */
  readonly call?: { readonly name: string; readonly args: object }
  /** The credential of the next call; the server's key when left out. */
  readonly token?: () => string
  /** Pause of each client between two calls, ms. */
  readonly pauseMs?: number
}

let calls = 0

export function startCallers(
  server: Pick<Server, 'url' | 'key'>,
  { count, call, token, pauseMs = 0 }: CallersOptions,
): Callers {
  const agent = new Agent({ keepAlive: true, maxSockets: count })
  const latencies: number[] = []
  const failures: string[] = []
  const answered: string[] = []
  let changed = Promise.withResolvers<void>()
  let running = true

  async function caller(): Promise<void> {
    while (running) {
      calls += 1
      const { name, args } = call ?? { name: 'echo', args: { text: `call ${calls}` } }
      const startedAt = performance.now()
      const key = token?.() ?? server.key
      const { id, failure } = await callOnce(server.url, agent, key, name, args)
      if (id !== undefined) answered.push(id)
      if (failure === undefined) latencies.push(performance.now() - startedAt)
      else failures.push(failure)
      changed.resolve()
      changed = Promise.withResolvers()
      if (pauseMs > 0) await new Promise((resolve) => setTimeout(resolve, pauseMs))
    }
  }
  const all = Promise.all(Array.from({ length: count }, caller))

  return {
    latencies,
    failures,
    answered,
    async reaches(number) {
      while (latencies.length + failures.length < number) await changed.promise
    },
    async stop() {
      running = false
      await all
      agent.destroy()
    },
  }
}

interface Outcome {
  readonly id?: string
  /** `undefined` for a result. */
  readonly failure?: string
}

async function callOnce(
  url: string,
  agent: Agent,
  key: string,
  name: string,
  args: object,
): Promise<Outcome> {
  const body = callOf(name, args, calls, META)
  const headers = {
    authorization: `Bearer ${key}`,
    'content-type': 'application/json',
    accept: 'application/json, text/event-stream',
    'mcp-protocol-version': '2026-07-28',
    'mcp-method': 'tools/call',
    'mcp-name': name,
    'content-length': Buffer.byteLength(body),
  }
  try {
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      const sent = request(url, { method: 'POST', agent, headers }, resolve)
      sent.on('error', reject).end(body)
    })
    const answer = await text(response)
    const id = String(response.headers['x-request-id'])
    if (response.statusCode !== 200) return { id, failure: String(response.statusCode) }
    return answer.includes('"structuredContent"') ? { id } : { id, failure: 'no result' }
  } catch (error) {
    return { failure: error instanceof Error && 'code' in error ? String(error.code) : 'cut' }
  }
}
