// optional: legacy-sessions
import { isInitializeRequest } from '@modelcontextprotocol/server'
import type { Context } from 'hono'
import type { Clock } from '../../clock.ts'
import type { AppEnv } from '../../context.ts'
import { Denied } from '../../errors.ts'
import type { Holds } from '../../holds.ts'
import { whenClosed } from '../../when-closed.ts'
import { askInSession } from '../ask.ts'
import { authInfoOf } from '../auth-info.ts'
import type { Changes, Listener } from '../changes.ts'
import { endingStream } from '../ending-stream.ts'
import { serveFollowing } from '../following.ts'
import { questions } from '../questions.ts'
import { plainMessage, plainRefusal, type Refused } from '../refusal.ts'
import type { McpPolicies, Served } from '../served.ts'
import { connectionServer, type ServerParts } from '../server.ts'
import { tell } from '../tell.ts'
import type { Channel } from './channel.ts'
import { credentialsOf } from './credentials.ts'
import { exchanges } from './exchanges.ts'
import { until } from './until.ts'

/** One client of a 2025 or 2024 revision, from `initialize` to the end. */
export interface Session {
  readonly id: string
  /** Where its messages are posted. */
  readonly path: string
  /** Notes a request of the owner, and the credential that it came with. */
  use(c: Context<AppEnv>): void
  /** Serves one authorized message. */
  serve(c: Context<AppEnv>, policies: McpPolicies): Promise<Response>
  /** Takes what the client answers to a question. @throws {Denied} when nothing was asked */
  answer(c: Context<AppEnv>): Promise<Response>
  /** Opens a stream, until `streamSeconds` or the end of its credential. */
  stream(c: Context<AppEnv>, streamSeconds: number): Promise<Response>
  /** Ends it when its time is over, and forgets what is too old to come back for. */
  sweep(): void
  /** Ends it. Calls that run have a moment to be answered. */
  end(): void
  /** Ends it at once. */
  cut(): void
}

export interface SessionParts extends ServerParts {
  readonly changes: Changes
  readonly holds: Pick<Holds, 'add'>
  readonly clock: Clock
}

export interface SessionOptions extends Pick<Session, 'id' | 'path'> {
  readonly channel: Channel
  /** Revisions that `initialize` may agree on, the newest first. */
  readonly revisions: readonly string[]
  readonly idleSeconds: number
  readonly absoluteSeconds: number
  /** Runs once, when nobody can use the session any more. */
  readonly ended: () => void
}

/** What calls that run when a session ends have for their answer, ms. */
const ANSWER_MS = 1000

/**
 * One `Server` of the SDK for as long as the session lives. Every message it serves has passed all
 * controls by itself; a handler finds what they left by the request that brought the message.
 *
 * @param c the request that begins the session
 */
export async function createSession(
  parts: SessionParts,
  c: Context<AppEnv>,
  options: SessionOptions,
): Promise<Session> {
  const { clock, changes } = parts
  const { id, path, channel } = options
  const { transport } = channel
  const messages = exchanges()
  const asked = questions()
  const credentials = credentialsOf(parts.holds, end)
  const bornAt = clock.now()
  let usedAt = bornAt
  let streams = 0
  let hasBegun = false
  let isOver = false
  let isCut = false
  let cancelCut = (): void => undefined

  const server = connectionServer(parts, messages.servedOf, [...options.revisions])
  server.registerCapabilities({ resources: { subscribe: true } })
  const following = serveFollowing(server, parts, messages.servedOf)
  server.onerror = () => {
    // The audit trail has the refusal or the outcome.
  }
  const send = transport.send.bind(transport)
  transport.send = async (message, sendOptions) => {
    asked.note(message)
    try {
      await send(plainMessage(message, messages.about), sendOptions)
    } finally {
      if (!('method' in message) && message.id !== undefined) settle(message.id)
    }
  }
  await server.connect(transport)
  const listener: Listener = {
    principal: c.get('identity').principal,
    end(why) {
      for (const uri of following.all()) void tell(server, { kind: 'resource_updated', uri })
      if (why === 'policies') following.forget()
    },
  }
  const unsubscribe = changes.heardBy(listener, () =>
    changes.bus.subscribe((event) => {
      if (following.hears(event)) void tell(server, event)
    }),
  )

  function settle(answered: string | number): void {
    messages.settle(answered)
    usedAt = clock.now()
    if (isOver && messages.running() === 0) cut()
  }

  function end(): void {
    if (isOver) return
    isOver = true
    options.ended()
    credentials.release()
    unsubscribe()
    if (messages.running() === 0) cut()
    else cancelCut = clock.after(ANSWER_MS, cut)
  }

  function cut(): void {
    if (isCut) return
    isCut = true
    end()
    cancelCut()
    void server.close()
    channel.close()
    messages.abandon()
  }

  /** Another request may have ended it while this one was on its way. */
  function mustLive(): void {
    if (isOver) throw new Denied('session-guard.not-found')
  }

  return {
    id,
    path,
    use(request) {
      usedAt = clock.now()
      credentials.note(request.var)
    },
    async serve(request, policies) {
      mustLive()
      if (isInitializeRequest(request.get('message'))) {
        if (hasBegun) throw new Denied('session-guard.initialized')
        hasBegun = true
      }
      const { raw } = request.req
      // Its slots are free again, so nothing may run.
      if (request.env.outgoing.closed) return new Response(null, { status: CLIENT_LEFT })
      if (channel.isBehind !== undefined) request.set('isBehind', channel.isBehind)
      const vars = request.var
      const { message } = vars
      const refused: Refused = (reason) => request.set('denied', reason)
      const seconds = vars.operation?.rule.timeoutSeconds ?? 0
      const ask = askInSession(() => server.getClientCapabilities(), seconds)
      const served: Served = { vars, policies, refused, ask }
      messages.add(raw, served, request.env.outgoing)
      const response = await channel.receive(raw, message, authInfoOf(vars.identity))
      if (message.method === 'notifications/cancelled') {
        const cancelled = messages.about(message.params?.['requestId'])?.vars.message.id
        if (cancelled !== undefined) {
          settle(cancelled)
          await channel.forget(cancelled)
        }
      }
      if (response.status >= 400 && message.id !== undefined) settle(message.id)
      return answerOf(response, refused)
    },
    async answer(request) {
      mustLive()
      const { reply, identity } = request.var
      if (reply === undefined || !asked.answer(reply.id)) throw new Denied('session-guard.unasked')
      const response = await channel.receive(request.req.raw, reply, authInfoOf(identity))
      return answerOf(response, (reason) => request.set('denied', reason))
    },
    async stream(request, streamSeconds) {
      mustLive()
      const { outgoing } = request.env
      const response = await channel.stream(request.req.raw)
      const { body } = response
      if (!response.ok || body === null) {
        return answerOf(response, (reason) => request.set('denied', reason))
      }
      streams += 1
      whenClosed(outgoing, () => {
        streams -= 1
        usedAt = clock.now()
        if (path === '/messages') end()
      })
      const { signal } = endingStream(request, streamSeconds).request
      return answerOf(new Response(until(signal, body), response), () => undefined)
    },
    sweep() {
      const now = clock.now()
      const isIdle = messages.running() === 0 && streams === 0
      if (isIdle && now - usedAt >= options.idleSeconds * 1000) end()
      else if (now - bornAt >= options.absoluteSeconds * 1000) end()
      else channel.sweep()
    },
    end,
    cut,
  }
}

/** The client left before it was served. */
const CLIENT_LEFT = 499

/** What the SDK answers, its refusals in fixed words. */
async function answerOf(response: Response, refused: Refused): Promise<Response> {
  // The SDK says keep-alive whatever the client asked for; Node decides (RFC 9112 §9.6).
  response.headers.delete('connection')
  if (response.status < 400) return response
  if (response.status === 404) throw new Denied('session-guard.not-found') // It has just ended.
  if (response.status < 500) return plainRefusal(response, refused)
  throw new Error('The SDK failed to serve a message of a session')
}
