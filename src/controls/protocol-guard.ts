import type { MiddlewareHandler } from 'hono'
import type { AppEnv, Message } from '../context.ts'
import { Denied } from '../errors.ts'
import type { EraOf } from '../mcp/era.ts'
import { type RawHeaders, single } from '../raw-headers.ts'

/** A parameter of a tool that its callers repeat in a header. */
export interface HeaderParameter {
  /** `Mcp-Param-Region` */
  readonly header: string
  /** Where it is in the arguments. */
  readonly path: readonly string[]
}

export interface ProtocolGuardOptions {
  readonly eraOf: EraOf
  /** By tool. */
  readonly parameters: ReadonlyMap<string, readonly HeaderParameter[]>
}

/**
 * Threat:  Headers say one thing and the body another. A proxy that routes, limits or forbids by
 *          headers lets through what it would stop; and a decision is on record for what never runs.
 * Rule:    a message is of a revision that is served, and its `_meta` says what that one requires.
 *          The headers of a 2026-07-28 request repeat its body: `MCP-Protocol-Version`,
 *          `Mcp-Method`, `Mcp-Name`, and `Mcp-Param-*` of the tool, in visible ASCII or as canonical
 *          Base64 of UTF-8. From here on the body alone counts. The SDK compares them once more when
 *          it serves the message.
 * Policy:  policies/http.yaml `protocol.legacy`
 * Refuses: 400 `protocol-guard.invalid-meta`, `protocol-guard.unsupported-version`,
 *          `protocol-guard.header-mismatch`
 * Source:  MCP 2026-07-28 Streamable HTTP, Server Validation, Value Encoding, Custom Headers;
 *          Versioning; OWASP ASVS 5.0 15.4.2
 */
export function protocolGuard(options: ProtocolGuardOptions): MiddlewareHandler<AppEnv> {
  const { eraOf, parameters } = options

  return async function protocolGuard(c, next) {
    if (c.get('session') !== undefined) return next() // optional: legacy-sessions
    const message = c.get('message')
    const headers = c.get('headers')
    const era = eraOf(message, headers)
    const isRequest = message.id !== undefined
    if (era === 'modern' && isRequest && !headersRepeat(message, headers, parameters)) {
      throw new Denied('protocol-guard.header-mismatch')
    }
    c.set('era', era)
    await next()
  }
}

/** The member of `params` that `Mcp-Name` repeats. */
const NAMED_BY = new Map([
  ['tools/call', 'name'],
  ['prompts/get', 'name'],
  ['resources/read', 'uri'],
  ['tasks/get', 'taskId'], // optional: tasks
  ['tasks/update', 'taskId'], // optional: tasks
  ['tasks/cancel', 'taskId'], // optional: tasks
])

/**
 * Whether the headers of a 2026-07-28 request repeat its body. A version that is there is compared by
 * `eraOf`. What is absent from the body, or is not what its method takes, is not asked for in headers:
 * it names nothing that could run.
 */
export function headersRepeat(
  { method, params = {} }: Message,
  headers: RawHeaders,
  parameters: ProtocolGuardOptions['parameters'],
): boolean {
  if (!headers.has('mcp-protocol-version')) return false
  if (single(headers, 'mcp-method') !== method) return false
  const field = NAMED_BY.get(method)
  if (field === undefined) return true
  const name = params[field]
  const sent = decoded(single(headers, 'mcp-name'))
  if (typeof name !== 'string') return sent !== undefined || !headers.has('mcp-name')
  if (sent !== name) return false
  if (method !== 'tools/call') return true
  return (parameters.get(name) ?? []).every(({ header, path }) =>
    isRepeated(valueAt(params['arguments'], path), decoded(single(headers, header.toLowerCase()))),
  )
}

const DECIMAL = /^-?\d+(\.\d+)?$/

/** Numbers are compared by value: `5.0` repeats 5. */
function isRepeated(value: unknown, header: string | undefined): boolean {
  if (typeof value === 'string') return header === value
  if (typeof value === 'boolean') return header === String(value)
  if (typeof value !== 'number') return true
  return header !== undefined && DECIMAL.test(header) && Number(header) === value
}

function valueAt(root: unknown, path: readonly string[]): unknown {
  return path.reduce<unknown>(
    (node, name) => (isObject(node) && Object.hasOwn(node, name) ? node[name] : undefined),
    root,
  )
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null
}

const PLAIN = /^[\t\x20-\x7e]*$/
/** The markers are case-sensitive. */
const ENCODED = /^=\?base64\?(.*)\?=$/
const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** @returns the text that a header stands for; `undefined` when it is absent or not well-formed. */
function decoded(value: string | undefined): string | undefined {
  if (value === undefined || !PLAIN.test(value)) return undefined
  const base64 = ENCODED.exec(value)?.[1]
  if (base64 === undefined) return value
  const bytes = Buffer.from(base64, 'base64')
  if (bytes.toString('base64') !== base64) return undefined
  try {
    return strictUtf8.decode(bytes)
  } catch {
    // Not UTF-8, so it stands for no text.
    return undefined
  }
}
