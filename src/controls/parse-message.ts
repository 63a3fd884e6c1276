import type { HttpBindings } from '@hono/node-server'
import type { MiddlewareHandler } from 'hono'
import type { AppEnv, Message } from '../context.ts'
import { isMessage } from '../envelope.ts'
import { Denied } from '../errors.ts'
import { scanJson } from '../json-scan.ts'
import type { LimitsPolicy } from '../policy.ts'
import { type RawHeaders, single } from '../raw-headers.ts'
import { leavesReply } from '../reply.ts' // optional: legacy-sessions

/**
 * Threat:  A body that is too much to hold, or that the check and the code read differently.
 * Rule:    `application/json` in UTF-8, without content coding; read up to a bound, also when
 *          chunked, and asked for with `100 Continue` only here; strict UTF-8; no deep nesting,
 *          doubled names, `__proto__` or lone surrogates; then exactly one JSON-RPC request or
 *          notification, or inside a session one response. Arrays are refused in every era.
 * Policy:  policies/limits.yaml `body`
 * Refuses: 415 `parse-message.media-type`, `parse-message.encoding`; 413 `parse-message.too-large`;
 *          400 `parse-message.incomplete`, `parse-message.not-utf8`, `parse-message.not-json`,
 *          `parse-message.too-deep`, `parse-message.duplicate-name`,
 *          `parse-message.forbidden-name`, `parse-message.lone-surrogate`,
 *          `parse-message.not-one-message`
 * Source:  MCP 2026-07-28 Streamable HTTP, Sending Messages; RFC 8259 §8; RFC 7493 §2;
 *          CVE-2026-33252 (cross-site text/plain POST), CVE-2026-39313 (unbounded body)
 */
export function parseMessage(policy: Pick<LimitsPolicy, 'body'>): MiddlewareHandler<AppEnv> {
  const { bytes, depth } = policy.body

  return async function parseMessage(c, next) {
    checkMediaType(c.get('headers'))
    const value = readJson(await readBody(c.env, c.get('headers'), bytes), depth)
    if (leavesReply(c, value)) return next() // optional: legacy-sessions
    c.set('message', messageIn(value))
    await next()
  }
}

const JSON_TYPE = /^application\/json(?:[ \t]*;[ \t]*charset=(?:utf-8|"utf-8"))?[ \t]*$/i

function checkMediaType(headers: RawHeaders): void {
  if (!JSON_TYPE.test(single(headers, 'content-type') ?? '')) {
    throw new Denied('parse-message.media-type')
  }
  const encoding = single(headers, 'content-encoding')
  if (encoding !== undefined && encoding.toLowerCase() !== 'identity') {
    throw new Denied('parse-message.encoding')
  }
}

/** The connection closes with the answer; what the client still sends is dropped (`answer.ts`). */
function tooLarge(): Denied {
  return new Denied('parse-message.too-large', { headers: { connection: 'close' } })
}

function readBody(
  { incoming, outgoing }: HttpBindings,
  headers: RawHeaders,
  maxBytes: number,
): Promise<Buffer> {
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>()
  if (Number(single(headers, 'content-length')) > maxBytes) throw tooLarge()
  // The client left while a control before this one waited: no event would ever come.
  if (incoming.destroyed) throw new Denied('parse-message.incomplete')
  // The caller waits for this before it sends its body: it has proven itself by now.
  if (headers.has('expect')) outgoing.writeContinue()
  const chunks: Buffer[] = []
  let received = 0
  function keep(chunk: Buffer): void {
    received += chunk.length
    if (received <= maxBytes) {
      chunks.push(chunk)
    } else {
      incoming.off('data', keep)
      incoming.pause()
      reject(tooLarge())
    }
  }
  incoming.on('data', keep)
  const fail = (cause: unknown): void => reject(new Denied('parse-message.incomplete', { cause }))
  const leave = (): void => fail(undefined)
  incoming.once('error', fail)
  incoming.once('close', leave)
  incoming.once('end', () => {
    resolve(Buffer.concat(chunks, received))
    // None of it stays in memory as long as the answer is open.
    incoming
      .removeListener('data', keep)
      .removeListener('error', fail)
      .removeListener('close', leave)
  })
  return promise
}

/** A byte order mark is kept and so refused as JSON (RFC 8259 §8.1). */
const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

function decode(body: Buffer): string {
  try {
    return strictUtf8.decode(body)
  } catch (cause) {
    throw new Denied('parse-message.not-utf8', { cause })
  }
}

/** @throws {Denied} when the bytes are not JSON that everybody reads alike. */
export function readJson(bytes: Buffer, maxDepth: number): unknown {
  const text = decode(bytes)
  const fault = scanJson(text, maxDepth)
  if (fault !== undefined) throw new Denied(`parse-message.${fault}`)
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new Denied('parse-message.not-json', { cause })
  }
}

/**
 * The one message that a value is. Only the envelope is checked here; parameters belong to the method.
 *
 * @throws {Denied} when it is not one JSON-RPC request or notification (JSON-RPC 2.0 §4).
 */
export function messageIn(value: unknown): Message {
  if (!isMessage(value)) throw new Denied('parse-message.not-one-message')
  return Object.freeze(value)
}
