// optional: stdio
import { randomUUID } from 'node:crypto'
import { refusal } from '../answer.ts'
import type { AuditTrail } from '../audit/trail.ts'
import { CredentialFault } from '../auth/strategy.ts'
import type { AppVariables, Identity, Message } from '../context.ts'
import { recordRequest } from '../controls/audit.ts'
import { type Authorize, recordIfNotRun } from '../controls/authorize.ts'
import type { LimitCall } from '../controls/call-limit.ts'
import { messageIn, readJson } from '../controls/parse-message.ts'
import type { TakeCallSlot } from '../controls/principal-calls.ts'
import type { CountRequest } from '../controls/principal-limit.ts'
import { isReply } from '../envelope.ts'
import { DENIALS, Denied } from '../errors.ts'
import type { Hold, Holds } from '../holds.ts'
import type { Logger } from '../log.ts'
import type { McpPolicies, Served } from '../mcp/served.ts'
import type { StdioConnection } from '../mcp/stdio.ts'
import type { LimitsPolicy } from '../policy.ts'
import { requestFacts } from '../request-facts.ts'
import type { WhenEnded } from '../when-closed.ts'
import { type Caller, LOCAL_ADDRESS } from './caller.ts'

export interface MessageParts {
  readonly trail: AuditTrail
  readonly logger: Logger
  readonly caller: Caller
  readonly holds: Pick<Holds, 'add'>
  readonly limits: Pick<LimitsPolicy, 'body'>
  readonly policies: McpPolicies
  readonly countRequest: CountRequest
  readonly takeSlot: TakeCallSlot
  readonly authorize: Authorize
  readonly limitCall: LimitCall
  readonly isBehind: () => boolean
  /** The credential does not hold any more. */
  readonly lost: () => void
  /** Writes one message. Resolves when it has left. */
  readonly write: (text: string) => Promise<void>
}

/** The messages of the one connection that this process has. */
export interface Messages {
  /** Requests that are not answered yet, by id. */
  readonly open: ReadonlyMap<string | number, Served>
  /** Hears that the answer to a request has left. */
  answered(id: string | number): void
  /** Takes one line. Resolves when it was decided on, so that messages keep their order. */
  take(line: Buffer | undefined, connection: StdioConnection): Promise<void>
  /** Refuses what comes from now on. Resolves when all calls are answered. */
  drain(): Promise<void>
}

type Recorded = Pick<AppVariables, 'requestId' | 'startedAt' | 'address' | 'headers' | 'path'> &
  Partial<AppVariables>

/** What is known of a message so far. */
type Facts = Recorded & {
  /** Whether a refusal has somebody to go to: not for a notification, nor for an answer. */
  isAnswered: boolean
}

/** Of one message. */
interface Lifetime {
  /** In the order of asking, once the message has ended and what goes on behind it, too. */
  readonly whenEnded: WhenEnded
  /** Hears of work that may go on when its host has cancelled it: so long its slots are held. */
  readonly outlives: (work: Promise<void>) => void
}

const OK = 200
const ACCEPTED = 202
/** The host did not wait for the answer. */
const NOT_ANSWERED = 499

/**
 * The way of a message, top to bottom: that of `app.ts` from `authenticate` on, by the same functions.
 * It is parsed first, because its id alone tells the host what was refused. Names, codes and words of
 * refusals are those of HTTP, and so are the records, with the status that HTTP would have had. A
 * notification is never answered (JSON-RPC 2.0 §4.1), but recorded.
 */
export function messages(parts: MessageParts): Messages {
  const { trail, logger, caller, holds, limits, policies, countRequest, takeSlot } = parts
  const open = new Map<string | number, Served & { end(status: number): void }>()
  let draining = false
  let allAnswered: (() => void) | undefined

  function noteAnswered(): void {
    const isIdle = open.values().every(({ vars }) => isStream(vars.message))
    if (draining && isIdle) allAnswered?.()
  }

  /**
   * @returns `undefined` for what answers a question of this server
   * @throws {Denied} when it is refused
   */
  async function decide(
    line: Buffer | undefined,
    facts: Facts,
    { whenEnded, outlives }: Lifetime,
    connection: StdioConnection,
  ): Promise<AppVariables | undefined> {
    if (line === undefined) throw new Denied('parse-message.too-large')
    const value = readJson(line, limits.body.depth)
    const reply = isReply(value) ? value : undefined
    const message = reply === undefined ? messageIn(value) : undefined
    if (message !== undefined) facts.message = message
    facts.isAnswered = message?.id !== undefined
    if (!trail.ready()) throw new Denied('audit.sink-broken')
    // Calls that are running may still be cancelled, and get what they have asked for.
    if (draining && facts.isAnswered) throw new Denied('listen.draining')
    const { credential } = caller
    const identity = await caller.identify()
    facts.identity = identity
    await countRequest(identity)
    if (message === undefined) {
      if (reply === undefined || !connection.answer(reply)) throw new Denied('stdio.unasked')
      return undefined
    }
    // A notification ends with its decision. Without a slot it can still cancel what holds them all.
    const release = takeSlot(message, identity) ?? nothing
    whenEnded(release)
    if (message.id !== undefined && open.has(message.id)) throw new Denied('stdio.duplicate-id')
    const vars: AppVariables = {
      ...facts,
      identity,
      credential,
      message,
      release,
      hold: holdOf(credential, identity, whenEnded),
      era: connection.eraOf(message),
      isBehind: parts.isBehind,
      outlives,
      clientCertificate: undefined,
      denied: undefined,
      operation: undefined,
      trace: undefined, // optional: telemetry
    }
    const operation = await parts.authorize(vars)
    vars.operation = operation
    if (operation !== undefined) whenEnded(() => recordIfNotRun(trail, operation))
    await parts.limitCall(vars, whenEnded)
    return vars
  }

  function holdOf(
    credential: AppVariables['credential'],
    identity: Identity,
    whenEnded: WhenEnded,
  ): Hold {
    if (credential === undefined) return { onEnd() {} }
    const { hold, release } = holds.add(credential, identity)
    whenEnded(release)
    return hold
  }

  async function take(line: Buffer | undefined, connection: StdioConnection): Promise<void> {
    const ended: (() => void)[] = []
    const going: Promise<void>[] = []
    const lifetime: Lifetime = {
      whenEnded: (run) => ended.push(run),
      outlives: (work) => going.push(work),
    }
    const facts: Facts = {
      requestId: randomUUID(),
      startedAt: performance.now(),
      address: LOCAL_ADDRESS,
      headers: new Map(),
      path: '',
      isAnswered: true,
    }
    let about: Recorded = facts
    const end = (status: number): void => {
      const id = about.message?.id
      if (id !== undefined && open.get(id)?.end === end) open.delete(id)
      recordRequest(trail, about, 'stdio', status)
      if (going.length === 0) release()
      else void Promise.all(going).then(release)
      noteAnswered()
    }
    const release = (): void => {
      for (const run of ended.splice(0)) run()
    }

    try {
      const vars = await decide(line, facts, lifetime, connection)
      if (vars === undefined) return end(ACCEPTED)
      about = vars
      const { message } = vars
      const refused: Served['refused'] = (reason) => {
        vars.denied = reason
      }
      const ask = connection.asker(vars)
      const served = { vars, policies, refused, end, ...(ask && { ask }) }
      if (message.id !== undefined) open.set(message.id, served)
      connection.deliver(served)
      if (message.id === undefined) end(ACCEPTED)
      if (message.method === 'notifications/cancelled') {
        const id = message.params?.['requestId']
        if (typeof id === 'string' || typeof id === 'number') open.get(id)?.end(NOT_ANSWERED)
      }
    } catch (error) {
      const denied = error instanceof Denied ? error : new Denied('answer.bug', { cause: error })
      await refuse(denied, facts)
      end(DENIALS[denied.reason].status)
    }
  }

  async function refuse(denied: Denied, facts: Facts): Promise<void> {
    const { reason, cause } = denied
    facts.denied = reason
    if (reason === 'answer.bug') {
      logger.error('A request failed', { requestId: facts.requestId, error: cause })
    }
    if (reason === 'authenticate.rejected') {
      const fault = cause instanceof CredentialFault ? cause.fault : 'unavailable'
      trail.write({ ...requestFacts(facts), event: 'authn.fail', reason, cause: fault })
    }
    if (facts.isAnswered) {
      await parts.write(refusal(denied, facts.requestId, facts.message?.id).body)
    }
    if (reason === 'authenticate.rejected') parts.lost()
  }

  return {
    open,
    answered: (id) => open.get(id)?.end(OK),
    take,
    drain() {
      draining = true
      return new Promise((resolve) => {
        allAnswered = resolve
        noteAnswered()
      })
    },
  }
}

function nothing(): void {
  // There is no slot to give back.
}

/** `subscriptions/listen` is answered when the connection ends. */
function isStream({ method }: Message): boolean {
  return method === 'subscriptions/listen'
}
