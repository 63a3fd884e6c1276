// optional: stdio
import type {
  JSONRPCMessage,
  Server,
  ServerContext,
  ServerEventBus,
  Transport,
} from '@modelcontextprotocol/server'
import { serveStdio } from '@modelcontextprotocol/server/stdio'
import type { AppVariables, Era, Message } from '../context.ts'
import type { Reply } from '../envelope.ts'
import { Denied } from '../errors.ts'
import type { HttpPolicy } from '../policy.ts'
import { askInSession } from './ask.ts'
import type { Ask } from './asking.ts'
import { eraReader, MODERN_REVISIONS, REVISIONS } from './era.ts'
import { serveFollowing } from './following.ts'
import { questions } from './questions.ts'
import { plainMessage } from './refusal.ts'
import type { Served } from './served.ts'
import { connectionServer, type ServerParts } from './server.ts'
import { tell } from './tell.ts'

export interface StdioOptions extends ServerParts {
  readonly legacy: HttpPolicy['protocol']['legacy']
  /** Listens to what this caller may hear of. */
  readonly subscribe: ServerEventBus['subscribe']
  /** Requests that are not answered yet, by id. */
  readonly open: ReadonlyMap<string | number, Served>
  /** Writes one message. Resolves when it has left, or when nobody will ever read it. */
  readonly write: (text: string) => Promise<void>
  /** Hears of a bug, which the SDK keeps to itself. */
  readonly failed: (error: unknown) => void
  /** Hears that the answer to a request has left. */
  readonly answered: (id: string | number) => void
}

/** The SDK behind the checks, for the one connection that this process has. */
export interface StdioConnection {
  /**
   * The era a message is served in. The first request but `server/discover` decides for all that
   * follow, and notifications have that of their connection.
   *
   * @throws {Denied} `protocol-guard.*`
   */
  eraOf(message: Message): Era
  /** What a call may ask its host while it runs. Hosts of 2026-07-28 are asked by the answer. */
  asker(vars: AppVariables): Ask | undefined
  /** Hands over what a host answers. @returns whether that was asked, and not answered before */
  answer(reply: Reply): boolean
  /** Hands over an authorized message, in the order of arrival. */
  deliver(served: Served): void
  /** Ends subscriptions with their results. What is still running ends without an answer. */
  close(): Promise<void>
}

const NO_HEADERS: ReadonlyMap<string, readonly string[]> = new Map()

/**
 * Serves one connection by `serveStdio` of the SDK, over a transport that lets in what was authorized
 * and nothing else.
 *
 * Source: MCP 2026-07-28, Transports, stdio; Versioning.
 */
export function connectStdio(options: StdioOptions): StdioConnection {
  const { legacy, subscribe, open, write, answered, failed } = options
  const read = eraReader(legacy)
  let pinned: Era | undefined
  let current: Server | undefined
  let unsubscribe = (): void => undefined
  const asked = questions()

  /** Fails closed: what was authorized for one era is not served in another. */
  const servedIn = (era: Era) => (ctx: ServerContext) => {
    const served = open.get(ctx.mcpReq.id)
    if (served?.vars.era === era) return served
    throw new Error('A request reached the SDK without its checks')
  }

  const transport: Transport = {
    async start() {},
    async close() {},
    async send(message) {
      asked.note(message)
      const plain = plainMessage(message, (id) => (id === undefined ? undefined : open.get(id)))
      await write(JSON.stringify(plain))
      if (!('method' in plain) && plain.id !== undefined) answered(plain.id)
    },
  }
  const connection = serveStdio(
    ({ era }) => {
      try {
        const server = connectionServer(options, servedIn(era))
        server.registerCapabilities({ resources: { subscribe: true } })
        const following =
          era === 'legacy' ? serveFollowing(server, options, servedIn(era)) : undefined
        unsubscribe()
        unsubscribe = subscribe((event) => {
          // A host of 2026-07-28 hears what it has subscribed to: the SDK sees to that.
          if (following?.hears(event) ?? true) void tell(server, event)
        })
        current = server
        return server
      } catch (error) {
        failed(error)
        throw error
      }
    },
    {
      transport,
      legacy: legacy === 'off' ? 'reject' : 'serve',
      maxSubscriptions: Number.POSITIVE_INFINITY, // `call-limit` counts them.
    },
  )

  return {
    eraOf(message) {
      if (pinned !== undefined && message.id === undefined) return pinned
      const era = read(message, NO_HEADERS)
      if (pinned === undefined || pinned === era) return era
      const supported = REVISIONS.filter(
        (revision) => MODERN_REVISIONS.includes(revision) === (pinned === 'modern'),
      )
      throw new Denied('protocol-guard.unsupported-version', { data: { supported } })
    },
    asker({ era, operation }) {
      if (era === 'modern') return undefined
      const seconds = operation?.rule.timeoutSeconds ?? 0
      return askInSession(() => current?.getClientCapabilities(), seconds)
    },
    answer(reply) {
      if (!asked.answer(reply.id)) return false
      transport.onmessage?.(wireReply(reply))
      return true
    },
    deliver({ vars: { message, era } }) {
      if (message.id !== undefined && message.method !== 'server/discover') pinned ??= era
      // Nothing runs yet that a notification could be about.
      if (message.id === undefined && pinned === undefined) return
      transport.onmessage?.(wireMessage(message))
    },
    async close() {
      unsubscribe()
      await connection.close()
    },
  }
}

function wireReply({ jsonrpc, id, result, error }: Reply): JSONRPCMessage {
  return error === undefined
    ? { jsonrpc, id, result: { ...result } }
    : { jsonrpc, id, error: { ...error } }
}

function wireMessage({ id, method, params }: Message): JSONRPCMessage {
  const rest = { jsonrpc: '2.0' as const, method, ...(params && { params: { ...params } }) }
  return id === undefined ? rest : { ...rest, id }
}
