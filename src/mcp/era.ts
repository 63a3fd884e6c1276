import {
  classifyInboundRequest,
  isInitializeRequest,
  ProtocolErrorCode,
} from '@modelcontextprotocol/server'
import type { Era, Message } from '../context.ts'
import { Denied } from '../errors.ts'
import type { HttpPolicy } from '../policy.ts'
import { type RawHeaders, single } from '../raw-headers.ts'

export const MODERN_REVISIONS = ['2026-07-28']

/** The revisions that are served, the newest first. Those of 2024 have transports that are not. */
export const REVISIONS = [...MODERN_REVISIONS, '2025-11-25', '2025-06-18', '2025-03-26']

/**
 * Reads off a message and its headers the era that it will be served in.
 *
 * @throws {Denied} `protocol-guard.*` for what is served in none: headers that name another version
 *   or method than the message, a `_meta` that is not what the revision requires, a revision that is
 *   not served.
 */
export type EraOf = (message: Message, headers: RawHeaders) => Era

/**
 * The SDK's own classifier decides, the same that routes the message afterwards, so that the two
 * cannot differ; it takes 5 µs. What is here besides is what the SDK refuses a step later.
 *
 * Source: MCP 2026-07-28, Versioning; Streamable HTTP, Protocol Version Header, Server Validation.
 */
export function eraReader(legacy: HttpPolicy['protocol']['legacy']): EraOf {
  return function eraOf(message, headers) {
    const version = single(headers, 'mcp-protocol-version')
    const method = single(headers, 'mcp-method')
    const route = classifyInboundRequest({
      httpMethod: 'POST',
      body: message,
      ...(version === undefined ? {} : { protocolVersionHeader: version }),
      ...(method === undefined ? {} : { mcpMethodHeader: method }),
    })
    if (route.kind === 'reject') throw refused(route.code)
    if (route.kind === 'modern') {
      const { revision } = route.classification
      if (MODERN_REVISIONS.includes(revision ?? '')) return 'modern'
      throw unsupported(MODERN_REVISIONS, revision)
    }
    if (legacy === 'off') {
      if (route.reason === 'notification') return 'legacy' // Accepted, and not served.
      throw unsupported(MODERN_REVISIONS, route.requestedVersion)
    }
    // `initialize` agrees on a version; what follows may name the one that was agreed on.
    if (version === undefined || REVISIONS.includes(version)) return 'legacy'
    if (isInitializeRequest(message)) return 'legacy'
    throw unsupported(REVISIONS, version)
  }
}

/** A version that comes back to the caller: MCP asks for it, and it is not to carry anything else. */
export const VERSION_FORM = /^v?\d[\d.-]{0,31}$/

function refused(code: number): Denied {
  if (code === ProtocolErrorCode.InvalidRequest) return new Denied('parse-message.not-one-message')
  return code === ProtocolErrorCode.InvalidParams
    ? new Denied('protocol-guard.invalid-meta')
    : new Denied('protocol-guard.header-mismatch')
}

/** @param requested comes back to the caller when it has the form of a version, and only then */
export function unsupported(supported: readonly string[], requested: string | undefined): Denied {
  const known = requested !== undefined && VERSION_FORM.test(requested) ? { requested } : {}
  return new Denied('protocol-guard.unsupported-version', { data: { supported, ...known } })
}
